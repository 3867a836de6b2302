"""Materials that rooms share (chrome, porcelain, glass, leaves), and the style of one room."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from rlleak.simulators.rooms import patterns, pictures
from rlleak.simulators.rooms.builder import Material
from rlleak.simulators.rooms.patterns import Colour, Pattern, swatch


def surface(name: str, pattern: Pattern, metres: float = 1.0, pixels: int = 128, **finish: Any) -> Material:
    """A material from a repeating pattern."""
    return Material(name, texture=swatch(pattern, (metres, metres), pixels), metres=(metres, metres), **finish)


def picture(name: str, image: np.ndarray, **finish: Any) -> Material:
    """A material that shows an image once on each part it covers."""
    return Material(name, texture=image, metres=None, **finish)


def plain(name: str, colour: Colour, **finish: Any) -> Material:
    """A material of one colour."""
    return Material(name, colour=colour, **finish)


CHROME = plain("chrome", (0.62, 0.64, 0.66), specular=0.6, shininess=0.7)
DARK_METAL = plain("dark metal", (0.26, 0.26, 0.27), specular=0.4, shininess=0.5)
BRASS = plain("brass", (0.66, 0.53, 0.30), specular=0.7, shininess=0.6)
PORCELAIN = plain("porcelain", (0.86, 0.86, 0.84), specular=0.5, shininess=0.8)
WHITE = plain("white", (0.82, 0.81, 0.78), specular=0.15, shininess=0.4)
BLACK = plain("black", (0.19, 0.19, 0.20), specular=0.3, shininess=0.5)
SHADE = plain("deep shade", (0.20, 0.18, 0.16), specular=0.0)
PAPER = plain("paper", (0.80, 0.79, 0.75), specular=0.0)
GLASS = plain("glass", (0.80, 0.88, 0.90), specular=0.8, shininess=0.9, alpha=0.28)
DARK_GLASS = plain("dark glass", (0.16, 0.17, 0.18), specular=0.8, shininess=0.9)
SOIL = plain("soil", (0.20, 0.14, 0.10), specular=0.0)
TERRACOTTA = plain("terracotta", (0.66, 0.38, 0.26), specular=0.05)
RUBBER = plain("rubber", (0.62, 0.20, 0.16), specular=0.1)


@lru_cache(maxsize=1)
def steel() -> Material:
    """Brushed stainless steel."""
    return surface("steel", patterns.brushed((0.66, 0.67, 0.68)), specular=0.5, shininess=0.5)


@lru_cache(maxsize=1)
def basket() -> Material:
    """Woven willow."""
    return surface("basket", patterns.wicker((0.66, 0.50, 0.32)), metres=0.16, pixels=64, specular=0.0)


@lru_cache(maxsize=4)
def foliage(number: int) -> Material:
    """Leaves, in a few greens."""
    colour = ((0.24, 0.42, 0.20), (0.34, 0.48, 0.22), (0.20, 0.36, 0.26), (0.42, 0.50, 0.28))[number]
    return surface(f"foliage {number}", patterns.wood(colour, 0.25), metres=0.4, pixels=64, specular=0.15)


@lru_cache(maxsize=1)
def keys() -> Material:
    """A keyboard."""
    return picture("keyboard", pictures.keyboard(), specular=0.1)


@lru_cache(maxsize=1)
def dial() -> Material:
    """A clock's face."""
    return picture("clock face", pictures.clock_face(), specular=0.1)


@lru_cache(maxsize=1)
def buttons() -> Material:
    """A control panel."""
    return picture("control panel", pictures.control_panel(), specular=0.2)


@dataclass(frozen=True)
class Style:
    """What a room's things are made of, and its light."""

    palette: list[Colour]
    wall: Pattern
    floor: Pattern
    floor_shine: float
    wood: Material
    second_wood: Material
    trim: Material
    cabinet: Material
    counter: Material
    backsplash: Pattern
    upholstery: Material
    second_cloth: Material
    bedding: Material
    curtain: Material
    metal: Material
    daylight: Colour
    lamplight: Colour
    brightness: float
    slatted: bool

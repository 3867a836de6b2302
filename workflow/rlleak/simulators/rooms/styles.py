"""Choosing a room's style: palettes that go together, floors and walls that suit its use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from rlleak.simulators.rooms import patterns
from rlleak.simulators.rooms.builder import Material
from rlleak.simulators.rooms.materials import BRASS, CHROME, DARK_METAL, Style, plain, surface
from rlleak.simulators.rooms.patterns import Colour, Pattern, mixed, shaded

#: Wall, two accents, a neutral, a dark: each row was chosen to be lived with.
PALETTES: tuple[tuple[Colour, ...], ...] = (
    ((0.86, 0.82, 0.73), (0.58, 0.28, 0.22), (0.80, 0.66, 0.42), (0.82, 0.77, 0.68), (0.30, 0.24, 0.20)),
    ((0.80, 0.84, 0.84), (0.28, 0.40, 0.50), (0.74, 0.62, 0.44), (0.84, 0.82, 0.78), (0.22, 0.28, 0.34)),
    ((0.84, 0.85, 0.78), (0.40, 0.50, 0.36), (0.74, 0.52, 0.34), (0.80, 0.76, 0.66), (0.26, 0.32, 0.24)),
    ((0.88, 0.86, 0.82), (0.52, 0.52, 0.52), (0.70, 0.58, 0.30), (0.76, 0.75, 0.73), (0.24, 0.24, 0.26)),
    ((0.84, 0.76, 0.66), (0.56, 0.38, 0.26), (0.36, 0.42, 0.38), (0.84, 0.78, 0.68), (0.34, 0.24, 0.18)),
    ((0.80, 0.76, 0.80), (0.46, 0.34, 0.46), (0.72, 0.62, 0.56), (0.84, 0.80, 0.80), (0.30, 0.24, 0.32)),
    ((0.90, 0.84, 0.70), (0.72, 0.50, 0.24), (0.34, 0.44, 0.50), (0.86, 0.80, 0.70), (0.36, 0.28, 0.20)),
    ((0.72, 0.79, 0.78), (0.24, 0.44, 0.44), (0.80, 0.58, 0.44), (0.86, 0.83, 0.76), (0.20, 0.30, 0.32)),
    ((0.86, 0.78, 0.74), (0.66, 0.42, 0.38), (0.48, 0.54, 0.48), (0.86, 0.81, 0.76), (0.36, 0.26, 0.24)),
    ((0.76, 0.77, 0.74), (0.34, 0.36, 0.36), (0.62, 0.48, 0.32), (0.72, 0.70, 0.66), (0.18, 0.19, 0.20)),
)
_WOODS: tuple[Colour, ...] = (
    (0.62, 0.47, 0.32), (0.50, 0.35, 0.24), (0.70, 0.58, 0.43), (0.42, 0.30, 0.22), (0.58, 0.41, 0.28),
    (0.65, 0.52, 0.38), (0.38, 0.29, 0.24), (0.72, 0.63, 0.51),
)  # fmt: skip
_STONES: tuple[tuple[Colour, Colour, float, float], ...] = (
    ((0.34, 0.33, 0.33), (0.44, 0.42, 0.40), 0.2, 0.05),
    ((0.80, 0.79, 0.77), (0.58, 0.57, 0.56), 0.5, 0.005),
    ((0.60, 0.54, 0.46), (0.36, 0.30, 0.25), 0.3, 0.05),
    ((0.46, 0.45, 0.44), (0.66, 0.64, 0.62), 0.2, 0.04),
    ((0.78, 0.72, 0.62), (0.55, 0.46, 0.36), 0.4, 0.03),
)
_CABINETS: tuple[Colour | None, ...] = (
    None, None, (0.80, 0.79, 0.75), (0.46, 0.53, 0.51), (0.40, 0.44, 0.49), (0.75, 0.71, 0.62), (0.53, 0.57, 0.47),
)  # fmt: skip


#: Living rooms and bedrooms have the larger windows.
_LEVEL = {"kitchen": 0.88, "living_room": 1.0, "bedroom": 0.91, "bathroom": 0.82}


T = TypeVar("T")


def _pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]


def _floor(
    room_type: str, wood: Colour, palette: tuple[Colour, ...], rng: np.random.Generator
) -> tuple[Pattern, float]:
    """A floor pattern and how much it shines."""
    seed = int(rng.integers(100, 104))
    boards = patterns.planks(
        wood, width=float(rng.choice([0.09, 0.12, 0.16])), variation=float(rng.uniform(0.03, 0.07)), seed=seed
    )
    pale, grey = shaded(palette[3], 0.95), (0.60, 0.59, 0.57)
    square = float(rng.choice([0.3, 0.4, 0.5]))
    clay = _pick(rng, (pale, grey, (0.70, 0.60, 0.50)))
    ceramic = patterns.tiles(clay, shaded(clay, 0.91), (square, square), seed=seed)
    chess = patterns.checker((0.72, 0.70, 0.66), _pick(rng, ((0.52, 0.52, 0.53), (0.61, 0.53, 0.47))), square * 0.9)
    mosaic = patterns.tiles((0.76, 0.77, 0.76), (0.71, 0.72, 0.71), (0.12, 0.12), 0.004, seed=seed, variation=0.012)
    slabs = patterns.tiles(palette[3], shaded(palette[3], 0.91), (0.6, 0.3), offset=0.5, variation=0.03, seed=seed)
    pile = patterns.carpet(_pick(rng, (palette[3], shaded(palette[3], 0.8), (0.58, 0.55, 0.52), (0.66, 0.60, 0.52))))
    choices = {
        "kitchen": (boards, boards, ceramic, ceramic, chess, slabs),
        "living_room": (boards, boards, boards, pile),
        "bedroom": (boards, boards, pile, pile),
        "bathroom": (ceramic, ceramic, slabs, mosaic, chess),
    }[room_type]
    chosen = _pick(rng, choices)
    return chosen, 0.02 if chosen is pile else 0.25


def _wall(room_type: str, palette: tuple[Colour, ...], rng: np.random.Generator) -> Pattern:
    base, accent, _, neutral, _ = palette
    trim = (0.84, 0.83, 0.80)
    painted = patterns.paint(base)
    if room_type == "bathroom":
        white = (0.86, 0.86, 0.84)
        size = _pick(rng, ((0.2, 0.2), (0.3, 0.15), (0.3, 0.3), (0.4, 0.25)))
        face = _pick(rng, (white, white, neutral, base))
        tiled = patterns.tiles(
            face, shaded(face, 0.972), size, 0.004,
            offset=float(rng.choice([0, 0.5])), variation=0.012, mottle=0.004,
        )  # fmt: skip
        band = shaded(accent, 1.1)
        return _pick(
            rng,
            (
                patterns.split(tiled, painted, 1.25, band, 0.07),
                tiled,
                painted,
                patterns.split(tiled, painted, 2.0, band, 0.03),
            ),
        )
    paper = _pick(rng, (
        patterns.stripes(base, shaded(base, 0.96), float(rng.choice([0.12, 0.24, 0.4]))),
        patterns.damask(base, shaded(base, 0.95), 0.5),
        patterns.floral(base, mixed(base, accent, 0.3), mixed(base, (0.52, 0.60, 0.46), 0.35), 0.4),
    ))  # fmt: skip
    panelled = patterns.split(patterns.stripes(trim, shaded(trim, 0.97), 0.2, 0.92), painted, 0.95, trim, 0.06)
    choices = {
        "kitchen": (painted, painted, painted, panelled),
        "living_room": (painted, painted, paper, panelled),
        "bedroom": (painted, painted, painted, paper, panelled),
    }
    return _pick(rng, choices[room_type])


def _cloths(palette: tuple[Colour, ...], rng: np.random.Generator) -> dict[str, Material]:
    _, accent, second, neutral, dark = palette
    seat = _pick(rng, (accent, neutral, dark, second, (0.50, 0.48, 0.46), (0.72, 0.68, 0.60)))
    hide = rng.random() < 0.2
    upholstery = surface(
        "upholstery", patterns.leather(shaded(dark, 1.2)) if hide else patterns.fabric(seat),
        specular=0.25 if hide else 0.02,
    )  # fmt: skip
    light, soft = (0.82, 0.80, 0.76), mixed(accent, neutral, 0.5)
    quilt = _pick(rng, (
        patterns.stripes(light, mixed(soft, light, 0.45), float(rng.choice([0.14, 0.3, 0.5]))),
        patterns.floral(light, mixed(light, soft, 0.65), mixed(light, (0.48, 0.56, 0.42), 0.4), 0.36),
        patterns.plaid(neutral, soft, mixed(soft, second, 0.4), 0.4),
        patterns.fabric(mixed(accent, light, 0.25)),
        patterns.fabric(mixed(neutral, light, 0.4)),
        patterns.fabric(mixed(second, light, 0.3)),
        patterns.dots(light, mixed(light, second, 0.4), 0.26),
        patterns.damask(light, shaded(neutral, 0.9), 0.3),
    ))  # fmt: skip
    second_cloth = _pick(rng, (
        patterns.fabric(second), patterns.stripes(mixed(light, second, 0.4), second, 0.12),
        patterns.plaid(second, mixed(second, accent, 0.5), mixed(second, light, 0.5), 0.2),
        patterns.dots(second, mixed(second, light, 0.5), 0.1), patterns.damask(accent, shaded(accent, 1.15), 0.18),
    ))  # fmt: skip
    return {
        "upholstery": upholstery,
        "second_cloth": surface("second cloth", second_cloth, metres=0.72, specular=0.02),
        "bedding": surface("bedding", quilt, metres=1.2, pixels=192, specular=0.02),
        "curtain": surface(
            "curtain", patterns.fabric(_pick(rng, (light, neutral, second, accent)), 0.04), specular=0.0
        ),
    }


def choose_style(room_type: str, rng: np.random.Generator) -> Style:
    """Choose everything from one generator; the same state gives the same style."""
    palette = _pick(rng, PALETTES)
    wood, second_wood, floor_wood = (_pick(rng, _WOODS) for _ in range(3))
    floor, shine = _floor(room_type, floor_wood, palette, rng)
    ground, vein, amount, speckle = _pick(rng, _STONES)
    painted = _pick(rng, _CABINETS)
    door = patterns.wood(wood) if painted is None else patterns.paint(painted, 0.01)
    tile = _pick(rng, (palette[3], (0.88, 0.87, 0.84), palette[1], (0.78, 0.80, 0.78)))
    size = _pick(rng, ((0.2, 0.1), (0.1, 0.1), (0.15, 0.15)))
    return Style(
        palette=list(palette),
        wall=_wall(room_type, palette, rng),
        floor=floor,
        floor_shine=shine,
        wood=surface("wood", patterns.wood(wood), metres=1.6, specular=0.12),
        second_wood=surface("second wood", patterns.wood(second_wood, seed=14), metres=1.6, specular=0.12),
        trim=plain("trim", _pick(rng, ((0.84, 0.83, 0.80), (0.82, 0.80, 0.75), shaded(wood, 1.0))), specular=0.1),
        cabinet=surface("cabinet", door, metres=1.6, specular=0.12),
        counter=surface("counter", patterns.stone(ground, vein, amount, speckle), specular=0.35, shininess=0.7),
        backsplash=patterns.tiles(tile, shaded(tile, 0.92), size, 0.004, 0.5),
        metal=_pick(rng, (CHROME, CHROME, DARK_METAL, BRASS)),
        daylight=(0.92, 0.97, 1.0),
        lamplight=_pick(rng, ((1.0, 0.96, 0.90), (1.0, 0.92, 0.80), (1.0, 0.98, 0.96))),
        brightness=_LEVEL[room_type] * float(rng.uniform(0.94, 1.06)),
        slatted=bool(rng.random() < 0.4),
        **_cloths(palette, rng),
    )  # fmt: skip

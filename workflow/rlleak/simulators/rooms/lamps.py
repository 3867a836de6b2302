"""Lamps, and the light they and the windows give."""

from __future__ import annotations

from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms.arrangement import Room
from rlleak.simulators.rooms.builder import Light, Material, Piece, Vector
from rlleak.simulators.rooms.geometry import loft
from rlleak.simulators.rooms.patterns import shaded

_MOST_LIGHTS = 6


def _shade_cloth() -> Material:
    return m.plain("lamp shade", (0.90, 0.82, 0.66), emission=0.45, specular=0.0)


def _shade(piece: Piece, low: float, high: float, height: float, at: Vector) -> None:
    skin = loft([(low, low, 0), (high, high, height)], 18).two_sided()
    piece.add(_shade_cloth(), skin, at)
    piece.ball(
        m.plain("bulb", (1.0, 0.95, 0.8), emission=1.0), (0.035, 0.045, 0.035), (at[0], at[1] + height * 0.4, at[2])
    )


def _glow(room: Room, at: Vector, strength: float) -> None:
    if len(room.scene.lights) < _MOST_LIGHTS:
        colour = shaded(room.style.lamplight, strength)
        room.scene.lights.append(Light(colour, position=at, attenuation=(0.6, 0.5, 1.4)))


def floor_lamp(room: Room, at: Vector, yaw: float) -> Piece:
    """A foot, a pole and a shade; centre at `at`."""
    piece = room.scene.piece("FloorLamp", at, yaw, solid=True)
    piece.revolve(room.style.metal, [(0.14, 0), (0.13, 0.02), (0.02, 0.04)], (0, 0, 0))
    piece.cylinder(room.style.metal, 0.012, 1.3, (0, 0.02, 0), 8)
    _shade(piece, 0.2, 0.14, 0.26, (0, 1.3, 0))
    _glow(room, piece.local((0, 1.45, 0)), 0.3)
    return piece


def desk_lamp(room: Room, at: Vector, yaw: float) -> Piece:
    """A turned foot with a shade, or a jointed arm with a metal hood; base centre at `at`."""
    piece = room.scene.piece("DeskLamp", at, yaw)
    if room.chance(0.6):
        body = room.pick([m.PORCELAIN, m.BRASS, m.plain("lamp foot", room.style.palette[1], specular=0.4)])
        piece.revolve(body, [(0, 0), (0.07, 0), (0.07, 0.015), (0.03, 0.03), (0.065, 0.1), (0.015, 0.2)], (0, 0, 0))
        _shade(piece, 0.13, 0.08, 0.17, (0, 0.2, 0))
    else:
        metal = room.style.metal
        piece.cylinder(metal, 0.075, 0.015, (0, 0, 0))
        piece.rod(metal, (0, 0.01, 0), (0, 0.2, -0.06), 0.009)
        piece.rod(metal, (0, 0.2, -0.06), (0, 0.36, 0.05), 0.009)
        piece.loft(metal, [(0.065, 0.065, -0.07, 0.06), (0.03, 0.03, 0.02, 0), (0, 0, 0.03, 0)], (0, 0.36, 0.06))
    return piece


def ceiling_lamp(room: Room) -> None:
    """A lamp in the middle of the ceiling, and the room's main light."""
    height = room.scene.height
    piece = room.scene.piece("LightFixture", (0, height, 0))
    glowing = m.plain("lit glass", (1.0, 0.96, 0.88), emission=0.9)
    kind = room.pick(["bowl", "pendant", "panel"])
    if kind == "bowl":
        piece.cylinder(room.style.metal, 0.08, 0.03, (0, -0.03, 0))
        piece.revolve(glowing, [(0, -0.14), (0.12, -0.12), (0.19, -0.06), (0.19, -0.03)], (0, 0, 0))
    elif kind == "pendant":
        piece.rod(m.BLACK, (0, -0.32, 0), (0, 0, 0), 0.006, 6)
        _shade(piece, 0.2, 0.1, 0.18, (0, -0.48, 0))
    else:
        piece.box(m.WHITE, (0.5, 0.04, 0.5), (0, -0.04, 0))
        piece.box(glowing, (0.44, 0.006, 0.44), (0, -0.046, 0))
    light_room(room)


def light_room(room: Room) -> None:
    """Add the ceiling light, whose ambient part is what all surfaces throw back, and light from each window."""
    style, scene = room.style, room.scene
    # Small pale rooms throw more light back, and shade falls softer.
    direct, bounced = (0.75, 1.6) if scene.kind == "bathroom" else (1.0, 1.0)
    level = style.brightness * direct
    warm = shaded(style.lamplight, 0.40 * level)
    above = (0.1, scene.height - 0.55, -0.1)
    scene.lights.insert(0, Light(warm, position=above, ambient=bounced, attenuation=(0.85, 0.05, 0.02)))
    for window in room.windows[:2]:
        cool = shaded(style.daylight, 0.34 * level)
        place = room.point(window.wall, window.centre, 0.35, (window.sill + window.top) / 2 + 0.2)
        scene.lights.insert(1, Light(cool, position=place, attenuation=(0.8, 0.08, 0.06)))
    del scene.lights[_MOST_LIGHTS:]

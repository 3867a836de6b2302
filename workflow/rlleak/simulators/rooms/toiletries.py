"""Towels, paper, bottles and brushes. Hanging things: `at` on the wall; standing ones: base centre."""

from __future__ import annotations

from rlleak.simulators.rooms import materials as m
from rlleak.simulators.rooms.arrangement import Room
from rlleak.simulators.rooms.builder import Piece, Vector
from rlleak.simulators.rooms.geometry import cylinder, drape, rotation_x, rotation_z
from rlleak.simulators.rooms.patterns import fabric


def towel_rail(room: Room, at: Vector, yaw: float, width: float = 0.6) -> Piece:
    """A rail with a folded towel; `at` is on the wall below the rail's middle, at the towel's lower edge."""
    rail = room.scene.piece("TowelHolder", at, yaw)
    drop = 0.62
    rail.rod(m.CHROME, (-width / 2, drop, 0.07), (width / 2, drop, 0.07), 0.011)
    for x in (-width / 2, width / 2):
        rail.rod(m.CHROME, (x, drop, 0), (x, drop, 0.07), 0.013)
    towel = room.scene.piece("Towel", at, yaw)
    cloth = room.pick(
        [
            room.style.second_cloth,
            room.style.curtain,
            m.surface("towelling", fabric(room.pick(room.style.palette[1:4]))),
        ]
    )
    towel.cushion(cloth, (width - 0.14, drop, 0.028), (0, 0.012, 0.09), 0.012)
    towel.cushion(cloth, (width - 0.14, drop * 0.7, 0.024), (0, drop * 0.3, 0.05), 0.01)
    stripe = m.plain("towel border", room.style.palette[3], specular=0.0)
    towel.box(stripe, (width - 0.138, 0.03, 0.0305), (0, 0.08, 0.09))
    return towel


def hand_towel(room: Room, at: Vector, yaw: float) -> Piece:
    """A small towel through a ring; `at` is on the wall at its lower edge."""
    piece = room.scene.piece("HandTowel", at, yaw)
    piece.rod(m.CHROME, (-0.08, 0.36, 0.045), (0.08, 0.36, 0.045), 0.008, 6)
    piece.rod(m.CHROME, (0, 0.42, 0.0), (0, 0.36, 0.045), 0.008, 6)
    piece.add(room.style.second_cloth, drape(0.2, 0.35, 3, 0.014), (0, 0.36, 0.045))
    return piece


def toilet_paper(room: Room, at: Vector, yaw: float) -> Piece:
    """A roll on its holder; `at` is on the wall."""
    holder = room.scene.piece("ToiletPaperHanger", at, yaw)
    holder.rod(m.CHROME, (0.08, 0.05, 0), (0.08, 0.05, 0.07), 0.008, 6)
    holder.rod(m.CHROME, (-0.08, 0.05, 0.07), (0.08, 0.05, 0.07), 0.008, 6)
    roll = room.scene.piece("ToiletPaper", at, yaw)
    roll.add(m.PAPER, cylinder(0.055, 0.1, 18), (0.05, 0.05, 0.07), rotation_z(90))
    roll.box(m.PAPER, (0.1, 0.1, 0.003), (0, -0.05, 0.125))
    return roll


def soap_bottle(room: Room, at: Vector, yaw: float) -> Piece:
    """A bottle with a pump."""
    piece = room.scene.piece("SoapBottle", at, yaw)
    colour = room.pick(
        [(0.85, 0.72, 0.48), (0.52, 0.68, 0.70), (0.80, 0.56, 0.58), (0.60, 0.70, 0.48), (0.90, 0.89, 0.86)]
    )
    piece.loft(
        m.plain("soap", colour, specular=0.5),
        [(0, 0, 0), (0.036, 0.03, 0), (0.038, 0.031, 0.11), (0.014, 0.014, 0.14), (0, 0, 0.14)],
        (0, 0, 0),
        14,
    )
    piece.loft(m.PAPER, [(0.0378, 0.0316, 0.035), (0.0382, 0.0318, 0.085)], (0, 0, 0), 14)
    piece.cylinder(m.WHITE, 0.007, 0.05, (0, 0.14, 0), 8)
    piece.box(m.WHITE, (0.016, 0.012, 0.055), (0, 0.185, 0.015))
    return piece


def spray_bottle(room: Room, at: Vector, yaw: float) -> Piece:
    """A cleaner with a trigger."""
    piece = room.scene.piece("SprayBottle", at, yaw)
    body = m.plain("spray", room.pick([(0.24, 0.48, 0.68), (0.36, 0.60, 0.36), (0.80, 0.62, 0.22)]), specular=0.4)
    piece.loft(
        body, [(0, 0, 0), (0.045, 0.032, 0), (0.045, 0.032, 0.12), (0.015, 0.015, 0.18), (0, 0, 0.18)], (0, 0, 0), 14
    )
    head = m.plain("trigger", (0.78, 0.20, 0.16), specular=0.3)
    piece.box(head, (0.025, 0.035, 0.09), (0, 0.18, 0.015))
    piece.box(head, (0.015, 0.05, 0.012), (0, 0.14, 0.04), rotation_x(15))
    return piece


def plunger(room: Room, at: Vector, yaw: float) -> Piece:
    """A rubber cup on a stick."""
    piece = room.scene.piece("Plunger", at, yaw)
    piece.revolve(m.RUBBER, [(0, 0), (0.075, 0), (0.07, 0.05), (0.025, 0.09), (0, 0.1)], (0, 0, 0))
    piece.cylinder(room.style.second_wood, 0.012, 0.42, (0, 0.09, 0), 8)
    return piece


def scrub_brush(room: Room, at: Vector, yaw: float) -> Piece:
    """A brush in its stand."""
    piece = room.scene.piece("ScrubBrush", at, yaw)
    piece.revolve(m.WHITE, [(0, 0), (0.055, 0), (0.045, 0.14), (0.035, 0.14)], (0, 0, 0), 14)
    piece.cylinder(m.CHROME, 0.009, 0.26, (0, 0.13, 0), 8)
    piece.ball(m.CHROME, (0.014, 0.014, 0.014), (0, 0.39, 0))
    return piece


def cloth(room: Room, at: Vector, yaw: float) -> Piece:
    """A folded face cloth."""
    piece = room.scene.piece("Cloth", at, yaw)
    piece.cushion(room.style.second_cloth, (0.18, 0.03, 0.14), (0, 0, 0), 0.013)
    piece.cushion(room.style.curtain, (0.16, 0.025, 0.13), (0.005, 0.028, 0), 0.012)
    return piece


def folded_towels(room: Room, at: Vector, yaw: float) -> Piece:
    """A pile of towels."""
    piece = room.scene.piece("Towel", at, yaw)
    for i, skin in enumerate((room.style.second_cloth, room.style.curtain, room.style.second_cloth)):
        piece.cushion(skin, (0.3, 0.065, 0.22), (0.008 * (i - 1), 0.062 * i, 0), 0.028)
    return piece

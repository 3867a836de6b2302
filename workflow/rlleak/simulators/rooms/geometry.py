"""Triangle meshes for furniture: boxes, cushions, lofts, rods, sheets, drapes and leaves.

Lengths are metres, in Unity's axes (x right, y up, z forward, left-handed). Texture coordinates are metres too;
the builder divides them by the size of the material's texture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

Vector = tuple[float, float, float]


@dataclass
class Mesh:
    """Triangles: `vertices` (n, 3), unit `normals` (n, 3), `uv` (n, 2) in metres, `faces` (m, 3).

    `cross(b - a, c - a)` of each face's coordinates points along its normal.
    """

    vertices: np.ndarray
    normals: np.ndarray
    uv: np.ndarray
    faces: np.ndarray

    def moved(self, offset: Vector) -> Mesh:
        """Shift by `offset`."""
        return Mesh(self.vertices + np.asarray(offset), self.normals, self.uv, self.faces)

    def turned(self, matrix: np.ndarray) -> Mesh:
        """Rotate by a (3, 3) matrix."""
        return Mesh(self.vertices @ matrix.T, self.normals @ matrix.T, self.uv, self.faces)

    def two_sided(self) -> Mesh:
        """Add the same triangles seen from behind."""
        return join([self, Mesh(self.vertices, -self.normals, self.uv, self.faces[:, ::-1])])


def join(meshes: list[Mesh]) -> Mesh:
    """Put meshes together as one."""
    offsets = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.uv for mesh in meshes]),
        np.concatenate([mesh.faces + offset for mesh, offset in zip(meshes, offsets, strict=True)]),
    )


def rotation_y(degrees: float) -> np.ndarray:
    """Turn clockwise seen from above, as Unity's yaw: 90 degrees takes +z to +x."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def rotation_x(degrees: float) -> np.ndarray:
    """Pitch: 90 degrees takes +z to -y (tips forwards and down)."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])


def rotation_z(degrees: float) -> np.ndarray:
    """Roll: 90 degrees takes +x to +y."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross products of rows; numpy's own spends most of its time on checking shapes."""
    (a0, a1, a2), (b0, b1, b2) = a.T, b.T
    return np.stack([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], 1)


@lru_cache(maxsize=256)
def _grid_faces(rows: int, columns: int) -> np.ndarray:
    """Triangulate a grid of rows x columns vertices (row-major)."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, 1:].ravel(), index[1:, :-1].ravel()
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def _oriented(mesh: Mesh) -> Mesh:
    """Flip the faces whose winding disagrees with their normals, and drop those without area."""
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    cross = _cross(b - a, c - a)
    agreement = np.einsum("ij,ij->i", cross, mesh.normals[mesh.faces].sum(1))
    faces = np.where(agreement[:, None] < 0, mesh.faces[:, ::-1], mesh.faces)
    return Mesh(mesh.vertices, mesh.normals, mesh.uv, faces[np.linalg.norm(cross, axis=1) > 1e-10])


def sheet(width: float, height: float, cell: float = 0.6) -> Mesh:
    """A rectangle in the plane z = 0 facing +z, centred, subdivided so that light varies across it."""
    columns, rows = max(1, round(width / cell)), max(1, round(height / cell))
    x, y = np.meshgrid(np.linspace(-width / 2, width / 2, columns + 1), np.linspace(-height / 2, height / 2, rows + 1))
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1)
    normals = np.tile([0.0, 0.0, 1.0], (x.size, 1))
    # Seen from the front in a left-handed frame +x is on the left, so that a picture's u runs against x.
    uv = np.stack([width / 2 - x.ravel(), y.ravel() + height / 2], 1)
    return _oriented(Mesh(vertices, normals, uv, _grid_faces(rows + 1, columns + 1)))


def _cuboid_face(
    axis: int, sign: int, ticks: list[np.ndarray], grain: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, uv and faces of one face of a cuboid, sampled at `ticks` along each axis."""
    first, second = (i for i in range(3) if i != axis)
    a, b = np.meshgrid(ticks[first], ticks[second])
    vertices = np.empty((a.size, 3))
    vertices[:, first], vertices[:, second], vertices[:, axis] = a.ravel(), b.ravel(), sign * ticks[axis][-1]
    return vertices, vertices[:, _uv_axes(axis, grain)], _grid_faces(*a.shape)


def _uv_axes(axis: int, grain: int) -> list[int]:
    """Which axes u and v follow on the face across `axis`: u the grain's if it can, otherwise a level one."""
    first, second = (i for i in range(3) if i != axis)
    return [second, first] if grain == second or (grain == axis and first == 1) else [first, second]


def box(size: Vector, cell: float = 0.7) -> Mesh:
    """A cuboid centred on the origin, its texture's u along the longest side."""
    unit = _unit_box(tuple(max(1, round(extent / cell)) for extent in size), int(np.argmax(size)))
    scale = np.asarray(size, float)
    return Mesh(unit.vertices * scale, unit.normals, unit.uv * scale[unit.uv_axes], unit.faces)


@dataclass
class _UnitBox(Mesh):
    """A cube of side 1 whose uv still have to be stretched along the axes that `uv_axes` (n, 2) names."""

    uv_axes: np.ndarray


@lru_cache(maxsize=512)
def _unit_box(cells: tuple[int, ...], grain: int) -> _UnitBox:
    ticks = [np.linspace(-0.5, 0.5, count + 1) for count in cells]
    parts, axes = [], []
    for axis in range(3):
        for sign in (-1, 1):
            vertices, uv, faces = _cuboid_face(axis, sign, ticks, grain)
            normals = np.zeros_like(vertices)
            normals[:, axis] = sign
            parts.append(Mesh(vertices, normals, uv, faces))
            axes.append(np.tile(_uv_axes(axis, grain), (len(uv), 1)))
    whole = _oriented(join(parts))
    return _UnitBox(whole.vertices, whole.normals, whole.uv, whole.faces, np.concatenate(axes))


@lru_cache(maxsize=1024)
def cushion(size: Vector, radius: float = 0.03, bulge: float = 0.0) -> Mesh:
    """A cuboid with rounded edges; `bulge` metres swell the middle of each face (mattresses, pillows)."""
    half = np.asarray(size) / 2
    radius = min(radius, 0.999 * float(half.min()))
    ticks = []
    for h in half:
        edge = radius * np.array([0.0, 0.35, 1.0])
        inner = np.linspace(-h + radius, h - radius, 5)[1:-1] if bulge else np.empty(0)
        ticks.append(np.concatenate([-h + edge, inner, h - edge[::-1]]))
    grain = int(np.argmax(size))
    parts = []
    for axis in range(3):
        for sign in (-1, 1):
            surface, uv, faces = _cuboid_face(axis, sign, ticks, grain)
            inner = np.clip(surface, -(half - radius), half - radius)
            normals = surface - inner
            normals /= np.linalg.norm(normals, axis=1, keepdims=True)
            vertices = inner + radius * normals
            if bulge:
                first, second = (i for i in range(3) if i != axis)
                swell = (1 - (surface[:, first] / half[first]) ** 2) * (1 - (surface[:, second] / half[second]) ** 2)
                vertices[:, axis] += sign * bulge * swell
                normals[:, first] += 2 * bulge * surface[:, first] / half[first] ** 2
                normals[:, second] += 2 * bulge * surface[:, second] / half[second] ** 2
                normals /= np.linalg.norm(normals, axis=1, keepdims=True)
            parts.append(Mesh(vertices, normals, uv, faces))
    return _oriented(join(parts))


def _ring(half_x: float, half_z: float, angles: np.ndarray, exponent: float) -> np.ndarray:
    """Points of a superellipse: exponent 2 is an ellipse, 6 and more a rounded rectangle."""
    c, s = np.cos(angles), np.sin(angles)
    power = 2.0 / exponent
    return np.stack([half_x * np.sign(c) * np.abs(c) ** power, half_z * np.sign(s) * np.abs(s) ** power], 1)


def loft(rings: list[tuple[float, ...]], segments: int = 16, exponent: float = 2.0) -> Mesh:
    """A skin over horizontal rings `(half_x, half_z, y[, z offset])`, from first to last.

    Listed upwards the skin faces outwards; listed downwards it faces inwards (the inside of a bowl). A ring of
    zero size closes the end. Edges sharper than 40 degrees stay sharp.
    """
    angles = np.linspace(0, 2 * np.pi, segments + 1)
    points = []
    for half_x, half_z, y, *offset in rings:
        flat = _ring(max(half_x, 1e-5), max(half_z, 1e-5), angles, exponent)
        points.append(np.stack([flat[:, 0], np.full(len(flat), y), flat[:, 1] + (offset[0] if offset else 0.0)], 1))
    bands = [_band_normals(lower, upper) for lower, upper in pairwise(points)]
    girth = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points[_widest(rings)], axis=0), axis=1))])
    parts, travelled = [], 0.0
    for i, normals in enumerate(bands):
        ends = []
        for neighbour in (i - 1, i + 1):
            shared = normals
            if 0 <= neighbour < len(bands):
                smooth = np.einsum("ij,ij->i", normals, bands[neighbour]) > np.cos(np.radians(40))
                shared = np.where(smooth[:, None], normals + bands[neighbour], normals)
            ends.append(shared / np.linalg.norm(shared, axis=1, keepdims=True))
        length = float(np.linalg.norm(points[i + 1] - points[i], axis=1).mean())
        uv = np.concatenate([np.stack([girth, np.full(len(girth), travelled + d)], 1) for d in (0.0, length)])
        travelled += length
        faces = _grid_faces(2, segments + 1)
        parts.append(_oriented(Mesh(np.concatenate(points[i : i + 2]), np.concatenate(ends), uv, faces)))
    return join(parts)


def _widest(rings: list[tuple[float, ...]]) -> int:
    return max(range(len(rings)), key=lambda i: rings[i][0])


def _band_normals(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Outward normals between two rings, one per angle."""
    middle = lower + upper
    # First and last points coincide, so that their neighbours are one further.
    around = np.concatenate([middle[1:], middle[1:2]]) - np.concatenate([middle[-2:-1], middle[:-1]])
    normals = _cross(upper - lower, around)
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


@lru_cache(maxsize=1024)
def cylinder(radius: float, height: float, segments: int = 16) -> Mesh:
    """A closed upright cylinder standing on y = 0."""
    return loft([(0, 0, 0), (radius, radius, 0), (radius, radius, height), (0, 0, height)], segments)


@lru_cache(maxsize=1024)
def ball(radii: Vector, segments: int = 14, rings: int = 8) -> Mesh:
    """An ellipsoid centred on the origin."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)
    return loft([(radii[0] * np.cos(a), radii[2] * np.cos(a), radii[1] * np.sin(a)) for a in angles], segments)


def rod(start: Vector, end: Vector, radius: float, segments: int = 8) -> Mesh:
    """A round bar between two points."""
    start_point, direction = np.asarray(start), np.asarray(end) - np.asarray(start)
    length = float(np.linalg.norm(direction))
    up = direction / length
    helper = np.array([1.0, 0.0, 0.0]) if abs(up[0]) < 0.9 else np.array([0.0, 0.0, 1.0])
    side = np.cross(helper, up)
    side /= np.linalg.norm(side)
    matrix = np.stack([side, up, np.cross(side, up)], 1)
    return cylinder(radius, length, segments).turned(matrix).moved(tuple(start_point))


def drape(width: float, height: float, folds: int, depth: float = 0.022) -> Mesh:
    """A hanging cloth in the plane z = 0, its top edge at y = 0, seen from both sides."""
    columns = 6 * folds + 1
    t = np.linspace(0, 2 * np.pi * folds, columns)
    x = np.linspace(-width / 2, width / 2, columns)
    z = depth * np.sin(t)
    slope = depth * np.cos(t) * (2 * np.pi * folds / width)
    # Cloth lets light through: its folds are shaded less than their shape says.
    normals = np.stack([-0.3 * slope, np.zeros(columns), np.ones(columns)], 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    levels = np.linspace(0, -height, 5)
    vertices = np.concatenate([np.stack([x, np.full(columns, y), z * (0.7 - 0.3 * y / height)], 1) for y in levels])
    arc = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    uv = np.concatenate([np.stack([arc, np.full(columns, y + height)], 1) for y in levels])
    front = _oriented(Mesh(vertices, np.tile(normals, (len(levels), 1)), uv, _grid_faces(5, columns)))
    # Thin cloth glows through: where a fold shows its back, that is lit like its front.
    return join([front, Mesh(front.vertices, front.normals, front.uv, front.faces[:, ::-1])])


def leaf(length: float, width: float, droop: float) -> Mesh:
    """A leaf along +z from the origin, bending down by `droop` metres at its tip, seen from both sides."""
    t = np.linspace(0, 1, 5)
    half = width / 2 * np.sin(np.pi * (0.12 + 0.88 * t)) ** 0.8
    y = 0.35 * droop * np.sin(np.pi * t) - droop * t**2
    fold = 0.15 * half
    rows = [np.stack([side * half, y + (side != 0) * fold, t * length], 1) for side in (-1, 0, 1)]
    slope = np.gradient(y, t * length)
    normals = np.stack([np.zeros(5), np.ones(5), -slope], 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    uv = np.concatenate([np.stack([t * length, np.full(5, (side + 1) * width / 2)], 1) for side in (-1, 0, 1)])
    return _oriented(Mesh(np.concatenate(rows), np.tile(normals, (3, 1)), uv, _grid_faces(3, 5))).two_sided()

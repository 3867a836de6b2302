"""Where in which room a depth image was taken: its points laid into each candidate room's scan, pose by pose.

A room's scan is made from photographs with depth and camera pose: the distance of every place to the nearest surface.
At the right pose the image's points lie on surfaces and the way to them is free, so the fit of a pose is

    mean over points of on(point) - mean over points of on(between camera and point),  on(p) = exp(-distance^2 / 2 s^2)

found by going through a grid of places and directions with few points and, around the best of the best rooms, through
a finer one with more points and a smaller s. The onlooker knows the robot's camera: its height, field of view and the
tilts that it has.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import binary_closing, distance_transform_edt
from torch import Tensor

from rlleak.errors import ConfigurationError

VOXEL = 0.1  # metres
_REACH = 80  # voxels that a point lies away at most; further ones are drawn in: no room is as long
_MARGIN = 0.3  # metres of scan around what was seen
_FARTHEST_STORED = 2.55  # metres; distances are kept as centimetres in a byte
_ROBOT = (0.3, 1.5)  # metres above the floor: nothing may stand there where the camera is
_STRIDE = 4  # voxels between the places that are tried first
_PHOTOGRAPH_STEP = 2  # every second pixel of a photograph goes into the scan
_COARSE, _FINE = 0.2, 0.12  # s above, metres
_COARSE_POINTS, _FINE_POINTS = 8, 15  # across the image
_DIRECTIONS = torch.arange(0.0, 360.0, 15.0)
_FINE_TURNS = torch.tensor([-7.5, -3.75, 0.0, 3.75, 7.5])
_FINE_STEPS = (-2, -1, 0, 1, 2)  # voxels
_ROOMS_REFINED, _POSES_REFINED = 80, 4
_BEFORE_SURFACE = 0.5  # metres, where the way must already be free
_WORST = -2.0  # no fit is below -1


@dataclass(frozen=True)
class Scan:
    """A room: distance (X, Y, Z) uint8, centimetres to the nearest surface, in voxels from `corner` (3,), metres;
    `eye`, metres above the floor."""

    layout: int
    distance: Tensor
    corner: Tensor
    eye: float

    def nearness(self, deviation: float) -> Tensor:
        """on(p) for each voxel (X, Y, Z) in [0, 1]."""
        return torch.exp(-(self.distance.float() / 100.0).square() / (2.0 * deviation**2))

    def places(self) -> Tensor:
        """(P, 2) int64 voxels (x, z) where the robot can stand: floor was seen there and nothing is in its way."""
        near = (self.distance < 100 * 1.5 * VOXEL).numpy()
        level = [int((height - float(self.corner[1])) / VOXEL) for height in (*_ROBOT, 1.5 * VOXEL)]
        floor = binary_closing(near[:, : level[2] + 1].any(1), iterations=3)  # seen through gaps between furniture
        free = floor & ~near[:, level[0] : level[1]].any(1)
        found = np.argwhere(free)
        return torch.from_numpy(found[(found % _STRIDE == 0).all(1)])


def scan(depth: np.ndarray, camera: np.ndarray, field_of_view: float, layout: int) -> Scan:
    """The scan of one room from photographs: depth (n, H, W) metres, camera (n, 5) as in Photographs."""
    seen = []
    for metres, pose in zip(torch.from_numpy(depth), torch.from_numpy(camera), strict=True):
        points = _turned(_rays(metres.shape, field_of_view) * metres[..., None], pose[3], pose[4])
        seen.append(points[::_PHOTOGRAPH_STEP, ::_PHOTOGRAPH_STEP].reshape(-1, 3) + pose[:3])
    points = torch.cat(seen).numpy()
    # What a window or a mirror shows lies outside; few points are that far.
    low, high = np.percentile(points, 0.3, axis=0) - _MARGIN, np.percentile(points, 99.7, axis=0) + _MARGIN
    points = points[((points > low) & (points < high)).all(1)]
    surface = np.zeros(np.ceil((high - low) / VOXEL).astype(int) + 1, bool)
    surface[tuple(((points - low) / VOXEL).astype(int).T)] = True
    away = distance_transform_edt(~surface) * VOXEL
    centimetres = (away.clip(max=_FARTHEST_STORED) * 100).round().astype(np.uint8)
    return Scan(layout, torch.from_numpy(centimetres), torch.from_numpy(low).float(), float(camera[0, 1]))


def locate(depth: Tensor, scans: Sequence[Scan], field_of_view: float, tilts: Sequence[float]) -> Tensor:
    """(Q, H, W) depth images in metres -> (Q, len(scans)): how well each fits into each room at its best pose."""
    if not scans:
        raise ConfigurationError("no rooms to look for a depth image in; photograph at least one")
    coarse = [(room.nearness(_COARSE), room.places()) for room in scans]
    fits = []
    for image in depth:
        points = _points(image, _COARSE_POINTS, field_of_view)
        looks = torch.stack([_turned(points, _DIRECTIONS[:, None], tilt) for tilt in tilts]).flatten(0, 1)
        poses = [_best_poses(*field, room, looks) for field, room in zip(coarse, scans, strict=True)]
        fit = torch.tensor([found[0][0] if found else _WORST for found in poses])
        fine = _points(image, _FINE_POINTS, field_of_view)
        best = fit.topk(min(_ROOMS_REFINED, len(scans))).indices.tolist()
        fit -= 1.0  # behind the best rooms, in their order
        for index in best:
            refined = [_refined(scans[index], fine, pose, tilts) for _, pose in poses[index]]
            fit[index] = max(refined, default=_WORST)
        fits.append(fit)
    return torch.stack(fits)


def _best_poses(near: Tensor, places: Tensor, room: Scan, looks: Tensor) -> list[tuple[float, tuple[int, int, int]]]:
    """The few best (fit, (x, z, index of the look)) of a room."""
    if not len(places):
        return []
    fits = _fits(near, room, looks, places)
    best = fits.flatten().topk(min(_POSES_REFINED, fits.numel()))
    pairs = zip(best.values.tolist(), best.indices.tolist(), strict=True)
    return [(value, (*places[index // len(looks)].tolist(), index % len(looks))) for value, index in pairs]


def _refined(room: Scan, points: Tensor, pose: tuple[int, int, int], tilts: Sequence[float]) -> float:
    x, z, look = pose
    tilt, direction = tilts[look // len(_DIRECTIONS)], _DIRECTIONS[look % len(_DIRECTIONS)]
    looks = _turned(points, (direction + _FINE_TURNS)[:, None], tilt)
    around = torch.tensor([(x + a, z + b) for a in _FINE_STEPS for b in _FINE_STEPS])
    return float(_fits(room.nearness(_FINE), room, looks, around).max())


def _fits(near: Tensor, room: Scan, looks: Tensor, places: Tensor) -> Tensor:
    """(P, L): the fit at places (P, 2) voxels of points as looked at (L, n, 3) metres from the camera."""
    length = torch.linalg.vector_norm(looks, dim=-1, keepdim=True)
    before = looks * ((length - _BEFORE_SURFACE).clamp(min=0.0) / length.clamp(min=1e-3))
    voxels = (torch.stack([looks, before, 0.5 * before], 1) / VOXEL + 0.5).floor().long()  # (L, 3, n, 3)
    reach = int(voxels[..., [0, 2]].abs().max().clamp(max=_REACH))
    voxels[..., [0, 2]] = voxels[..., [0, 2]].clamp(-reach, reach)
    # Heights are the same at every place; above and below the scan there is nothing.
    height = voxels[..., 1] + int((room.eye - float(room.corner[1])) / VOXEL)
    padded = torch.nn.functional.pad(near, (reach, reach, 1, 1, reach, reach))
    _, rows, columns = padded.shape
    flat = (voxels[..., 0] * rows + (height + 1).clamp(0, rows - 1)) * columns + voxels[..., 2]
    origin = ((places[:, 0] + reach) * rows * columns + places[:, 1] + reach).to(flat)
    inside = (places >= 0).all(1) & (places < torch.tensor([near.shape[0], near.shape[2]])).all(1)
    values = padded.flatten()[origin.clamp(min=0)[inside, None, None, None] + flat].mean(-1)  # (P, L, 3)
    fits = torch.full((len(places), len(looks)), _WORST)
    fits[inside] = values[..., 0] - values[..., 1:].mean(-1)
    return fits


def _points(depth: Tensor, across: int, field_of_view: float) -> Tensor:
    """across x across points (n, 3) in metres, right, up and forward of the camera: medians of cells of (H, W)."""
    cell = [side // across for side in depth.shape]
    used = (cell[0] * across, cell[1] * across)
    cells = depth[: used[0], : used[1]].reshape(across, cell[0], across, cell[1]).permute(0, 2, 1, 3)
    rays = _rays(depth.shape, field_of_view)[: used[0], : used[1]]
    middle = rays.reshape(across, cell[0], across, cell[1], 3).mean((1, 3)).reshape(-1, 3)
    return middle * cells.flatten(2).median(2).values.reshape(-1, 1)


def _rays(shape: Sequence[int], field_of_view: float) -> Tensor:
    """(H, W, 3): where each pixel looks, for depth measured along the axis; `field_of_view` is vertical, degrees."""
    height, width = shape
    top = math.tan(math.radians(field_of_view / 2))
    down = (2 * (torch.arange(height) + 0.5) / height - 1) * top
    right = (2 * (torch.arange(width) + 0.5) / width - 1) * top * width / height
    y, x = torch.meshgrid(-down, right, indexing="ij")
    return torch.stack([x, y, torch.ones_like(x)], -1)


def _turned(points: Tensor, yaw: Tensor, tilt: float | Tensor) -> Tensor:
    """Points (..., 3) of a camera that looks along `yaw` (clockwise from z) and down by `tilt`, in the room's axes."""
    yaw, tilt = torch.deg2rad(yaw), torch.deg2rad(torch.as_tensor(tilt))
    x, y, z = points.unbind(-1)
    up, ahead = y * torch.cos(tilt) - z * torch.sin(tilt), y * torch.sin(tilt) + z * torch.cos(tilt)
    turned = (x * torch.cos(yaw) + ahead * torch.sin(yaw), up, ahead * torch.cos(yaw) - x * torch.sin(yaw))
    return torch.stack(torch.broadcast_tensors(*turned), -1)


def stored(scans: Sequence[Scan]) -> dict[str, Tensor]:
    """Scans as named arrays for one file."""
    return {
        "scans/layout": torch.tensor([room.layout for room in scans]),
        "scans/shape": torch.tensor([list(room.distance.shape) for room in scans]),
        "scans/corner": torch.stack([room.corner for room in scans]),
        "scans/eye": torch.tensor([room.eye for room in scans]),
        "scans/distance": torch.cat([room.distance.flatten() for room in scans]),
    }


def restored(tensors: Mapping[str, Tensor]) -> list[Scan]:
    """What `stored` gave. Raises KeyError where an array is missing."""
    names = ("layout", "shape", "corner", "eye")
    layouts, shapes, corners, eyes = (tensors[f"scans/{name}"] for name in names)
    fields = tensors["scans/distance"].split([int(shape.prod()) for shape in shapes])
    return [
        Scan(int(layout), field.reshape(*shape.tolist()), corner, float(eye))
        for layout, field, shape, corner, eye in zip(layouts, fields, shapes, corners, eyes, strict=True)
    ]

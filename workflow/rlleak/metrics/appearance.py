"""What a room looks like, as a vector that its other views share: colours and depths by height, weighed by what tells
public rooms apart.

A hand-made descriptor: soft histograms of lightness and colour (CIELAB) and of depth and its slopes, for the whole view
and for its upper, middle and lower third, square roots taken (Hellinger kernel; Arandjelovic and Zisserman, CVPR 2012).
Principal components and linear discriminants of public rooms, seen clean and as bad reconstructions, then say which
differences mean another room and which only another place to stand.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from skimage.color import rgb2lab
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor
from torch.nn import functional

_SIDE = 30  # cells across a view: noise averages out in each
_THIRDS = 3
_LIGHTNESS, _LIGHTNESS_WIDTH = torch.linspace(5, 95, 6), 9.0
_GREEN_RED, _BLUE_YELLOW, _COLOUR_WIDTH = torch.linspace(-30, 30, 7), torch.linspace(-30, 50, 9), 5.0
_DEPTHS, _DEPTH_WIDTH = torch.linspace(np.log(0.4), np.log(8.0), 16), 0.12
_NEAREST = 0.2  # metres
_ANGLES = torch.linspace(-np.pi, np.pi, 9)[:-1]
_STEEPEST = 0.5  # metres between neighbouring cells; more is an edge, and one edge is like another
_DEPTH_WEIGHT = 0.5  # beside colour
_COMPONENTS, _DISCRIMINANTS = 200, 80
_SHRINKAGE = 0.1
_CHUNK = 64


@dataclass(frozen=True)
class Appearance:
    """A linear map of descriptors: `centre` (D,), `projection` (D, K)."""

    centre: Tensor
    projection: Tensor

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {"appearance/centre": self.centre, "appearance/projection": self.projection}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> "Appearance":
        """From `tensors`, as stored. Raises KeyError where one is missing."""
        return cls(tensors["appearance/centre"], tensors["appearance/projection"])

    def embed(self, images: Tensor, depth_limit: float) -> Tensor:
        """(N, 4 or 1, H, W) images in [0, 1] -> (N, K) of length 1; the cosine says how alike two views' rooms are."""
        described = (describe(chunk, depth_limit) for chunk in images.split(_CHUNK))
        return torch.cat([functional.normalize((rows - self.centre) @ self.projection, dim=1) for rows in described])


def learn_appearance(images: list[Tensor], layout: Tensor, depth_limit: float) -> Appearance:
    """Learns from public views: `images` are versions (N, C, H, W) of the same views (clean, degraded), layout (N,)."""
    described = [describe(chunk, depth_limit) for version in images for chunk in version.split(_CHUNK)]
    rows, rooms = torch.cat(described).double().numpy(), layout.repeat(len(images)).numpy()
    components = PCA(min(_COMPONENTS, len(rows) - 1, rows.shape[1]), svd_solver="full").fit(rows)
    discriminants = LinearDiscriminantAnalysis(solver="eigen", shrinkage=_SHRINKAGE)
    discriminants.fit(components.transform(rows), rooms)
    projection = components.components_.T @ discriminants.scalings_[:, : min(_DISCRIMINANTS, len(set(rooms)) - 1)]
    return Appearance(torch.from_numpy(components.mean_).float(), torch.from_numpy(projection).float())


def describe(images: Tensor, depth_limit: float) -> Tensor:
    """The descriptor of images (N, 4 or 1, H, W) in [0, 1], whose last channel is depth: (N, D)."""
    cells = functional.adaptive_avg_pool2d(images.clamp(0, 1), _SIDE)
    depth = _of_depth(cells[:, -1] * depth_limit)
    if images.shape[1] == 1:
        return depth
    return functional.normalize(torch.cat([_of_colour(cells[:, :3]), _DEPTH_WEIGHT * depth], 1), dim=1)


def _of_colour(rgb: Tensor) -> Tensor:
    lab = torch.from_numpy(rgb2lab(rgb.numpy(), channel_axis=1)).float().flatten(2)
    lightness = _softly(lab[:, 0], _LIGHTNESS, _LIGHTNESS_WIDTH)
    green_red = _softly(lab[:, 1], _GREEN_RED, _COLOUR_WIDTH)
    blue_yellow = _softly(lab[:, 2], _BLUE_YELLOW, _COLOUR_WIDTH)
    bins = torch.einsum("npl,npa,npb->nplab", lightness, green_red, blue_yellow).flatten(2)
    return functional.normalize(_by_height(bins.unflatten(1, (_SIDE, _SIDE))).sqrt(), dim=1)


def _of_depth(metres: Tensor) -> Tensor:
    distances = _softly(metres.clamp(min=_NEAREST).log().flatten(1), _DEPTHS, _DEPTH_WIDTH)
    across, down = metres[:, 1:, 1:] - metres[:, 1:, :-1], metres[:, 1:, 1:] - metres[:, :-1, 1:]
    steepness = torch.hypot(across, down).clamp(max=_STEEPEST)[..., None]
    angle = torch.atan2(down, across)
    away = torch.remainder(angle[..., None] - _ANGLES + np.pi, 2 * np.pi) - np.pi
    slopes = torch.exp(-0.5 * (away / 0.4).square()) * steepness
    rows = [_by_height(distances.unflatten(1, (_SIDE, _SIDE))).sqrt(), 2.0 * _by_height(slopes).sqrt()]
    return functional.normalize(torch.cat(rows, 1), dim=1)


def _softly(values: Tensor, centres: Tensor, width: float) -> Tensor:
    """(N, P) values -> (N, P, bins): how much each belongs to each bin; a value that no bin is near belongs to none."""
    weight = torch.exp(-0.5 * ((values[..., None] - centres) / width).square())
    return weight / (weight.sum(-1, keepdim=True) + 1e-6)


def _by_height(bins: Tensor) -> Tensor:
    """(N, h, w, bins) -> (N, 4 * bins): means over the view and its three bands."""
    bands = bins.tensor_split(_THIRDS, dim=1)
    return torch.cat([bins.mean((1, 2)), *(band.mean((1, 2)) for band in bands)], 1)

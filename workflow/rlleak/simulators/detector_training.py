"""Trains the detector on labelled views and measures it on layouts that it has not seen."""

import time

import numpy as np
import torch
from rich.progress import track
from torch.nn import functional

from rlleak.errors import ConfigurationError
from rlleak.simulators.detector import STRIDE, Detector, DetectorNetwork, as_images
from rlleak.simulators.detector_scores import MINIMAL_PIXELS, score_detector
from rlleak.simulators.views import Views

_SPREAD = 0.12  # of a centre's bump, in widths and heights of its box
_CORE = 0.3  # where the bump is higher than this, the box's sides are taught
_BOX_WEIGHT = 4.0
_WEIGHT_DECAY = 1e-4


class Labels:
    """What the network ought to say about each view, kept as boxes and drawn as maps when asked for."""

    def __init__(self, views: Views) -> None:
        self._height, self._width = views.rgb.shape[1:3]
        self._types = len(views.types)
        self._kinds = views.kind
        self._boxes = (views.boxes + 1.0) / 2.0 * np.array([self._width, self._height] * 2, np.float32)  # pixels
        areas = (self._boxes[:, 2] - self._boxes[:, 0]) * (self._boxes[:, 3] - self._boxes[:, 1])
        self._of_view: list[list[int]] = [[] for _ in range(len(views))]
        for label in np.argsort(-areas, kind="stable"):  # small boxes are drawn last, over the large ones behind them
            if views.pixels[label] >= MINIMAL_PIXELS:
                self._of_view[views.view[label]].append(int(label))

    def draw(self, indices: np.ndarray, mirrored: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Heatmaps (B, types, h, w) in [0, 1], sides (B, 4, h, w) in pixels, their weights (B, h, w) in [0, 1]."""
        height, width = -(-self._height // STRIDE), -(-self._width // STRIDE)
        heat = np.zeros((len(indices), self._types, height, width), np.float32)
        sides = np.zeros((len(indices), 4, height, width), np.float32)
        weight = np.zeros((len(indices), height, width), np.float32)
        y, x = np.meshgrid(*((np.arange(n, dtype=np.float32) + 0.5) * STRIDE for n in (height, width)), indexing="ij")
        for place, (view, mirror) in enumerate(zip(indices, mirrored, strict=True)):
            for label in self._of_view[view]:
                x1, y1, x2, y2 = self._boxes[label]
                if mirror:
                    x1, x2 = self._width - x2, self._width - x1
                across = (x - (x1 + x2) / 2) / max(x2 - x1, 2.0 * STRIDE)
                down = (y - (y1 + y2) / 2) / max(y2 - y1, 2.0 * STRIDE)
                bump = np.exp(-(across**2 + down**2) / (2 * _SPREAD**2))
                bump /= bump.max()
                heatmap = heat[place, self._kinds[label]]
                np.maximum(heatmap, bump, out=heatmap)
                core = bump > _CORE
                sides[place][:, core] = np.stack([x - x1, y - y1, x2 - x, y2 - y])[:, core].clip(min=0.0)
                weight[place][core] = bump[core]
        return torch.from_numpy(heat), torch.from_numpy(sides), torch.from_numpy(weight)


def _centre_loss(logits: torch.Tensor, heat: torch.Tensor) -> torch.Tensor:
    """CenterNet's penalty-reduced focal loss (eq. 1, alpha = 2, beta = 4), from logits."""
    peak = heat == 1.0
    p = torch.sigmoid(logits)
    surely, never = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    focal = torch.where(peak, (1 - p).square() * surely, (1 - heat).square().square() * p.square() * never)
    return -focal.sum() / peak.sum().clamp(min=1)


def _box_loss(reach: torch.Tensor, sides: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """1 - IoU of the boxes around one point each, weighted: FCOS's, with both boxes' sides measured from that point."""
    common = torch.minimum(reach, sides)
    overlap = (common[:, 0] + common[:, 2]) * (common[:, 1] + common[:, 3])
    said = (reach[:, 0] + reach[:, 2]) * (reach[:, 1] + reach[:, 3])
    true = (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])
    iou = overlap / (said + true - overlap).clamp(min=1.0)
    return ((1.0 - iou) * weight).sum() / weight.sum().clamp(min=1.0)


def _vary(images: torch.Tensor, mirrored: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """Mirrors the chosen images and changes each one's brightness, contrast and tint a little."""
    images[torch.from_numpy(mirrored)] = images[torch.from_numpy(mirrored)].flip(3)
    count = len(images)
    gain = torch.from_numpy(rng.uniform(0.8, 1.2, (count, 1, 1, 1)) * rng.uniform(0.93, 1.07, (count, 3, 1, 1))).float()
    shift = torch.from_numpy(rng.uniform(-0.06, 0.06, (count, 1, 1, 1))).float()
    return (images * gain + shift).clamp_(0.0, 1.0)


def train_detector(
    views: Views,
    held_out: Views | None = None,
    *,
    epochs: int,
    seed: int,
    batch_size: int = 8,
    learning_rate: float = 4e-3,
    progress: bool = True,
) -> tuple[Detector, dict]:
    """Trains on `views`, scores on `held_out` (views of other layouts), on the CPU; see `score_detector` for the
    scores.

    The same views, seed and thread count give the same detector. Raises ConfigurationError if a held-out layout was
    trained on, or if there is nothing to train on.
    """
    if not len(views) or not len(views.boxes):
        raise ConfigurationError("no labelled views to train the detector on; raise views_per_layout")
    shared = set() if held_out is None else set(views.layout.tolist()) & set(held_out.layout.tolist())
    if shared:
        raise ConfigurationError(f"the detector would be scored on layouts it was trained on: {sorted(shared)}")
    started = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DetectorNetwork(len(views.types)).to(memory_format=torch.channels_last)
    rng = np.random.default_rng(seed)
    labels = Labels(views)
    per_epoch = -(-len(views) // batch_size)
    optimiser = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=_WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=epochs * per_epoch + 1)
    network.train()
    for _ in track(range(epochs), "training the detector", disable=not progress):
        for indices in np.array_split(rng.permutation(len(views)), per_epoch):
            mirrored = rng.random(len(indices)) < 0.5
            images = _vary(as_images(views.rgb[indices]), mirrored, rng)
            logits, reach = network(images.contiguous(memory_format=torch.channels_last))
            heat, sides, weight = labels.draw(indices, mirrored)
            loss = _centre_loss(logits, heat) + _BOX_WEIGHT * _box_loss(reach, sides, weight)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimiser.step()
            schedule.step()
    network.to(memory_format=torch.contiguous_format)
    description = {"epochs": epochs, "training_views": len(views), "training_layouts": len(set(views.layout.tolist()))}
    detector = Detector(views.types, network, description)
    scores = {**description, "seconds": time.monotonic() - started}
    if held_out is not None:
        scores |= score_detector(detector, held_out)
    return detector, scores

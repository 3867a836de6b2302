"""Learns on public rooms what an onlooker needs, and measures it on public rooms that it has not seen."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rlleak.errors import ConfigurationError
from rlleak.metrics.appearance import learn_appearance
from rlleak.metrics.degrading import degraded
from rlleak.metrics.onlooker import Matcher, as_images, rank_of, remember
from rlleak.metrics.target_classifier import train_target_classifier

if TYPE_CHECKING:
    from rlleak.simulators.photographs import Photographs
    from rlleak.simulators.views import Views

_MINIMAL_PIXELS = 60  # of an object that a robot may be looking at, as in the task
_WEIGHTS = ((1.0, 0.0), (1.0, 0.5), (1.0, 1.0), (1.0, 2.0), (0.0, 1.0))  # of appearance and fit


def train_matcher(
    views: Views,
    held_out: Views,
    photographs: Photographs,
    *,
    setting: str,
    depth_limit: float,
    tilts: Sequence[float],
    epochs: int,
    seed: int,
) -> Matcher:
    """Learns from public views; `photographs` are of the held-out views' rooms.

    tilts: degrees that the held-out views' camera may have. How much appearance and fit count is what puts most of the
    held-out views into their own room, clean and degraded. Raises ConfigurationError where rooms are in both parts.
    """
    both = set(views.layout.tolist()) & set(held_out.layout.tolist())
    if both:
        raise ConfigurationError(f"the matcher would be scored on layouts that it was trained on: {sorted(both)}")
    started = time.monotonic()
    generator = torch.Generator().manual_seed(seed)
    images = _images(views, setting, depth_limit)
    versions = [images, degraded(images, generator), degraded(images, generator, 0.5)]
    appearance = learn_appearance(versions, torch.from_numpy(views.layout), depth_limit)
    labels = _labels(views)
    classifier = train_target_classifier(images, *labels, len(views.types), epochs=epochs, seed=seed)
    matcher = Matcher(appearance, classifier, (1.0, 1.0), views.types, depth_limit)
    weights, rooms = _weigh(matcher, held_out, photographs, setting, tilts, generator)
    targets = _target_scores(matcher, held_out, setting, generator)
    scores = {"room": rooms, "target": targets, "seconds": time.monotonic() - started}
    return replace(matcher, weights=weights, scores=scores)


def _images(views: Views, setting: str, depth_limit: float) -> Tensor:
    return as_images(views.rgb if setting == "S1" else None, views.depth, depth_limit)


def _labels(views: Views) -> tuple[Tensor, Tensor, Tensor]:
    shown = views.pixels >= _MINIMAL_PIXELS
    return tuple(torch.from_numpy(part[shown]) for part in (views.view, views.boxes, views.kind))


def _weigh(
    matcher: Matcher,
    held_out: Views,
    photographs: Photographs,
    setting: str,
    tilts: Sequence[float],
    generator: torch.Generator,
) -> tuple[tuple[float, float], dict[str, Any]]:
    """The best weights, and what each pair of weights gives on one view of each held-out room."""
    onlooker = remember(matcher, photographs, tilts)
    # A different one of each room's views, so that no pose is preferred.
    chosen = [np.flatnonzero(held_out.layout == layout) for layout in onlooker.layouts]
    chosen = np.array([own[place % len(own)] for place, own in enumerate(chosen)])
    clean = _images(held_out, setting, matcher.depth_limit)[chosen]
    true = torch.from_numpy(np.searchsorted(onlooker.layouts, held_out.layout[chosen]))
    evidence = {
        "clean": onlooker.evidence(clean, everything=True),
        "degraded": onlooker.evidence(degraded(clean, generator), everything=True),
    }
    found = {}
    for weights in _WEIGHTS:
        ranks = {kind: rank_of(weights[0] * a + weights[1] * b, true) for kind, (a, b) in evidence.items()}
        found[weights] = {kind: _shares(rank) for kind, rank in ranks.items()}
    best = max(_WEIGHTS, key=lambda weights: sum(shares["top1"] for shares in found[weights].values()))
    by_name = {f"appearance {weights[0]:g}, fit {weights[1]:g}": shares for weights, shares in found.items()}
    return best, {"rooms": len(onlooker.layouts), "views": len(chosen), "by_weights": by_name}


def _target_scores(matcher: Matcher, held_out: Views, setting: str, generator: torch.Generator) -> Mapping[str, Any]:
    view, boxes, kind = _labels(held_out)
    clean = _images(held_out, setting, matcher.depth_limit)
    scores = {}
    for name, images in (("clean", clean), ("degraded", degraded(clean, generator))):
        scores[name] = _shares(rank_of(matcher.classifier.scores(images[view], boxes), kind))
    return {"types": len(matcher.types), "labels": len(kind), **scores}


def _shares(rank: np.ndarray) -> dict[str, float]:
    return {"top1": float((rank <= 1).mean()), "top5": float((rank <= 5).mean())}

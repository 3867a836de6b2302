"""Somebody who looks at a reconstruction and says whose home it is and what the robot was looking for.

The onlooker holds a few photographs, with depth and camera pose, of every home that comes into question (as 3D tours of
homes for sale show them: other viewpoints than any victim's, of another seed), knows the robot's camera, and has learnt
on public rooms what makes two views the same room and what objects look like. No victim's transition is among that.
Which room is true is known to the score alone: this is scoring, not attack.

Two things speak for a room: that one of its photographs looks like the reconstruction (`appearance`), and that the
reconstructed depth fits into its scan (`localisation`). What each counts was chosen on public rooms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.metrics.appearance import Appearance
from rlleak.metrics.localisation import Scan, locate, restored, scan, stored
from rlleak.metrics.target_classifier import TargetClassifier

if TYPE_CHECKING:
    from rlleak.metrics.comparison import Comparison
    from rlleak.sharing.private import PrivateSide
    from rlleak.simulators.photographs import Photographs

_MATCHER, _ONLOOKER = "matcher", "onlooker"


@dataclass(frozen=True)
class Matcher:
    """What was learnt on public rooms, for one setting.

    weights: what an appearance's cosine and a fit in [-1, 1] count. types: of target objects, in the classifier's
    order. depth_limit: metres that depth 1.0 stands for. scores: how it did on public rooms that it had not seen.
    """

    appearance: Appearance
    classifier: TargetClassifier
    weights: tuple[float, float]
    types: tuple[str, ...]
    depth_limit: float
    scores: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file."""
        write_tensors(path, _MATCHER, self.tensors, self.description)

    @classmethod
    def load(cls, path: str | Path) -> Matcher:
        """Reads what `save` wrote. Raises CorruptArtefactError if it is anything else."""
        return cls.of(*read_tensors(path, _MATCHER), path)

    @property
    def channels(self) -> int:
        """Of its images: 4 with colours, 1 without."""
        return self.classifier.body[0].in_channels

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {**self.appearance.tensors, **self.classifier.tensors}

    @property
    def description(self) -> dict[str, Any]:
        names = ("weights", "types", "depth_limit", "scores")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], description: Mapping[str, Any], path: str | Path) -> Matcher:
        """From what is stored in `path`. Raises CorruptArtefactError where it does not fit."""
        try:
            return cls(
                Appearance.of(tensors),
                TargetClassifier.of(tensors),
                tuple(description["weights"]),
                tuple(description["types"]),
                float(description["depth_limit"]),
                description["scores"],
            )
        except (KeyError, RuntimeError) as error:
            raise CorruptArtefactError(
                f"{path} does not fit this matcher ({error}); delete it and run again"
            ) from error


@dataclass(frozen=True)
class Onlooker:
    """A matcher with the homes that come into question.

    layouts: theirs, sorted. embedded: (P, K), all photographs; of: (P,), whose each is, as an index into layouts.
    scans: one per home. field_of_view: the robot's, vertical, degrees; tilts: that its camera may have.
    """

    matcher: Matcher
    layouts: tuple[int, ...]
    embedded: Tensor
    of: Tensor
    scans: Sequence[Scan]
    field_of_view: float
    tilts: tuple[float, ...]

    def rooms(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] -> (N, homes): how much speaks for each."""
        appearance, fit = self.evidence(images)
        return self.matcher.weights[0] * appearance + self.matcher.weights[1] * fit

    def evidence(self, images: Tensor, everything: bool = False) -> tuple[Tensor, Tensor]:
        """Appearance and fit, (N, homes) each; what counts nothing is zeros, unless `everything` is asked for."""
        nothing = torch.zeros(len(images), len(self.layouts))
        appearance, fit = nothing, nothing
        if everything or self.matcher.weights[0]:
            cosines = self.matcher.appearance.embed(images, self.matcher.depth_limit) @ self.embedded.T
            homes = self.of.expand(len(images), -1)
            appearance = torch.full_like(nothing, -1.0).scatter_reduce(1, homes, cosines, "amax")
        if everything or self.matcher.weights[1]:
            metres = images[:, -1] * self.matcher.depth_limit
            fit = locate(metres, self.scans, self.field_of_view, self.tilts)
        return appearance, fit

    def identify(self, comparison: Comparison, private: PrivateSide) -> dict[str, np.ndarray]:
        """What `rlleak.metrics.reidentification` counts, name -> (N,); nothing where there is no image of a room.

        room, target: the place of the true one, seen from the reconstruction (with its box, if it has one); room_truth,
        target_truth: seen from the true image and box. rooms, targets: how many there are to choose from.
        """
        pair = comparison.pair("image")
        if pair is None or private.layout is None or pair[1].shape[1] != self.matcher.channels:
            return {}
        layout = private.layout.numpy()
        found = {"rooms": np.full(len(layout), float(len(self.layouts)))}
        for name, images in zip(("room", "room_truth"), pair, strict=True):
            found[name] = self.room_rank(images, layout)
        if private.target is not None:
            found["targets"] = np.full(len(layout), float(len(self.matcher.types)))
            boxes = comparison.pair("vector") or (None, private.vector.double().numpy())
            for name, images, box in zip(("target", "target_truth"), pair, boxes, strict=True):
                found[name] = self.target_rank(images, box, private.target.numpy())
        return found

    def room_rank(self, images: np.ndarray, layout: np.ndarray) -> np.ndarray:
        """(N,): the place of the true layout among all homes, 1 for the first; equals count as before it.

        Raises ConfigurationError if a layout is not among them.
        """
        unknown = sorted(set(layout.tolist()) - set(self.layouts))
        if unknown:
            raise ConfigurationError(f"no photographs of layout {unknown[0]}; raise candidates.rooms in the scale")
        true = torch.from_numpy(np.searchsorted(self.layouts, layout))
        return rank_of(self.rooms(_seen(images)), true)

    def target_rank(self, images: np.ndarray, boxes: np.ndarray | None, target: np.ndarray) -> np.ndarray:
        """(N,): the place of the true type (N,) among all types, likewise."""
        boxes = None if boxes is None else torch.from_numpy(boxes).float()
        return rank_of(self.matcher.classifier.scores(_seen(images), boxes), torch.from_numpy(target))

    def save(self, path: str | Path, **more: Any) -> None:
        """Writes one safetensors file."""
        homes = {"layouts": torch.tensor(self.layouts), "embedded": self.embedded, "of": self.of}
        camera = {"field_of_view": self.field_of_view, "tilts": self.tilts}
        tensors = {**self.matcher.tensors, **homes, **stored(self.scans)}
        write_tensors(path, _ONLOOKER, tensors, {**self.matcher.description, **camera, **more})

    @classmethod
    def load(cls, path: str | Path) -> Onlooker:
        """Reads what `save` wrote. Raises CorruptArtefactError if it is anything else."""
        tensors, description = read_tensors(path, _ONLOOKER, ("layouts", "embedded", "of"))
        return cls(
            Matcher.of(tensors, description, path),
            tuple(tensors["layouts"].tolist()),
            tensors["embedded"],
            tensors["of"],
            restored(tensors),
            float(description["field_of_view"]),
            tuple(description["tilts"]),
        )


def remember(matcher: Matcher, photographs: Photographs, tilts: Sequence[float]) -> Onlooker:
    """The onlooker who holds these photographs; tilts: of the robot's camera, degrees."""
    layouts = np.unique(photographs.layout)
    colours = matcher.channels > 1
    images = as_images(photographs.rgb if colours else None, photographs.depth, matcher.depth_limit)
    mine = [photographs.layout == layout for layout in layouts]
    scans = [
        scan(photographs.depth[own], photographs.camera[own], photographs.field_of_view, int(layout))
        for layout, own in zip(layouts, mine, strict=True)
    ]
    return Onlooker(
        matcher,
        tuple(layouts.tolist()),
        matcher.appearance.embed(images, matcher.depth_limit),
        torch.from_numpy(np.searchsorted(layouts, photographs.layout)),
        scans,
        photographs.field_of_view,
        tuple(tilts),
    )


def as_images(rgb: np.ndarray | None, depth: np.ndarray, depth_limit: float) -> Tensor:
    """(N, 4 or 1, H, W) in [0, 1] of (N, H, W, 3) uint8 and (N, H, W) metres, as the robot's network sees them."""
    shallow = torch.from_numpy(np.clip(depth / np.float32(depth_limit), 0.0, 1.0))[:, None]
    if rgb is None:
        return shallow
    return torch.cat([torch.from_numpy(rgb).permute(0, 3, 1, 2).float() / 255.0, shallow], 1)


def rank_of(scores: Tensor, true: Tensor) -> np.ndarray:
    """(N,) float64: the place of `true` (N,) in scores (N, K), 1 for the first.

    Equals count as before it, and so does what cannot be compared: a score of NaN finds nothing.
    """
    own = scores.gather(1, true[:, None])
    return (~(scores < own)).sum(1).double().numpy()


def _seen(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).float().clamp(0, 1)

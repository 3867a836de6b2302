"""Labelled views: what the detector is trained on and scored with."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.errors import ConfigurationError

_KIND = "labelled views"


@dataclass
class Views:
    """N views with M labelled boxes.

    rgb: (N, H, W, 3) uint8. depth: (N, H, W) float32, metres. layout: (N,) int64. boxes: (M, 4) float32 (x1, y1, x2,
    y2) in [-1, 1]. view, kind, pixels: (M,) int64, the view that a box lies in, the index of its type in `types`,
    and how many pixels show the object.
    """

    rgb: np.ndarray
    depth: np.ndarray
    layout: np.ndarray
    boxes: np.ndarray
    view: np.ndarray
    kind: np.ndarray
    pixels: np.ndarray
    types: tuple[str, ...]
    metadata: dict = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rgb)

    def of_layouts(self, layouts: Sequence[int]) -> "Views":
        """The views taken in the given layouts."""
        chosen = np.flatnonzero(np.isin(self.layout, np.asarray(layouts)))
        renumbered = np.full(len(self), -1)
        renumbered[chosen] = np.arange(len(chosen))
        labels = renumbered[self.view] >= 0
        return Views(
            rgb=self.rgb[chosen],
            depth=self.depth[chosen],
            layout=self.layout[chosen],
            boxes=self.boxes[labels],
            view=renumbered[self.view][labels],
            kind=self.kind[labels],
            pixels=self.pixels[labels],
            types=self.types,
            metadata=self.metadata,
        )

    def images(self, setting: str, depth_limit: float) -> torch.Tensor:
        """(N, C, H, W) float32 in [0, 1], as a policy network reads them; see `Experience.observations`."""
        depth = torch.from_numpy(np.clip(self.depth / np.float32(depth_limit), 0.0, 1.0))[:, None]
        if setting == "S2":
            return depth
        if setting != "S1":
            raise ConfigurationError(f"unknown setting '{setting}'; there is: S1, S2")
        return torch.cat([torch.from_numpy(self.rgb).permute(0, 3, 1, 2).float() / 255.0, depth], 1)

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file."""
        tensors = {name: getattr(self, name) for name in _ARRAYS}
        write_tensors(path, _KIND, tensors, {**self.metadata, "types": list(self.types)})

    @classmethod
    def load(cls, path: str | Path) -> "Views":
        """Reads what `save` wrote. Raises CorruptArtefactError if it is anything else."""
        tensors, metadata = read_tensors(path, _KIND, _ARRAYS)
        arrays = {name: tensors[name].numpy() for name in _ARRAYS}
        return cls(**arrays, types=tuple(metadata.pop("types")), metadata=metadata)


_ARRAYS = ("rgb", "depth", "layout", "boxes", "view", "kind", "pixels")

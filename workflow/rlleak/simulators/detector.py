"""A small detector, trained from the simulator's own labels: what rewards the robot.

A fully convolutional network after CenterNet (Zhou et al., arXiv 1904.07850) and FCOS (Tian et al., arXiv
1904.01355): one heatmap of object centres per type and, at each place, the distances to the four sides of the box
around it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.errors import ConfigurationError, CorruptArtefactError

STRIDE = 4
_WIDTHS = (16, 32, 64, 96)
_KIND = "detector"
_PRIOR = 0.02  # of a heatmap's pixel at the start, so that training does not begin by unlearning half the image


def _block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class DetectorNetwork(nn.Module):
    """(N, 3, H, W) in [0, 1] -> centre logits (N, types, H/4, W/4) and box sides (N, 4, H/4, W/4), in pixels."""

    def __init__(self, types: int) -> None:
        super().__init__()
        a, b, c, d = _WIDTHS
        self.stem = _block(3, a, 2)
        self.quarter = nn.Sequential(_block(a, b, 2), _block(b, b, 1))
        self.eighth = nn.Sequential(_block(b, c, 2), _block(c, c, 1))
        self.sixteenth = nn.Sequential(_block(c, d, 2), _block(d, d, 1), _block(d, d, 1))
        self.from_sixteenth = nn.Conv2d(d, c, 1)
        self.from_eighth = nn.Conv2d(c, b, 1)
        self.join_eighth = _block(c, c, 1)
        self.join_quarter = _block(b, b, 1)
        self.centre = nn.Conv2d(b, types, 1)
        self.sides = nn.Conv2d(b, 4, 1)
        nn.init.constant_(self.centre.bias, float(np.log(_PRIOR / (1 - _PRIOR))))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        quarter = self.quarter(self.stem(2.0 * image - 1.0))
        eighth = self.eighth(quarter)
        sixteenth = self.from_sixteenth(self.sixteenth(eighth))
        eighth = self.join_eighth(eighth + functional.interpolate(sixteenth, eighth.shape[2:]))
        quarter = self.join_quarter(quarter + functional.interpolate(self.from_eighth(eighth), quarter.shape[2:]))
        return self.centre(quarter), functional.softplus(self.sides(quarter)) * 8.0


class Detector:
    """Says where objects of its types are in a view, and how sure it is."""

    def __init__(
        self, types: Sequence[str], network: DetectorNetwork | None = None, metadata: dict | None = None
    ) -> None:
        self.types = tuple(types)
        self.network = network or DetectorNetwork(len(self.types))
        self.network.eval()
        self.metadata = metadata or {}

    @torch.no_grad()
    def confidence(self, rgb: np.ndarray, target_type: str) -> float:
        """How sure, in [0, 1], that a `target_type` is in the view (H, W, 3) uint8. Raises ConfigurationError for a
        type that it was not trained for."""
        if target_type not in self.types:
            raise ConfigurationError(f"the detector knows no '{target_type}'; it knows {', '.join(self.types)}")
        return float(self.confidences(rgb[None])[0, self.types.index(target_type)])

    @torch.no_grad()
    def confidences(self, rgb: np.ndarray) -> np.ndarray:
        """(N, H, W, 3) uint8 -> (N, types) float32: the highest value of each type's heatmap."""
        centre, _ = self.network(as_images(rgb))
        return torch.sigmoid(centre.flatten(2).amax(2)).numpy()

    @torch.no_grad()
    def detect(self, rgb: np.ndarray, most: int = 20) -> list[dict[str, np.ndarray]]:
        """For each of (N, H, W, 3) views: {"boxes": (k, 4) in [-1, 1], "kinds": (k,) indices into types, "scores":
        (k,)}."""
        centre, sides = self.network(as_images(rgb))
        scores = torch.sigmoid(centre)
        scores = scores * (functional.max_pool2d(scores, 3, 1, 1) == scores)  # a peak stands for its neighbours
        best, places = scores.flatten(1).topk(min(most, scores[0].numel()))
        height, width = scores.shape[2:]
        kinds, cells = places // (height * width), places % (height * width)
        rows, columns = cells // width, cells % width
        reach = sides.flatten(2).gather(2, cells[:, None].expand(-1, 4, -1))
        x, y = (columns + 0.5) * STRIDE, (rows + 0.5) * STRIDE
        boxes = torch.stack([x - reach[:, 0], y - reach[:, 1], x + reach[:, 2], y + reach[:, 3]], 2)
        size = torch.tensor([rgb.shape[2], rgb.shape[1]] * 2)
        boxes = (2.0 * boxes / size - 1.0).clamp(-1.0, 1.0)
        found = zip(boxes.numpy(), kinds.numpy(), best.numpy(), strict=True)
        return [{"boxes": box, "kinds": kind, "scores": score} for box, kind, score in found]

    def save(self, path: str | Path) -> None:
        """Writes weights and types to one safetensors file."""
        write_tensors(path, _KIND, self.network.state_dict(), {**self.metadata, "types": list(self.types)})

    @classmethod
    def load(cls, path: str | Path) -> "Detector":
        """Reads what `save` wrote. Raises CorruptArtefactError if it is anything else."""
        tensors, metadata = read_tensors(path, _KIND)
        network = DetectorNetwork(len(metadata["types"]))
        try:
            network.load_state_dict(tensors)
        except RuntimeError as error:
            raise CorruptArtefactError(
                f"{path} does not fit this detector ({error}); delete it and run again"
            ) from error
        return cls(metadata.pop("types"), network, metadata)


def as_images(rgb: np.ndarray) -> torch.Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(rgb)).permute(0, 3, 1, 2).float().div_(255.0)

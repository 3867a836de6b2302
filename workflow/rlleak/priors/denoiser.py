"""A denoiser learnt on the attacker's own public views, as a prior.

A small U-Net of residual blocks on pixels folded 2 x 2, told the noise level as one more channel and free of biases, so
that what it does scales with its input: DRUNet (Zhang et al. 2021, arXiv 2008.13751) in small.
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.errors import ConfigurationError, CorruptArtefactError

_KIND = "image prior"
_FOLD = 2
_SMALL = 0.2  # of a block's last kernels and the network's, at the start: it begins near doing nothing


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        with torch.no_grad():
            self.second.weight.mul_(_SMALL)

    def forward(self, features: Tensor) -> Tensor:
        return features + self.second(torch.relu(self.first(features)))


def _blocks(width: int, count: int) -> nn.Sequential:
    return nn.Sequential(*[_Block(width) for _ in range(count)])


class DenoiserNetwork(nn.Module):
    """(N, C, H, W) images and (N,) deviations of their error -> (N, C, H, W). Any height and width."""

    def __init__(self, channels: int, widths: tuple[int, ...] = (32, 48, 64), blocks: int = 2) -> None:
        super().__init__()
        folded, steps = channels * _FOLD**2, list(pairwise(widths))
        self.multiple = _FOLD * 2 ** len(steps)
        self.head = nn.Conv2d(folded + 1, widths[0], 3, padding=1, bias=False)
        self.down = nn.ModuleList(_blocks(width, blocks) for width in widths[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(above, below, 2, stride=2, bias=False) for above, below in steps)
        self.bottom = _blocks(widths[-1], blocks)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(below, above, 2, stride=2, bias=False) for above, below in steps)
        self.up = nn.ModuleList(_blocks(width, blocks) for width in widths[:-1])
        self.tail = nn.Conv2d(widths[0], folded, 3, padding=1, bias=False)
        with torch.no_grad():
            self.tail.weight.mul_(_SMALL)

    def forward(self, image: Tensor, deviation: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        margin = (0, -width % self.multiple, 0, -height % self.multiple)
        padded = functional.pad(image, margin, mode="replicate")
        folded = functional.pixel_unshuffle(padded, _FOLD)
        level = deviation.view(-1, 1, 1, 1).expand(-1, 1, *folded.shape[-2:])
        features, kept = self.head(torch.cat([folded, level], dim=1)), []
        for blocks, shrink in zip(self.down, self.shrink, strict=True):
            kept.append(blocks(features))
            features = shrink(kept[-1])
        features = self.bottom(features)
        for grow, blocks in zip(reversed(self.grow), reversed(self.up), strict=True):
            features = blocks(grow(features) + kept.pop())
        cleaned = padded - functional.pixel_shuffle(self.tail(features), _FOLD)
        return cleaned[..., :height, :width]


class LearntPrior:
    """A `rlleak.priors.prior.Prior` that was learnt.

    network: the denoiser. description: channels, widths, blocks, and what is known of how it was learnt and how well
    it does on layouts that it has not seen ("held_out"; see `rlleak.priors.learning.learn`).
    """

    unseen = 0.5

    def __init__(self, network: DenoiserNetwork, description: Mapping[str, Any]) -> None:
        # Channels last is what CPU convolutions of this size are fastest at (measured: by a third).
        self.network = network.to(memory_format=torch.channels_last).eval().requires_grad_(False)
        self.description = dict(description)

    @property
    def channels(self) -> int:
        """How many channels its images have."""
        return self.description["channels"]

    @property
    def helps(self) -> bool:
        """Whether it removes more noise than total variation does, at every level, on layouts it has not seen."""
        measured = self.description.get("held_out", {}).values()
        return all(level["learnt"] > level["variation"] for level in measured)

    def __call__(self, image: Tensor, deviation: Tensor) -> Tensor:
        """See `Prior`. Raises ConfigurationError for images of another number of channels."""
        if image.shape[1] != self.channels:
            raise ConfigurationError(
                f"the prior was learnt on images of {self.channels} channels and these have {image.shape[1]}; "
                "learn one on the same observations, or attack without a prior"
            )
        weight = self.network.head.weight
        if weight.device != image.device:
            self.network.to(image.device)
        # Inference in the network's own precision, whatever the equations are solved in.
        laid_out = image.to(weight.dtype).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            return self.network(laid_out, deviation.to(weight.dtype)).contiguous().to(image.dtype)

    def reset(self) -> None:
        """Nothing: each call is on its own."""

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file."""
        write_tensors(path, _KIND, self.network.state_dict(), self.description)

    @classmethod
    def load(cls, path: str | Path) -> "LearntPrior":
        """Reads what `save` wrote. Raises CorruptArtefactError if it is anything else."""
        tensors, description = read_tensors(path, _KIND)
        try:
            shape = {"channels": description["channels"], "blocks": description["blocks"]}
            network = DenoiserNetwork(widths=tuple(description["widths"]), **shape)
            network.load_state_dict(tensors)
        except (KeyError, TypeError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise CorruptArtefactError(f"{path} holds no whole prior ({reason}); delete it and run again") from error
        return cls(network, description)

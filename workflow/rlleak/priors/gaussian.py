"""A Gaussian field as a prior: what some images have in common, and how they differ from it.

Of few images no full covariance can be told. It is taken as that between channels, which they do tell, times one
between pixels that is the same everywhere and for all: a power spectrum that falls with frequency as f^-3 (photographs'
fall as f^-2, Field 1987; smooth slopes as f^-4 and faster).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

EXPONENT = 3.0
FLAT = 0.003
"""Frequency, in cycles per pixel, below which the spectrum is flat: lengths far beyond an image's."""
LEAST = 1e-3
"""Deviation along the direction of channels that differs least, in image units: rounding of the images."""


@dataclass(frozen=True)
class GaussianField:
    """mean: (C, H, W). channels: (C, C), symmetric root of the covariance between channels. amplitude: (2 H, W + 1),
    root of the spectrum on twice the image's height and width, so that opposite borders are no neighbours."""

    mean: Tensor
    channels: Tensor
    amplitude: Tensor

    @classmethod
    def of(cls, images: Tensor) -> "GaussianField":
        """What images (P, C, H, W) tell, P at least 2."""
        mean = images.mean(dim=0)
        apart = (images - mean).transpose(0, 1).flatten(1).double()
        pixels = mean[0].numel() * (len(images) - 1)
        strength, directions = torch.linalg.eigh(apart @ apart.T / pixels)
        root = (directions * strength.clamp(min=LEAST**2).sqrt()) @ directions.T
        height, width = mean.shape[1:]
        down, across = torch.fft.fftfreq(2 * height), torch.fft.rfftfreq(2 * width)
        amplitude = (down[:, None].square() + across.square() + FLAT**2) ** (-EXPONENT / 4)
        # A pixel's variance is of the white noise within the image alone: the mean over pixels shall be 1.
        spread = torch.fft.irfft2(amplitude, s=(2 * height, 2 * width)).square()
        unit = (_overlap(height) @ spread @ _overlap(width)).sqrt()
        return cls(mean, root.to(mean), (amplitude / unit).to(mean))

    def apart(self, white: Tensor) -> Tensor:
        """White noise (V, C, H, W) to deviations from the mean: the covariance's root, which is symmetric."""
        height, width = white.shape[2:]
        size = (2 * height, 2 * width)
        spectrum = torch.fft.rfft2(torch.einsum("cd,vdhw->vchw", self.channels, white), s=size) * self.amplitude
        return torch.fft.irfft2(spectrum, s=size)[..., :height, :width]


def _overlap(size: int) -> Tensor:
    """The share of an image's rows that have another one in it so far off, cyclically over 2 size, (2 size,)."""
    far = torch.arange(2 * size)
    return (1 - torch.minimum(far, 2 * size - far) / size).clamp(min=0)

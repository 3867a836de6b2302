"""Public images made as bad as reconstructions are, so that what is learnt from them holds for those as well."""

import torch
from torch import Tensor
from torch.nn import functional

_LOW = 4  # pixels across the patches of coarse noise
_BLURRED = 3  # pixels averaged


def degraded(images: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """Images (N, C, H, W) in [0, 1], each with some blur, some white noise and some coarse noise, each or none of them.

    strength: 1 gives deviations of up to 0.15 of the range, about 16 dB; depth beside colours gets half of them.
    """
    count, channels, height, width = images.shape

    def amount(most: float) -> Tensor:
        drawn = torch.rand(2, count, 1, 1, 1, generator=generator)
        return (drawn[0] < 0.6) * drawn[1] * most * strength

    blurred = functional.avg_pool2d(images, _BLURRED, 1, _BLURRED // 2, count_include_pad=False)
    share = amount(1.0).clamp(max=1.0)
    coarse_shape = (count, channels, -(-height // _LOW), -(-width // _LOW))
    coarse = functional.interpolate(torch.randn(coarse_shape, generator=generator), (height, width), mode="bilinear")
    noise = amount(0.15) * coarse + amount(0.15) * torch.randn(images.shape, generator=generator)
    if channels > 1:
        noise[:, -1] *= 0.5
    return (images + share * (blurred - images) + noise).clamp(0, 1)

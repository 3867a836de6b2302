"""Total variation of images: the prior that QGI and RGI add to gradient matching (their section IV.A)."""

import torch
from torch import Tensor

ROUND = 1e-3


def groups(channels: int) -> list[slice]:
    """Which channels form one picture: R, G, B and the depth of S1 are two; anything else is one."""
    return [slice(0, 3), slice(3, 4)] if channels == 4 else [slice(0, channels)]


def total_variation(image: Tensor) -> Tensor:
    """TV(s_i) + TV(s_d), (N,): mean |dx| + mean |dy| of each picture in (N, C, H, W).

    The paper names Rudin, Osher and Fatemi and gives no formula; anisotropic and by the mean is our choice, so that one
    lambda serves every resolution. Below `ROUND` |d| is the parabola d^2 / (2 ROUND) + ROUND / 2 (Huber), a quarter of
    a grey level: or else pixels that Adam's equal steps brought level would be torn apart by the sign of rounding.
    """
    terms = []
    for channels in groups(image.shape[1]):
        part = image[:, channels]
        for axis in (2, 3):
            size = part.diff(dim=axis).abs()
            rounded = torch.where(size < ROUND, size.square() / (2 * ROUND) + ROUND / 2, size)
            terms.append(rounded.flatten(1).mean(dim=1))
    return torch.stack(terms).sum(dim=0)


def add_derivative(image: Tensor, weight: float, onto: Tensor) -> Tensor:
    """`onto` plus weight * d TV / d image, in place; both (N, C, H, W)."""
    _, channels, height, width = image.shape
    for group in groups(channels):
        count = len(range(*group.indices(channels)))
        part, target = image[:, group], onto[:, group]
        share = weight / (count * (height - 1) * width)
        rows = (part[:, :, 1:] - part[:, :, :-1]).mul_(share / ROUND).clamp_(-share, share)
        target[:, :, 1:] += rows
        target[:, :, :-1] -= rows
        share = weight / (count * height * (width - 1))
        columns = (part[:, :, :, 1:] - part[:, :, :, :-1]).mul_(share / ROUND).clamp_(-share, share)
        target[:, :, :, 1:] += columns
        target[:, :, :, :-1] -= columns
    return onto

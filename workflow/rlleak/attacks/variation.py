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


class VariationDerivative:
    """weight * d TV / d image for images (N, C, H, W) of one shape, in memory that is kept between calls."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self._differences: dict[int, Tensor] = {}
        self._shares: dict[int, Tensor | float] = {}

    def add(self, image: Tensor, onto: Tensor) -> Tensor:
        """`onto` plus the derivative at the image, in place; fastest where both lie in memory in the same order."""
        for axis in (2, 3):
            length = image.shape[axis] - 1
            after, before = (image.narrow(axis, begin, length) for begin in (1, 0))
            difference = self._differences.get(axis)
            if difference is None or difference.shape != after.shape:
                difference = self._differences[axis] = torch.empty_like(after)
                self._shares[axis] = self._share(difference)
            torch.sub(after, before, out=difference).clamp_(-ROUND, ROUND)
            share = self._shares[axis]
            for begin, sign in ((1, 1), (0, -1)):
                part = onto.narrow(axis, begin, length)
                if isinstance(share, float):
                    part.add_(difference, alpha=sign * share)
                else:
                    part.addcmul_(difference, share, value=sign)
        return onto

    def _share(self, difference: Tensor) -> Tensor | float:
        """What each difference counts: a number, or (1, C, ., .) where pictures of several channels differ in it."""
        _, channels, height, width = difference.shape
        found = groups(channels)
        counts = [len(range(*group.indices(channels))) for group in found]
        shares = [self.weight / (ROUND * count * height * width) for count in counts]
        if len(shares) == 1:
            return shares[0]
        # Spelled out over pixels: with channels last a broadcast would cut all loops to the length of a pixel.
        spelled = torch.empty_like(difference[:1])
        for group, share in zip(found, shares, strict=True):
            spelled[:, group] = share
        return spelled

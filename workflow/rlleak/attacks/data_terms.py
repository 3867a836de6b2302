"""Equations about an image, as least squares: what each says at an image, linearised there, and its solution.

A term holds V victims' equations, weighted so that a residual of 1 is as bad in one term as in another. Linear
equations, inequalities (violated ones count, as equations) and smooth nonlinear ones all fit: a term is linearised at
the present image, and Gauss-Newton steps by conjugate gradients do the rest.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


@dataclass(frozen=True)
class Linearised:
    """A term near an image: residual(image + direction) = residual + apply(direction), to first order.

    residual: (V, ...). apply: (V, C, H, W) to the residual's shape. adjoint: back, the transpose of apply.
    """

    residual: Tensor
    apply: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]


class DataTerm(Protocol):
    """V victims' equations about their images."""

    def linearise(self, image: Tensor) -> Linearised:
        """The equations at image (V, C, H, W)."""
        ...


class SmoothTerm:
    """A term from any differentiable function of images: what upper layers say, for a joint refinement.

    function: (V, C, H, W) to weighted residuals (V, ...), victim by victim.
    """

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        self.function = function

    def linearise(self, image: Tensor) -> Linearised:
        residual, adjoint = torch.func.vjp(self.function, image)
        return Linearised(
            residual,
            lambda direction: torch.func.jvp(self.function, (image,), (direction,))[1],
            lambda grown: adjoint(grown)[0],
        )


def squared(value: Tensor) -> Tensor:
    """Each victim's sum of squares, (V,)."""
    return value.flatten(1).square().sum(dim=1)


def fit(
    terms: Sequence[DataTerm],
    image: Tensor,
    towards: Tensor,
    weight: float | Tensor,
    iterations: int,
    tolerance: float = 1e-6,
) -> Tensor:
    """One Gauss-Newton step of min |residuals(x)|^2 + weight |x - towards|^2 from image, (V, C, H, W).

    weight: a number or (V,). iterations: of conjugate gradients at most; they also stop when every victim's gradient
    has shrunk by `tolerance`. The solution keeps image's part outside what the terms and `towards` see.
    """
    weight = torch.as_tensor(weight, dtype=image.dtype, device=image.device).expand(len(image)).view(-1, 1, 1, 1)
    near = [term.linearise(image) for term in terms]
    downhill = weight * (towards - image)
    for term in near:
        downhill = downhill - term.adjoint(term.residual)
    step, direction, left = torch.zeros_like(image), downhill.clone(), squared(downhill)
    enough = tolerance**2 * left
    tiny = torch.finfo(image.dtype).tiny
    for _ in range(iterations):
        curved = weight * direction
        for term in near:
            curved = curved + term.adjoint(term.apply(direction))
        # A victim that has converged stands still: its direction is zero.
        length = left / (direction * curved).flatten(1).sum(dim=1).clamp_min(tiny)
        step = step + length.view(-1, 1, 1, 1) * direction
        downhill = downhill - length.view(-1, 1, 1, 1) * curved
        now = squared(downhill)
        if bool((now <= enough).all()):
            break
        direction = downhill + (now / left.clamp_min(tiny)).view(-1, 1, 1, 1) * direction
        left = now
    return image + step

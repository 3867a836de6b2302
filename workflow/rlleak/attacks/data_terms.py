"""Equations about an image, as least squares: what each says at an image, linearised there, and its solution.

A term holds V victims' equations in units of an image's values. Linear equations, inequalities (violated ones count,
as equations) and nonlinear ones all fit: a term is linearised at the present image, and Gauss-Newton steps by
conjugate gradients do the rest.
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

    def linearise(self, image: Tensor, tolerance: float, deviation: float = 0.0) -> Linearised:
        """The equations at image (V, C, H, W), each weighted by `certainty` of its error.

        tolerance: an error of a right side (in the image's units) that need not make its equation count for less.
        deviation: the standard deviation that the image's values are believed to be off by.
        """
        ...


def certainty(error: Tensor, tolerance: float) -> Tensor:
    """The weight of equations whose right sides carry errors of a standard deviation: 1 as far as tolerated."""
    return tolerance / error.clamp_min(tolerance)


def squared(value: Tensor) -> Tensor:
    """Each victim's sum of squares, (V,)."""
    return value.flatten(1).square().sum(dim=1)


def fit(
    terms: Sequence[DataTerm],
    towards: Tensor,
    weight: float,
    tolerance: float,
    iterations: int,
    deviation: float = 0.0,
    enough: float = 1e-6,
) -> Tensor:
    """A Gauss-Newton step of min |residuals(x)|^2 + weight |x - towards|^2 from x = towards, (V, C, H, W).

    Starting there, conjugate gradients never leave what the equations see, so a small weight costs no iterations: the
    equations' own condition counts. iterations, enough: see `descent`; tolerance, deviation: see `DataTerm`.
    """
    near = [term.linearise(towards, tolerance, deviation) for term in terms]
    downhill = -sum(term.adjoint(term.residual) for term in near)
    return towards + descent(near, downhill, weight, iterations, enough)


def descent(
    near: Sequence[Linearised], downhill: Tensor, weight: float, iterations: int, enough: float = 1e-6
) -> Tensor:
    """The step (V, C, H, W) that solves the terms' normal equations plus weight times the step for `downhill`.

    By conjugate gradients, which stop after `iterations`, or when every victim's gradient has shrunk by `enough`.
    """
    step, direction, left = torch.zeros_like(downhill), downhill.clone(), squared(downhill)
    target, tiny = enough**2 * left, torch.finfo(downhill.dtype).tiny
    for _ in range(iterations):
        curved = weight * direction + sum(term.adjoint(term.apply(direction)) for term in near)
        # A victim that has converged stands still: its direction is zero.
        length = (left / (direction * curved).flatten(1).sum(dim=1).clamp_min(tiny)).view(-1, 1, 1, 1)
        step, downhill = step + length * direction, downhill - length * curved
        now = squared(downhill)
        if bool((now <= target).all()):
            break
        direction = downhill + (now / left.clamp_min(tiny)).view(-1, 1, 1, 1) * direction
        left = now
    return step

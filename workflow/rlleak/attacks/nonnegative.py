"""Non-negative least squares over equations that are given as terms, many victims at once, no matrix ever formed.

The input of a convolution behind a ReLU is not negative. With the equations that its kernels' gradient and its output
give (`known_convolution`), this makes it unique long before there are as many equations as unknowns: most of it is 0.
R-GAP (Zhu and Blaschko 2021) solves such equations without the sign and without the inequalities.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rlleak.attacks.data_terms import DataTerm, squared
from rlleak.attacks.targets import reciprocal

POWER_STEPS = 15
MARGIN = 1.1
CHECK_EVERY = 25


def _column(value: Tensor) -> Tensor:
    return value.view(-1, 1, 1, 1)


def lipschitz(terms: Sequence[DataTerm], like: Tensor, tolerance: float) -> Tensor:
    """Largest eigenvalue of the terms' normal equations where everything counts, (V,), by power iteration."""
    near = [term.linearise(torch.zeros_like(like), tolerance) for term in terms]
    vector = torch.linspace(0.5, 1.5, like[0].numel(), dtype=like.dtype, device=like.device).view(1, *like.shape[1:])
    vector = vector.expand_as(like)
    largest = like.new_ones(len(like))
    for _ in range(POWER_STEPS):
        vector = sum(part.adjoint(part.apply(vector)) for part in near)
        largest = squared(vector).sqrt()
        vector = vector * _column(reciprocal(largest))
    return MARGIN * largest


def solve_nonnegative(
    terms: Sequence[DataTerm],
    start: Tensor,
    iterations: int,
    enough: float | Tensor,
    tolerance: float = 0.0,
    report: Callable[[int, Tensor], None] = lambda iteration, residual: None,
) -> Tensor:
    """The least-squares x >= 0 (V, C, H, W) by accelerated projected gradients (Beck and Teboulle 2009).

    Momentum starts anew, victim by victim, where it points uphill (O'Donoghue and Candes 2015). It stops after
    `iterations`, or when no victim's squared residual is above `enough`. tolerance: see `DataTerm`. report: called
    with the iteration and the squared residual (V,).
    """
    step = _column(reciprocal(lipschitz(terms, start, tolerance)))
    at, ahead = start.clone(), start.clone()
    momentum = start.new_ones(len(start), 1, 1, 1)
    for iteration in range(iterations):
        near = [term.linearise(ahead, tolerance) for term in terms]
        gradient = sum(part.adjoint(part.residual) for part in near)
        following = (ahead - step * gradient).clamp_(min=0)
        moved = following - at
        uphill = _column((gradient * moved).flatten(1).sum(dim=1)) > 0
        grown = (1 + (1 + 4 * momentum.square()).sqrt()) / 2
        share = torch.where(uphill, 0.0, (momentum - 1) / grown)
        momentum = torch.where(uphill, 1.0, grown)
        at, ahead = following, following + share * moved
        if iteration % CHECK_EVERY == CHECK_EVERY - 1:
            residual = sum(squared(part.residual) for part in near)
            report(iteration, residual)
            if bool((residual <= enough).all()):
                break
    return at


def polish(terms: Sequence[DataTerm], x: Tensor, rounds: int, steps: int, threshold: float, tolerance: float) -> Tensor:
    """x with the equations solved by conjugate gradients on its support, which each round revises.

    A round drops entries that turned negative and takes up those whose derivative asks for it most. threshold: entries
    of x below this share of its root mean square are not in the first support.
    """
    typical = _column(x.flatten(1).square().mean(dim=1).sqrt())
    support = x > threshold * typical
    for _ in range(rounds):
        x, gradient = _on_support(terms, x * support, support, steps, tolerance)
        level = _column((gradient.abs() * support).flatten(1).amax(dim=1))
        revised = (support & (x > 0)) | (~support & (gradient < -2 * level))
        x = x.clamp(min=0)
        if bool((revised == support).all()):
            break
        support = revised
    return x


def _on_support(
    terms: Sequence[DataTerm], x: Tensor, support: Tensor, steps: int, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Least squares on the support by conjugate gradients from x, and the whole derivative there."""
    near = [term.linearise(x, tolerance) for term in terms]
    whole = -sum(part.adjoint(part.residual) for part in near)
    downhill = whole * support
    direction, left = downhill, squared(downhill)
    for _ in range(steps):
        normal = sum(part.adjoint(part.apply(direction)) for part in near)
        length = _column(left * reciprocal((direction * normal).flatten(1).sum(dim=1)))
        x, whole = x + length * direction, whole - length * normal
        downhill = whole * support
        now = squared(downhill)
        direction = downhill + _column(now * reciprocal(left)) * direction
        left = now
    return x, -whole

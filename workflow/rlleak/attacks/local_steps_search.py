"""Samples that local training would have turned into what was shared: a start, Gauss-Newton steps, and their order."""

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor
from torch.func import jvp, vmap

from rlleak.attacks.local_steps import LocalTraining

FIRST, ROUNDS, EACH, KEPT = 20, 8, 10, 3
"""Gauss-Newton steps of every start; then of the best `KEPT`, in rounds between which their order is revised."""

EXPLAINED = 1e-6
"""Relative misfit below which nothing is left to explain: updates are in float32."""

SHARE_OF_ATOMS = 0.4
"""Of the attacker's own states, for a start other than the first."""


@dataclass(frozen=True)
class Samples:
    """R guesses: inputs (R, B, D), errors at the output (R, B, outputs), relative misfit (R,)."""

    inputs: Tensor
    errors: Tensor
    misfit: Tensor

    def take(self, rows: Tensor) -> "Samples":
        """Some of the guesses."""
        return Samples(self.inputs[rows], self.errors[rows], self.misfit[rows])


@torch.no_grad()
def explain(training: LocalTraining, atoms: Tensor, restarts: int, seed: int) -> Samples:
    """The samples that explain best what was shared, R = 1, each with an error at one output.

    atoms: (N, D), inputs that the attacker thinks possible: searching starts at those that explain most if no weight
    moved, in an order drawn at random.
    """
    generator, size = torch.Generator().manual_seed(seed), sum(training.sizes)
    starts = []
    for restart in range(restarts):
        count = len(atoms) if restart == 0 else max(4 * size, round(SHARE_OF_ATOMS * len(atoms)))
        some = atoms[torch.randperm(len(atoms), generator=generator)[:count].to(atoms.device)]
        order = torch.randperm(size, generator=generator).to(atoms.device)
        starts.append([part[order] for part in _greedy(training, some, size)])
    inputs, errors = (torch.stack(part) for part in zip(*starts, strict=True))
    found = descend(training, inputs, errors, torch.ones_like(errors), FIRST)
    found = found.take(found.misfit.argsort()[:KEPT])
    for _ in range(ROUNDS):
        if bool((found.misfit < EXPLAINED).any()):
            break
        found = _reordered(training, found)
        found = descend(training, found.inputs, found.errors, torch.ones_like(found.errors), EACH)
    best = found.take(found.misfit.argmin()[None])
    chosen = torch.nn.functional.one_hot(best.errors.abs().argmax(dim=2), best.errors.shape[2]).to(best.errors)
    return descend(training, best.inputs, best.errors * chosen, chosen, EACH)


def descend(training: LocalTraining, inputs: Tensor, errors: Tensor, allowed: Tensor, steps: int) -> Samples:
    """Levenberg's and Marquardt's method on many guesses at once, each with a damping of its own.

    allowed: (R, B, outputs), 0 where an error stays 0.
    """
    rows, size, width = inputs.shape

    def unpacked(values: Tensor) -> tuple[Tensor, Tensor]:
        return values[:, : size * width].view(rows, size, width), values[:, size * width :].view_as(allowed) * allowed

    def misfit(values: Tensor) -> Tensor:
        return training.misfit(*unpacked(values))

    values = torch.cat([inputs.flatten(1), (errors * allowed).flatten(1)], dim=1)
    directions = torch.eye(values.shape[1], dtype=values.dtype, device=values.device)
    damping, rest = values.new_full((rows,), 1e-2), misfit(values)
    length = rest.norm(dim=1).nan_to_num(torch.inf)
    least = float(length.min())
    for _ in range(steps):
        slopes = vmap(lambda along, at=values: jvp(misfit, (at,), (along.expand_as(at),))[1])(directions)
        slopes = slopes.transpose(0, 1)
        normal, downhill = slopes @ slopes.transpose(1, 2), (slopes @ rest[:, :, None])[:, :, 0]
        diagonal = normal.diagonal(dim1=1, dim2=2)
        damped = damping[:, None] * (diagonal + 1e-4 * diagonal.amax(dim=1, keepdim=True)) + 1e-30
        step = torch.linalg.solve_ex(normal + torch.diag_embed(damped), downhill)[0].nan_to_num(0, 0, 0)
        moved = values - step
        left = misfit(moved)
        shorter = left.norm(dim=1).nan_to_num(torch.inf)
        better = shorter < length
        values = torch.where(better[:, None], moved, values)
        rest, length = torch.where(better[:, None], left, rest), torch.where(better, shorter, length)
        damping = torch.where(better, 0.3 * damping, 3 * damping).clamp(1e-14, 1e6)
        least, before = float(length.min()), least
        if least < EXPLAINED and least > 0.5 * before:
            break  # the best is as good as rounding lets it be, and one is enough
    return Samples(*unpacked(values), length)


def _reordered(training: LocalTraining, found: Samples) -> Samples:
    """Each guess in the best of the orders in which two samples of different steps are exchanged, or one is moved."""
    size, step = sum(training.sizes), training.step_of
    orders = [list(range(size))]
    for first, second in combinations(range(size), 2):
        if step[first] != step[second]:
            order = list(range(size))
            order[first], order[second] = second, first
            orders.append(order)
    for first, second in ((first, second) for first in range(size) for second in range(size)):
        if step[first] != step[second] and abs(first - second) > 1:
            order = list(range(size))
            order.insert(second, order.pop(first))
            orders.append(order)
    ways = torch.tensor(orders, device=found.inputs.device)
    misfits = [
        training.misfit(inputs[ways], errors[ways]).norm(dim=1).nan_to_num(torch.inf)
        for inputs, errors in zip(found.inputs, found.errors, strict=True)
    ]
    best = [ways[misfit.argmin()] for misfit in misfits]
    inputs, errors = (
        torch.stack([own[order] for own, order in zip(part, best, strict=True)])
        for part in (found.inputs, found.errors)
    )
    return Samples(inputs, errors, torch.stack([misfit.min() for misfit in misfits]))


def _greedy(training: LocalTraining, atoms: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Inputs (count, D) among atoms (N, D), and their errors at one output each, (count, outputs): orthogonal matching
    pursuit (Pati et al. 1993) on what was shared, as if no weight had moved.
    """
    outputs, still = training.network.spec.outputs, training.alone
    inputs = atoms.repeat_interleave(outputs, dim=0)
    errors = torch.eye(outputs, dtype=atoms.dtype, device=atoms.device).repeat(len(atoms), 1)
    left, _ = still(inputs[:, None], errors[:, None])
    sizes, chosen = left.norm(dim=1).clamp_min(torch.finfo(left.dtype).tiny), []
    rest = weights = training.shared
    for _ in range(count):
        score = (left @ rest).abs() / sizes
        score[chosen] = -1
        chosen.append(int(score.argmax()))
        weights = torch.linalg.lstsq(left[chosen].T, training.shared[:, None], driver="gelsd").solution[:, 0]
        rest = training.shared - weights @ left[chosen]
    # One of so many samples: `alone` leaves a step's whole gradient, and what is shared is a mean over steps.
    return inputs[chosen], errors[chosen] * weights[:, None] * len(training.sizes)

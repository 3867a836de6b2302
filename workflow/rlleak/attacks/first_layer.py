"""The first convolution undone: from what its outputs and its errors are known to be, back to the image.

The equations (see `rlleak.attacks.known_convolution`) leave many images: with the default network there are 0.3 per
unknown in S1. A prior picks among them. `solve` minimises prior(x) subject to the equations by the alternating
direction method of multipliers, with a denoiser in place of the prior's proximal step (plug-and-play, Venkatakrishnan
et al. 2013) whose noise level shrinks. Nothing in it sees the truth.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlleak.attacks.data_terms import DataTerm, fit, squared
from rlleak.attacks.known_convolution import KnownConvolution, equations
from rlleak.attacks.targets import reciprocal
from rlleak.configuration.attacks import PeelSettings
from rlleak.priors.prior import Prior
from rlleak.priors.variation import TotalVariation


@dataclass(frozen=True)
class Schedule:
    """How `solve` goes from the prior's picture to the equations' image.

    In each of `rounds`, the equations are met by up to `steps` conjugate-gradient steps and the prior removes an error
    of a deviation that falls geometrically from `first` to `last` (in image units). `trust`: the equations' own
    deviation relative to the prior's; equations that are surer than this all count the same.
    """

    rounds: int = 60
    first: float = 0.2
    last: float = 0.002
    steps: int = 10
    trust: float = 0.03


DETERMINED = 0.8
"""Equations per unknown from which on the equations decide, and the prior only helps on the way."""


def equations_per_unknown(layer: KnownConvolution) -> float:
    """Active outputs and the kernels' gradient over the pixels that the layer reads, mean over victims."""
    unsure = ~(layer.active | layer.inactive)
    # Half of what is unsure will turn out to be active.
    equal = float(layer.active.sum() + unsure.sum() / 2) / layer.victims
    shared = 0 if layer.kernel_gradient is None else layer.kernel_gradient[0].numel()
    return (equal + shared) / layer.numbers_read


def chosen(
    layer: KnownConvolution, learnt: Prior | None = None, learnt_error: float = PeelSettings().learnt_error
) -> tuple[Prior, Schedule]:
    """The prior and the schedule for a layer: a learnt prior, if there is one that helps, where equations are few.

    Where they are many (S2), total variation ends closer: its step vanishes with its deviation, a denoiser's does not
    quite. Measured on two public rooms with the default network and exact equations, at the reduced scale: S2 depth
    70.7 dB by total variation and this schedule (68.3 by the default one), 61.4 by the learnt prior; S1 Y and depth
    37.5 and 42.5 dB by the learnt prior down to 0.005, 37.1 and 42.1 down to 0.002.
    """
    if equations_per_unknown(layer) >= DETERMINED:
        return TotalVariation(), Schedule(rounds=80, last=0.0005)
    if learnt is None or not learnt.helps:
        return TotalVariation(), Schedule()
    return learnt, Schedule(last=learnt_error)


POLISH = ((1e-2, 20), (1e-4, 40), (1e-6, 80), (1e-8, 160))
"""Of each round the weight of the image that it starts from, and its conjugate-gradient steps."""
SURE, CONVERGED = 1e-6, 1e-8
"""Errors, in image units, below which equations count the same, and the share of the gradient that ends a round."""


@dataclass(frozen=True)
class Found:
    """image: (V, C, H, W) in [0, 1]. residuals: "active", "inactive" and, with gradient equations, "gradient": each
    (V,), root mean square errors in units of an image's values (what is violated, for inequalities). misfit: (V,), the
    root of the squared residuals of all equations together, extra ones included."""

    image: Tensor
    residuals: dict[str, Tensor]
    misfit: Tensor


def solve(
    layer: KnownConvolution,
    prior: Prior,
    schedule: Schedule = Schedule(),
    *,
    start: Tensor | None = None,
    extra: Sequence[DataTerm] = (),
    report: Callable[[int, Tensor], None] | None = None,
) -> Found:
    """The images (V, C, H, W) that the first layer's equations and the prior agree on.

    start: (V, C, H, W) from which to begin; then choose schedule.first near that start's error. extra: more equations
    about the image, nonlinear ones linearised anew in every round: with `NextLayer(layer, equations(second))` even a
    first layer of which no output is known (all unsure) is undone, from any start. report: called with the round and
    each victim's squared residual (V,) after it.
    """
    known, like = equations(layer), layer.activation
    terms = [*known, *extra]
    unseen = torch.as_tensor(prior.unseen, dtype=like.dtype, device=like.device)
    image = unseen.expand(layer.victims, *layer.image_shape)
    guess = image if start is None else start.to(like)
    prior.reset()
    dual, before = torch.zeros_like(image), schedule.first
    for index, deviation in enumerate(_deviations(schedule)):
        # What the equations and the prior disagree by shrinks with the noise level, and the scaled multiplier with it.
        dual = dual * (deviation / before)
        tolerance = schedule.trust * deviation
        image = fit(terms, guess - dual, schedule.trust**2, tolerance, schedule.steps, deviation)
        guess = prior(image + dual, image.new_full((layer.victims,), deviation)).clamp(0, 1)
        dual, before = dual + image - guess, deviation
        if report is not None:
            report(index, _misfit(terms, image, schedule))
    image = image.clamp(0, 1)
    residuals = {name: value for term in known for name, value in term.misfits(image).items()}
    return Found(image, residuals, _misfit(terms, image, schedule).sqrt())


def polished(
    terms: Sequence[DataTerm], image: Tensor, report: Callable[[int, Tensor], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Images (V, C, H, W) that fulfil the terms without a prior, from images that are nearly right, and what is left.

    For terms that determine them: Gauss-Newton steps, first short, then as long as the equations ask for, each taken
    victim by victim where it leaves less of the equations. left: (V,), the root of the squared residuals over what a
    grey image leaves. In the image's dtype; rounding in float32 would be the limit. report: as `solve`'s.
    """
    left = _left(terms, image)
    for index, (weight, steps) in enumerate(POLISH):
        following = fit(terms, image, weight, SURE, steps, enough=CONVERGED).clamp(0, 1)
        now = _left(terms, following)
        better = now < left
        image = torch.where(better.view(-1, 1, 1, 1), following, image)
        left = torch.where(better, now, left)
        if report is not None:
            report(index, left)
    grey = _left(terms, torch.full_like(image, 0.5))
    return image, (left * reciprocal(grey)).sqrt()


def _left(terms: Sequence[DataTerm], image: Tensor) -> Tensor:
    return sum(squared(term.linearise(image, SURE).residual) for term in terms)


def _deviations(schedule: Schedule) -> list[float]:
    return torch.logspace(math.log10(schedule.first), math.log10(schedule.last), schedule.rounds).tolist()


def _misfit(terms: Sequence[DataTerm], image: Tensor, schedule: Schedule) -> Tensor:
    end = (schedule.trust * schedule.last, schedule.last)
    return sum(squared(term.linearise(image, *end).residual) for term in terms)

"""The last step of peeling: from an image that is nearly right to one that fulfils the first convolution's equations.

An image within a few grey levels tells the second convolution's input well enough for its non-negative least squares to
end in the right one, and then every mask can be cut exactly (`masks`). With exact masks everything about the image is
linear. Where the cut does not agree with the bias's gradient the masks stay unsure, and the second convolution's
equations keep their say.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.attacks.certificate import Layer
from rlleak.attacks.data_terms import squared
from rlleak.attacks.first_layer import chosen, solve
from rlleak.attacks.known_convolution import KnownConvolution, NextLayer, equations
from rlleak.attacks.masks import SAME, Mask, cut
from rlleak.attacks.nonnegative import polish, solve_nonnegative
from rlleak.attacks.peeling import FINE_TOLERANCE, TOLERANCE, counted, in_dtype, root_mean_square
from rlleak.configuration.attacks import PeelSettings
from rlleak.priors.denoiser import LearntPrior

DOUBTFUL = 0.1
"""Share of the root mean square below which an activation behind a reconstructed image may be 0."""
EXACT = 5 * SAME
"""Share of a channel's error that its bias may be off where its mask is taken as right."""
ROUGH = 1e3
"""Error of activations that are not used as equations, in image units."""
POLISH_STEPS = 80
FIRST_SUPPORT = 1e-3


@dataclass(frozen=True)
class Refined:
    """image (V, C, H, W); exact (V,) bool: whether the first convolution's masks agree with its bias's gradient; misfit
    (V,): by how much they do not; layers: lines of the certificate."""

    image: Tensor
    exact: Tensor
    misfit: Tensor
    layers: dict[str, Layer]


def refine(
    first: KnownConvolution,
    second: KnownConvolution | None,
    bias_gradient: Tensor | None,
    image: Tensor | None,
    learnt: LearntPrior | None,
    settings: PeelSettings,
    told: Callable[[str, int], Callable[[int, Tensor], None]] = lambda stage, total: lambda iteration, loss: None,
) -> Refined:
    """Images from a first guess (V, C, H, W), or from nothing where the first convolution's outputs are known already.

    first: with its error and, if it is the only convolution, its outputs. learnt: a prior over images, or None.
    """
    layers = {}
    if second is None:
        known, misfit = first, torch.zeros(len(first.delta), dtype=torch.float64, device=first.weight.device)
        exact = torch.ones_like(misfit, dtype=torch.bool)
    else:
        activation, layers["convolutions.1"] = inner_activation(first, second, image, settings, told)
        known, misfit, exact = masked(first, activation, image, bias_gradient)
    single = in_dtype(known, torch.float32)
    found = torch.empty(len(misfit), *first.image_shape, device=first.weight.device)
    for group, sure in ((exact.nonzero()[:, 0], True), ((~exact).nonzero()[:, 0], False)):
        if len(group) == 0:
            continue
        part = select(single, group)
        extra = [] if sure else [NextLayer(part, equations(in_dtype(select(second, group), torch.float32)))]
        start = None if image is None else image[group]
        prior, schedule = chosen(part, learnt)
        if start is not None:
            schedule = replace(schedule, first=settings.refining)
        report = told("refining" if sure else "refining unsure", schedule.rounds)
        found[group] = solve(part, prior, schedule, start=start, extra=extra, report=report).image
    # Where masks stayed unsure, the image's own say which of the gradient's equations there are.
    shown, unsure = before_relu(single, found) > 0, ~(single.active | single.inactive)
    settled = replace(single, active=single.active | (unsure & shown), inactive=single.inactive | (unsure & ~shown))
    used = torch.as_tensor(single.activation_error, device=found.device) < ROUGH
    layers["convolutions.0"] = counted(settled, equations(settled), found, used)
    return Refined(found, exact, misfit, layers)


def inner_activation(
    first: KnownConvolution,
    second: KnownConvolution,
    image: Tensor,
    settings: PeelSettings,
    told: Callable[[str, int], Callable[[int, Tensor], None]],
) -> tuple[Tensor, Layer]:
    """The second convolution's input (V, C, H, W) by non-negative least squares from what the image gives."""
    start = before_relu(first, image.double()).clamp(min=0)
    single = in_dtype(second, torch.float32)
    terms, steps = equations(single), settings.activation_iterations
    enough = (TOLERANCE / 100) ** 2 * squared(single.activation)
    found = solve_nonnegative(terms, start.float(), steps, enough, TOLERANCE, told("activation", steps))
    found = polish(
        equations(second), found.double(), settings.polish_rounds + 1, POLISH_STEPS, FIRST_SUPPORT, FINE_TOLERANCE
    )
    return found, counted(single, terms, found.float())


def before_relu(first: KnownConvolution, image: Tensor) -> Tensor:
    """W x + b, (V, K, h, w)."""
    return F.conv2d(image, first.weight, first.bias, first.stride, first.padding)


def masked(
    first: KnownConvolution, activation: Tensor, image: Tensor, bias_gradient: Tensor | None
) -> tuple[KnownConvolution, Tensor, Tensor]:
    """The first convolution with the masks that its bias's gradient confirms; the misfit and whether it is exact, (V,).

    Masks are cut once from the solved activation and once from the image; the better one counts, victim by victim, and
    only with the first the activation's values do.
    """
    seen = before_relu(first, image.double())
    doubtful = DOUBTFUL * root_mean_square(activation)
    solved, shown = (cut(values, first.delta, bias_gradient, doubtful) for values in (activation, seen))
    if bias_gradient is None:
        shown = Mask(shown.active, torch.ones_like(shown.misfit))
    by_image = shown.misfit < solved.misfit
    better = torch.where(by_image[:, None, None, None], shown.active, solved.active)
    misfit = torch.minimum(shown.misfit, solved.misfit)
    rounding = torch.as_tensor(first.gradient_error, device=misfit.device)
    confirmed = misfit <= EXACT + rounding
    exact = confirmed & ~by_image
    known = confirmed[:, None, None, None]
    error = torch.where(exact, rounding * root_mean_square(activation), ROUGH)
    layer = replace(
        first, activation=activation, active=better & known, inactive=~better & known, activation_error=error
    )
    return layer, misfit, exact


def select(known: KnownConvolution, victims: Tensor) -> KnownConvolution:
    """The same for some victims."""
    shared = ("weight", "bias")
    own = {
        item.name: value[victims]
        for item in fields(known)
        if isinstance(value := getattr(known, item.name), Tensor) and item.name not in shared and value.dim() > 0
    }
    return replace(known, **own)

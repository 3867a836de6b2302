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
from rlleak.attacks.first_layer import DETERMINED, POLISH, chosen, equations_per_unknown, polished, solve
from rlleak.attacks.known_convolution import KnownConvolution, NextLayer, equations
from rlleak.attacks.masks import SAME, Mask, cut
from rlleak.attacks.nonnegative import polish, solve_nonnegative
from rlleak.attacks.peeling import FINE_TOLERANCE, TOLERANCE, counted, in_dtype, root_mean_square
from rlleak.attacks.targets import reciprocal
from rlleak.configuration.attacks import PeelSettings
from rlleak.priors.prior import Prior

DOUBTFUL = 0.1
"""Share of the root mean square below which an activation behind a reconstructed image may be 0."""
EXACT = SAME / 2
"""Share of a channel's error that its bias may be off where its mask is taken as right (rounding: up to 3e-7)."""
CONTRADICTED = 10.0
"""How many times the typical channel's misfit a kernel's gradient may be off, at the image, where a mask is right."""
DEAD = 1e-3
"""Share of a channel's error below which a mask leaves too little to judge it by."""
DETERMINED_BEHIND = 2.0
"""Equations of the second convolution per pixel from which on they determine the image: at 1.7 (S2) they hardly do."""
FULFILLED = 1e-4
"""What may be left of equations that are fulfilled, relative to a grey image."""
AFRESH = "refining again"
AGAIN = 10
"""Rounds with the second convolution's equations from an image that those values gave (worth 1 dB in S1)."""
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
    learnt: Prior | None,
    settings: PeelSettings,
    told: Callable[[str, int], Callable[[int, Tensor], None]] = lambda stage, total: lambda iteration, loss: None,
) -> Refined:
    """Images from a first guess (V, C, H, W), or from nothing where the first convolution's outputs are known already.

    first: with its error and, if it is the only convolution, its outputs. learnt: a prior over images, or None.
    """
    if second is not None and equations_per_pixel(first, second) >= DETERMINED_BEHIND:
        return from_behind(first, second, bias_gradient, image, told)
    layers = {}
    if second is None:
        known, misfit = first, torch.zeros(first.victims, dtype=torch.float64, device=first.weight.device)
        exact = torch.ones_like(misfit, dtype=torch.bool)
    else:
        activation, layers["convolutions.1"] = inner_activation(first, second, image, settings, told)
        known, misfit, exact = masked(first, activation, image, bias_gradient)
    found = torch.empty(len(misfit), *first.image_shape, device=first.weight.device)
    mostly = (known.active | known.inactive).flatten(2).any(dim=2).double().mean(dim=1) >= settings.confirmed
    for group, name in (
        (exact, "refining"),
        (mostly & ~exact, "refining mostly"),
        (~mostly & ~exact, "refining unsure"),
    ):
        chosen_ones = group.nonzero()[:, 0]
        if len(chosen_ones) == 0:
            continue
        part, start = select(known, chosen_ones), None if image is None else image[chosen_ones]
        behind = None if second is None else select(second, chosen_ones)
        if name == "refining unsure":
            part = replace(part, activation_error=ROUGH)
            found[chosen_ones] = solved(part, behind, start, learnt, settings, told, name)
            continue
        found[chosen_ones] = solved(part, None, start, learnt, settings, told, name)
        if name == "refining mostly" and equations_per_unknown(part) < DETERMINED:
            bias = None if bias_gradient is None else bias_gradient[chosen_ones]
            again, _, _ = masked(part, part.activation, found[chosen_ones], bias)
            again = replace(again, activation_error=ROUGH)
            found[chosen_ones] = solved(again, behind, found[chosen_ones], learnt, settings, told, AFRESH)
    layers["convolutions.0"] = line_of(known, found, exact)
    return Refined(found, exact, misfit, layers)


def equations_per_pixel(first: KnownConvolution, second: KnownConvolution) -> float:
    """What the second convolution says, over the pixels that the first reads, mean over victims."""
    said = second.kernel_gradient[0].numel() + float(second.active.sum()) / second.victims
    return said / first.numbers_read


def from_behind(
    first: KnownConvolution,
    second: KnownConvolution,
    bias_gradient: Tensor | None,
    image: Tensor,
    told: Callable[[str, int], Callable[[int, Tensor], None]],
) -> Refined:
    """The images that the second convolution's equations determine; the first's masks are the images' own signs."""
    found, left = polished([NextLayer(first, equations(second))], image.double(), told("polishing", len(POLISH)))
    before = before_relu(first, found)
    misfit = bias_misfit(first, before > 0, bias_gradient).amax(dim=1)
    single = in_dtype(second, torch.float32)
    lines = {
        "convolutions.1": counted(single, equations(single), before.clamp(min=0).float()),
        "convolutions.0": line_of(replace(first, activation=before), found.float(), torch.zeros_like(misfit)),
    }
    return Refined(found.float(), left <= FULFILLED, misfit, lines)


def line_of(known: KnownConvolution, found: Tensor, values_known: Tensor) -> Layer:
    """The first convolution's line of the certificate. Where masks stayed unsure, the image's own say which of the
    gradient's equations there are."""
    single = in_dtype(known, torch.float32)
    shown, unsure = before_relu(single, found) > 0, ~(single.active | single.inactive)
    settled = replace(single, active=single.active | (unsure & shown), inactive=single.inactive | (unsure & ~shown))
    return counted(settled, equations(settled), found, values_known)


def solved(
    part: KnownConvolution,
    behind: KnownConvolution | None,
    start: Tensor | None,
    learnt: Prior | None,
    settings: PeelSettings,
    told: Callable[[str, int], Callable[[int, Tensor], None]],
    name: str,
) -> Tensor:
    """Images (V, C, H, W) by `first_layer.solve`, in float32.

    behind: the second convolution, whose equations are to have a say, or None. name: the stage's; in `AFRESH` the start
    is as good as the schedule's end, and a few rounds do.
    """
    single, (prior, schedule) = in_dtype(part, torch.float32), chosen(part, learnt, settings.learnt_error)
    if name == AFRESH:
        schedule = replace(schedule, first=2 * schedule.last, rounds=AGAIN)
    elif start is not None:
        schedule = replace(schedule, first=settings.refining)
    extra = [] if behind is None else [NextLayer(single, equations(in_dtype(behind, torch.float32)))]
    report = told(name, schedule.rounds)
    return solve(single, prior, schedule, start=start, extra=extra, report=report).image


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
    """The first convolution with the masks that its gradient confirms, channel by channel; the worst channel's misfit,
    and whether all are confirmed, (V,).

    Masks are cut from the solved activation and from the image; the image's own signs are tried too. The first that
    the bias's gradient confirms counts, unless the kernel's gradient at the image contradicts it: a sum of so many
    errors agrees now and then by chance. Where a mask is confirmed, the activation's values count as well.
    """
    seen = before_relu(first, image.double())
    doubtful = DOUBTFUL * root_mean_square(activation)
    signs = seen > 0
    tried = [
        cut(activation, first.delta, bias_gradient, doubtful),
        Mask(signs, bias_misfit(first, signs, bias_gradient)),
    ]
    if bias_gradient is not None:
        tried.append(cut(seen, first.delta, bias_gradient, doubtful))
    masks, off = torch.stack([mask.active for mask in tried]), torch.stack([mask.off for mask in tried])
    apart = torch.stack([kernel_misfit(first, mask.active, image.double()) for mask in tried])
    alive = masks.flatten(3).any(dim=3).any(dim=0)
    typical = torch.where(alive, apart.amin(dim=0), torch.nan).nanmedian(dim=1).values.nan_to_num(torch.inf)
    agreed = (off <= EXACT) & (apart <= CONTRADICTED * typical[:, None]) & apart.isfinite()
    index = agreed.int().argmax(dim=0)  # the first that is
    active = masks.gather(0, index[None, :, :, None, None].expand(1, *masks.shape[1:]))[0]
    confirmed = agreed.any(dim=0)
    misfit = torch.where(confirmed, off.gather(0, index[None])[0], off.amin(dim=0)).amax(dim=1)
    known, exact = confirmed[:, :, None, None], confirmed.all(dim=1)
    error = torch.as_tensor(first.gradient_error, device=misfit.device) * root_mean_square(activation)
    layer = replace(
        first, activation=activation, active=active & known, inactive=~active & known, activation_error=error
    )
    return layer, misfit, exact


def bias_misfit(first: KnownConvolution, active: Tensor, bias_gradient: Tensor | None) -> Tensor:
    """The share of a channel's |delta| that a mask leaves of its bias's gradient, (V, K); 0 without a bias."""
    if bias_gradient is None:
        return first.delta.new_zeros(active.shape[:2])
    left = (first.delta * active).sum(dim=(2, 3)) - bias_gradient
    return left.abs() * reciprocal(first.delta.abs().sum(dim=(2, 3)))


def kernel_misfit(first: KnownConvolution, active: Tensor, image: Tensor) -> Tensor:
    """What a mask and an image leave of each kernel's gradient, in the image's units, (V, K); inf without one."""
    if first.kernel_gradient is None:
        return first.delta.new_full(active.shape[:2], torch.inf)
    patches = F.unfold(image, first.weight.shape[2], stride=first.stride, padding=first.padding)
    masked_delta = (first.delta * active).flatten(2)
    left = masked_delta @ patches.transpose(1, 2) - first.kernel_gradient.flatten(2)
    # A channel that is all but dead has hardly an error to tell it by.
    size = torch.maximum(masked_delta.norm(dim=2), DEAD * first.delta.flatten(2).norm(dim=2))
    return left.norm(dim=2) * reciprocal(size) / patches.shape[1] ** 0.5


def select(known: KnownConvolution, victims: Tensor) -> KnownConvolution:
    """The same for some victims."""
    shared = ("weight", "bias")
    own = {
        item.name: value[victims]
        for item in fields(known)
        if isinstance(value := getattr(known, item.name), Tensor) and item.name not in shared and value.dim() > 0
    }
    return replace(known, **own)

"""Peel: the network undone layer by layer, from the head to the image.

1. Everything linear by algebra (`closed_form`).
2. Convolutions from the last to the second: their inputs by non-negative least squares, masks by the biases' gradients
   (`peeling`).
3. The image from the second convolution's equations, brought to orthonormal rows: first with a total variation whose
   weight falls (`through_second`), then with the first convolution's own equations (`refining`).

Step 3's first half is gradient matching in other words: the same unknowns, but what is matched has orthonormal rows and
no longer depends on the layers behind, so a few hundred iterations do what thousands do to the gradient itself.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from rlleak.attacks.certificate import Certificate, packed, spread, unpacked
from rlleak.attacks.closed_form import linear_bytes, read_linear_part
from rlleak.attacks.data_terms import DataTerm, squared
from rlleak.attacks.known_convolution import KnownConvolution, NextLayer, equations
from rlleak.attacks.likeliest import Values, likeliest
from rlleak.attacks.linear_algebra import LinearPart, solve_linear_part
from rlleak.attacks.peeling import Peeled, Peeling, in_dtype
from rlleak.attacks.refining import refine, select
from rlleak.attacks.running import Chunk, attack
from rlleak.configuration.attacks import AttackSettings, PeelSettings
from rlleak.errors import ConfigurationError
from rlleak.learners.specification import NetworkSpec
from rlleak.priors.gaussian import GaussianField
from rlleak.priors.variation import adjoint, gradient
from rlleak.sharing.update import SharedUpdate

MOMENTS = (0.9, 0.99)
EPSILON = 1e-15
FINAL_STEP = 0.01
UNFULFILLED = 1e-3
"""What right masks leave of a convolution's equations at most, relative."""
FALLING = 0.8
"""Share of the iterations over which the total variation's weight falls; then it stays."""


def peel_bytes(update: SharedUpdate, settings: AttackSettings) -> int:
    """Upper estimate of the memory that one victim takes, bytes."""
    spec = update.architecture
    shapes = [shape for shape in (spec.image_shape, *spec.feature_shapes) if shape is not None]
    rows = [layer.channels * layer.kernel**2 for layer in spec.convolutions]
    systems = [count * shape[1] * shape[2] for count, shape in zip(rows, shapes, strict=False)]
    return linear_bytes(update, settings) + layers_bytes(update) + 8 * 6 * max(systems, default=0)


def layers_bytes(update: SharedUpdate) -> int:
    """Upper estimate of what a transition's image and convolutions' inputs take while they are sought, bytes."""
    spec = update.architecture
    shapes = [shape for shape in (spec.image_shape, *spec.feature_shapes) if shape is not None]
    return 8 * 40 * sum(torch.Size(shape).numel() for shape in shapes)


@attack(weighs=peel_bytes)
def peel(chunk: Chunk) -> Mapping[str, Tensor]:
    """Vector, values and action by algebra, the image layer by layer.

    Its knowledge `prior`, if there is one, replaces total variation in the last step where equations are few.
    Certificate as `closed_form`'s, with a line for each convolution. `masks_disagree`, and `unfulfilled`: where without
    noise the equations of a convolution behind the first are left open, so that its input was not found. Neither says
    that an image is the only one that fulfils them: where equations are few the prior chooses, and the lines' `rank`
    and `unknowns` tell. Raises ConfigurationError for activations other than ReLU behind convolutions.
    """
    part = solve_linear_part(chunk.update)
    found, certificate = read_linear_part(chunk.update, part)
    if chunk.update.architecture.image_shape is not None:
        found["image"] = image(chunk, part, certificate)
    return {**found, **certificate.trust()}


def image(chunk: Chunk, part: LinearPart, certificate: Certificate) -> Tensor:
    """The images (V, C, H, W), and the convolutions' lines of the certificate."""
    spec, settings = chunk.update.architecture, chunk.settings.peel
    if not spec.convolutions:
        flat = part.first.input[:, : spec.image_features].reshape(-1, *spec.image_shape)
        return flat.to(next(iter(chunk.update.parameters.values())).dtype)
    if spec.activation != "relu":
        raise ConfigurationError(
            f"attack '{chunk.settings.method}' undoes convolutions behind ReLU and this network has {spec.activation}; "
            "attack it with closed_form"
        )
    peeling = Peeling(chunk.update, part, settings, certificate)
    peeled = peeling.run(lambda stage, total: _told(chunk, stage, total), lambda name, work: once(chunk, name, work))
    certificate.failures["masks_disagree"] = ~peeled.sure
    start = None
    if peeled.second is not None:
        scarce = guess_completed(chunk, peeled)
        start = once(chunk, "image", lambda: {"image": through_second(chunk, peeled, scarce, settings)})["image"]
        if chunk.knowledge.get("public"):
            certificate.notes["guess_completed"] = scarce.float()
    # Refining trusts masks and activations; with noise on them the picture that it starts from is the better one.
    quiet = (
        ((peeling.noise == 0) & peeled.sure) if start is not None else torch.ones_like(peeling.noise, dtype=torch.bool)
    )
    chosen = quiet.nonzero()[:, 0]
    misfit, found = peeled.misfit, start
    lines = dict.fromkeys(("convolutions.0", "convolutions.1")[: len(spec.convolutions)])
    if len(chosen):
        refined = once(chunk, "refined", lambda: refined_image(chunk, peeled, start, chosen))
        lines |= unpacked(refined)
        misfit = misfit.index_copy(0, chosen, torch.maximum(misfit[chosen], refined["misfit"]))
        found = refined["image"] if start is None else start.index_copy(0, chosen, refined["image"])
    for name, line in lines.items():
        certificate.layers[name] = spread(line, chosen, chunk.victims)
    # Without the biases' gradients nothing confirms a mask but that all equations hold.
    if any(f"convolutions.{index}.bias" in chunk.update.known for index in range(len(spec.convolutions))):
        left = torch.stack([line.residual for name, line in certificate.layers.items() if "conv" in name]).amax(dim=0)
        certificate.failures["masks_unchecked"] = left > UNFULFILLED
    if behind := [line.residual for name, line in certificate.layers.items() if name in inner(spec)]:
        # Not finite is not fulfilled either.
        left = torch.stack(behind).amax(dim=0)
        certificate.failures["unfulfilled"] = ~(left <= UNFULFILLED) & (peeling.noise == 0)
    certificate.notes["mask_misfit"] = misfit
    return found


def inner(spec: NetworkSpec) -> list[str]:
    """The convolutions behind the first, by parameter name."""
    return [f"convolutions.{index}" for index in range(1, len(spec.convolutions))]


def refined_image(chunk: Chunk, peeled: Peeled, start: Tensor | None, victims: Tensor) -> dict[str, Tensor]:
    """Some victims' images refined, how far their masks disagree, and their lines of the certificate."""
    bias = None if "convolutions.0.bias" in chunk.update.known else chunk.update.gradients.get("convolutions.0.bias")
    refined = refine(
        select(peeled.first, victims),
        None if peeled.second is None else select(peeled.second, victims),
        None if bias is None else bias[victims].double(),
        None if start is None else start[victims],
        chunk.knowledge.get("prior"),
        chunk.settings.peel,
        lambda stage, total: _told(chunk, stage, total),
    )
    lines = {key: value for name, layer in refined.layers.items() for key, value in packed(name, layer).items()}
    return {"image": refined.image, "misfit": refined.misfit, **lines}


def once(chunk: Chunk, name: str, work: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What the work gives, or gave before it was interrupted."""
    key = f"{name} {chunk.key}"
    if (done := chunk.checkpoint.finished(key)) is not None:
        return {name: tensor.to(chunk.device) for name, tensor in done.items()}
    done = work()
    chunk.checkpoint.finish(key, done)
    return done


def _told(chunk: Chunk, stage: str, total: int) -> Callable[[int, Tensor], None]:
    return lambda iteration, loss: chunk.progress(f"{stage} {chunk.key}", iteration + 1, total, float(loss.mean()))


def through_second(chunk: Chunk, peeled: Peeled, scarce: Tensor, settings: PeelSettings) -> Tensor:
    """Images (V, C, H, W) from the second convolution's equations.

    Where masks could not be cut on the way down to it, its equations are wrong, and under noise they are worse than
    their weights say; there the last convolution's are taken, which needed no mask but the first linear layer's input,
    through all the layers between. Where that is little (`scarce`), what public rooms look like says the rest.
    """
    first = in_dtype(peeled.first, torch.float32)
    images = torch.empty(first.victims, *first.image_shape, device=first.weight.device)
    unsure = (~peeled.sure | peeled.noisy) & (len(peeled.above) > 1)
    for group, name, said in (
        (~unsure, "image", equations),
        (unsure & ~scarce, "image unsure", equations),
        (scarce & ~peeled.noisy, "image scarce", equations),
        (scarce & peeled.noisy, "image scarce under noise", values),
    ):
        own = group.nonzero()[:, 0]
        if len(own) == 0:
            continue
        part = select(first, own)
        above = (peeled.second,) if name == "image" else peeled.above
        terms = through([select(in_dtype(known, torch.float32), own) for known in above], said)
        if name in ("image", "image unsure"):
            images[own] = search(part, terms, settings, _told(chunk, name, settings.iterations))
        else:
            told = _told(chunk, name, settings.likeliest.rounds)
            images[own] = likeliest(NextLayer(part, terms), remembered(chunk), len(own), settings.likeliest, told)
    return images


def through(above: list[KnownConvolution], said: Callable[[KnownConvolution], list[DataTerm]]) -> list[DataTerm]:
    """What the last convolution says, as terms about the first one's output. above: from the last to the second."""
    last, *between = above
    terms = said(last)
    for known in between:
        terms = [NextLayer(known, terms)]
    return terms


def values(last: KnownConvolution) -> list[DataTerm]:
    """The last convolution's noisy output as terms about its input."""
    return [NextLayer(last, [Values(last.activation, last.each(last.activation_error), last.active | last.inactive)])]


def guess_completed(chunk: Chunk, peeled: Peeled) -> Tensor:
    """Of whom the last convolution says so little, or under so much noise, that public rooms say the rest, (V,) bool.

    Nobody where it is not told of any.
    """
    settings, last = chunk.settings.peel.likeliest, peeled.above[0]
    kernels = 0 if last.kernel_gradient is None else last.kernel_gradient[0].numel()
    said = (kernels + last.active.flatten(1).sum(dim=1)) / peeled.first.numbers_read
    drowned = last.each(last.gradient_error) >= settings.noisy
    scarce = torch.where(peeled.noisy, drowned, ~peeled.sure & (said <= settings.below))
    return scarce & (len(peeled.above) > 1 and len(_public(chunk)) > 1)


def remembered(chunk: Chunk) -> GaussianField:
    """What rooms look like to an attack that is told of public ones."""
    return GaussianField.of(_public(chunk).to(chunk.device, torch.float32))


def _public(chunk: Chunk) -> Tensor:
    """Images (P, C, H, W) that it is told of, or none, (0,)."""
    images = (chunk.knowledge.get("public") or {}).get("image")
    return torch.zeros(0) if images is None else images


def search(
    first: KnownConvolution, terms: list[DataTerm], settings: PeelSettings, told: Callable[[int, Tensor], None]
) -> Tensor:
    """Images (V, C, H, W) from terms about the first convolution's output and a total variation whose weight falls."""
    term, unit = NextLayer(first, terms), squared(first.weight).sum()
    image = torch.full((first.victims, *first.image_shape), 0.5, device=first.weight.device)
    iterations = settings.iterations
    optimiser = torch.optim.Adam([image], lr=settings.step_size, betas=MOMENTS, eps=EPSILON)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations, FINAL_STEP * settings.step_size)
    for iteration in range(iterations):
        near = term.linearise(image, settings.image_tolerance)
        weight = variation_weight(settings, iteration)
        image.grad = near.adjoint(near.residual) / unit + weight * slope(image, settings)
        optimiser.step()
        schedule.step()
        image.clamp_(0, 1)
        if (iteration + 1) % max(1, iterations // 20) == 0:
            told(iteration, squared(near.residual))
    return image


def slope(image: Tensor, settings: PeelSettings) -> Tensor:
    """Derivative of the total variation, the mean over pixels of |gradient| over directions and channels together."""
    field = gradient(image)
    length = field.square().sum(dim=(1, 2), keepdim=True).add_(settings.edge**2).sqrt_()
    return adjoint(field / length) / (image.shape[2] * image.shape[3])


def variation_weight(settings: PeelSettings, iteration: int) -> float:
    """The total variation's weight at an iteration: it falls geometrically."""
    first, last = settings.variation
    share = min(1.0, iteration / max(1, FALLING * settings.iterations))
    return math.exp((1 - share) * math.log(first) + share * math.log(last))

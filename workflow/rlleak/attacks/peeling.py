"""Convolutions undone from behind: from the input of the first linear layer up to the second convolution's equations.

Each convolution's output and error being known, its input is the non-negative least-squares solution of its equations
(`nonnegative`); a ReLU's mask there gives the error one layer further down. The input of the second convolution is left
as equations: about the image they are many, about itself they may be too few (`known_convolution.NextLayer`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlleak.attacks.certificate import Certificate, Layer, packed, unpacked
from rlleak.attacks.data_terms import squared
from rlleak.attacks.known_convolution import ForwardEquations, KernelEquations, KnownConvolution, equations
from rlleak.attacks.linear_algebra import LinearPart
from rlleak.attacks.masks import cut
from rlleak.attacks.nonnegative import polish, solve_nonnegative
from rlleak.attacks.rounded import rounding_deviation
from rlleak.attacks.targets import reciprocal
from rlleak.configuration.attacks import PeelSettings
from rlleak.sharing.update import SharedUpdate

ROUNDINGS = 8
"""Relative error of a shared kernel gradient, a sum of hundreds of terms, in epsilons (measured: 4 to 6)."""
TOLERANCE = 1e-4
FINE_TOLERANCE = 1e-5
"""Errors, in units of an activation, below which equations count the same: while descending, and in the end."""
DOUBTFUL = 0.01
"""Share of the root mean square below which an activation that was solved for may be 0."""
ABOVE_NOISE, UNDECIDED = 4.0, 1.0
"""Deviations of its error above which an activation is taken as active, and within how many the bias decides."""
MASK_NOISE = 10.0
"""How many times the relative noise of the kernels' gradient a mask may disagree with its bias's gradient."""
MASK_DOUBT = 0.05
"""By how much it may anyway, under noise: what a mask leaves open is weighed as an error of the equations it makes."""
FIRST_SUPPORT = 1e-4
POLISH_STEPS = 60

Report = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class Peeled:
    """What is known of V victims' first and second convolution; second: None if there is only one.

    first: its errors before the mask, and its outputs if it is the only one (else all entries are unsure and the
    activation is the second's input as far as it was solved for). above: the convolutions from the last to the second.
    misfit: how far the masks that were cut disagree with the biases' gradients, and sure: whether noise explains that,
    (V,); under noise only the last convolution's count. noisy: whether there is any, (V,).
    """

    first: KnownConvolution
    second: KnownConvolution | None
    above: tuple[KnownConvolution, ...]
    misfit: Tensor
    sure: Tensor
    noisy: Tensor


def noise_deviation(update: SharedUpdate, part: LinearPart) -> Tensor:
    """Standard deviation of the noise on an entry of the update, (V,), from what the first linear layer leaves; 0 where
    rounding explains it."""
    gradient = update.gradients["hidden.0.weight" if update.architecture.hidden else "head.weight"]
    size = gradient.flatten(1).norm(dim=1).double() / gradient[0].numel() ** 0.5
    # Of the weight, if that says: of a bias's gradient the same noise is a larger share where inputs are above 1.
    left = torch.where(part.first.beyond > 0, part.first.beyond, part.first.residual)
    return torch.where(part.certificate().failures["noise"], left * size, 0.0)


def errors(update: SharedUpdate, index: int, noise: Tensor) -> Tensor:
    """Relative error of a convolution's kernel gradient, (V,)."""
    name = f"convolutions.{index}.weight"
    kernels = update.gradients[name]
    typical = kernels.double().flatten(1).square().mean(dim=1).sqrt()
    rounding = ROUNDINGS * torch.finfo(kernels.dtype).eps
    # Each tensor is rounded in a unit of its own, which is known.
    told = rounding_deviation(update, name)
    return (torch.where(told > 0, told, noise) * reciprocal(typical)).clamp(min=rounding)


def complete(update: SharedUpdate) -> bool:
    """Whether enough arrived to undo convolutions down to the second: their kernels' gradients, and their output."""
    spec = update.architecture
    kernels = {f"convolutions.{index}.weight" for index in range(1, len(spec.convolutions))}
    behind = update.known.get("hidden.0.weight" if spec.hidden else "head.weight")
    return not kernels & set(update.known) and (behind is None or bool(behind.any(dim=1).all()))


def root_mean_square(value: Tensor) -> Tensor:
    """Of each victim, (V,)."""
    return value.flatten(1).square().mean(dim=1).sqrt()


class Peeling:
    """The convolutions of an update, from the last to the second. Everything is kept in float64."""

    def __init__(
        self, update: SharedUpdate, part: LinearPart, settings: PeelSettings, certificate: Certificate
    ) -> None:
        self.update, self.settings, self.certificate = update, settings, certificate
        self.spec, self.part = update.architecture, part
        self.noise = noise_deviation(update, part)
        self.shapes = [self.spec.image_shape, *self.spec.feature_shapes]
        self.misfit = torch.zeros_like(self.noise)

    def parameter(self, name: str) -> Tensor | None:
        value = self.update.parameters.get(name)
        return None if value is None else value.double()

    def shared(self, name: str) -> Tensor | None:
        """A tensor's gradient, or None where any of its entries did not arrive: equations that lack terms are none."""
        value = self.update.gradients.get(name)
        return None if value is None or name in self.update.known else value.double()

    def run(self, report: Callable[[str, int], Report], kept: Callable[[str, Callable], dict[str, Tensor]]) -> Peeled:
        """Down to the second convolution. report: of a stage's name and length; kept: work once, by a stage's name."""
        last = len(self.spec.convolutions) - 1
        output, delta = self._behind_convolutions()
        above = self.describe(last, output, delta, self._linear_error())
        passed = [above]
        if not complete(self.update):
            return self.without_kernels(above)
        for index in range(last, 1, -1):
            name = f"convolutions.{index}"
            done = kept(name, lambda above=above, name=name: self.solve(above, name, report))
            self.certificate.layers.update(unpacked(done))
            solved = done["input"]
            above = self.descend(above, index, solved)
            passed.append(above)
        if last == 0:
            return Peeled(above, None, (), self.misfit, self.sure, self.noise > 0)
        return Peeled(self.unsure(above), above, tuple(passed), self.misfit, self.sure, self.noise > 0)

    def without_kernels(self, above: KnownConvolution) -> Peeled:
        """What is known where too little arrived to go down: the last convolution's equations, through all layers."""
        between = [self.blank(index) for index in range(len(self.spec.convolutions) - 2, -1, -1)]
        unsure = torch.zeros_like(self.misfit, dtype=torch.bool)
        passed = (above, *between[:-1])
        return Peeled(between[-1], passed[-1], passed, self.misfit, unsure, self.noise > 0)

    @property
    def sure(self) -> Tensor:
        """Whether the masks disagree with the biases' gradients no more than rounding or noise explains, (V,) bool."""
        last = len(self.spec.convolutions) - 1
        by_noise = (MASK_NOISE * errors(self.update, last, self.noise)).clamp(min=MASK_DOUBT)
        by_noise = torch.where(self.noise > 0, by_noise, 0.0)
        return self.misfit <= self.settings.mask_misfit + by_noise

    def _behind_convolutions(self) -> tuple[Tensor, Tensor]:
        """Output of the last convolution and the loss's derivative by it, (V, K, h, w) each."""
        features, layer = self.spec.image_features, self.part.first
        name = "hidden.0" if self.spec.hidden else "head"
        shape = (-1, *self.shapes[-1])
        delta = layer.delta @ self.parameter(f"{name}.weight")[:, :features]
        return layer.input[:, :features].reshape(shape), delta.reshape(shape)

    def _linear_error(self) -> Tensor:
        """Standard deviation of the features' errors, (V,)."""
        rounding = ROUNDINGS * torch.finfo(self.part.dtype).eps * root_mean_square(self.part.first.input)
        return (self.noise * reciprocal(self.part.first.delta.norm(dim=1))).clamp(min=rounding)

    def describe(self, index: int, output: Tensor, delta: Tensor, error: Tensor) -> KnownConvolution:
        """A convolution whose output (V, K, h, w) is known up to errors of this deviation (V,)."""
        name, layer = f"convolutions.{index}", self.spec.convolutions[index]
        bias = self.shared(f"{name}.bias")
        told = self._told(index)
        found = root_mean_square(output)
        rounding = ROUNDINGS * torch.finfo(self.part.dtype).eps
        noisy = self.noise > 0
        doubtful = torch.where(error > 2 * rounding * found, 3 * error, DOUBTFUL * found)
        doubtful = torch.where(noisy, UNDECIDED * error, doubtful)
        # Under noise what was 0 lies on both sides of it: a cut among so many says nothing.
        raised = output - torch.where(noisy, ABOVE_NOISE * error, 0.0)[:, None, None, None]
        mask = cut(raised, delta, bias, doubtful)
        # What a mask leaves unexplained is an error of the equations that are made with it.
        by_noise = errors(self.update, index, self.noise)
        # Noise grows on the way down, and under it nothing further down is read (`peel.through_second`).
        counts = ~noisy | (index == len(self.spec.convolutions) - 1)
        self.misfit = torch.where(counts, torch.maximum(self.misfit, mask.misfit), self.misfit)
        return KnownConvolution(
            weight=self.parameter(f"{name}.weight"),
            bias=self.parameter(f"{name}.bias"),
            stride=layer.stride,
            image_shape=self.shapes[index],
            activation=output,
            active=mask.active & told,
            inactive=~mask.active & told,
            delta=delta,
            # Equations whose masks are open are none.
            kernel_gradient=self.shared(f"{name}.weight") if bool(told.all()) else None,
            padding=layer.padding,
            activation_error=error,
            gradient_error=torch.where(noisy, torch.maximum(by_noise, mask.misfit), by_noise),
        )

    def _told(self, index: int) -> Tensor:
        """Which outputs (V, K, h, w) are known at all: of the last convolution those whose columns arrived."""
        weight = "hidden.0.weight" if self.spec.hidden else "head.weight"
        known = self.update.known.get(weight)
        if known is None or index < len(self.spec.convolutions) - 1:
            return torch.ones(len(self.noise), *self.shapes[index + 1], dtype=torch.bool, device=self.noise.device)
        reached = (known & (self.part.first.delta != 0)[:, :, None]).any(dim=1)
        return reached[:, : self.spec.image_features].reshape(-1, *self.shapes[-1])

    def below(self, above: KnownConvolution) -> Tensor:
        """The loss's derivative by a convolution's input, (V, C, H, W)."""
        shape = (len(above.delta), *above.image_shape)
        masked = above.delta * above.active
        return torch.nn.grad.conv2d_input(shape, above.weight, masked, above.stride, above.padding)

    def descend(self, above: KnownConvolution, index: int, solved: Tensor) -> KnownConvolution:
        """The next convolution down, given the input of the one at index."""
        error = root_mean_square(solved) * torch.as_tensor(above.gradient_error)
        return self.describe(index - 1, solved, self.below(above), error)

    def unsure(self, second: KnownConvolution) -> KnownConvolution:
        """The first convolution when nothing but its error before the mask is known."""
        return replace(
            self.blank(0),
            delta=self.below(second),
            kernel_gradient=self.shared("convolutions.0.weight"),
            gradient_error=errors(self.update, 0, self.noise),
        )

    def blank(self, index: int) -> KnownConvolution:
        """A convolution of which nothing but the layer itself is known."""
        name, layer = f"convolutions.{index}", self.spec.convolutions[index]
        output = self.noise.new_zeros(len(self.noise), *self.shapes[index + 1])
        nothing = torch.zeros_like(output, dtype=torch.bool)
        return KnownConvolution(
            weight=self.parameter(f"{name}.weight"),
            bias=self.parameter(f"{name}.bias"),
            stride=layer.stride,
            image_shape=self.shapes[index],
            activation=output,
            active=nothing,
            inactive=nothing,
            padding=layer.padding,
        )

    def solve(self, above: KnownConvolution, name: str, report: Callable[[str, int], Report]) -> dict[str, Tensor]:
        """The non-negative `input` (V, C, H, W) of a convolution, and its line of the certificate."""
        single = in_dtype(above, torch.float32)
        steps, rounds = self.settings.feature_iterations, self.settings.polish_rounds
        start = single.activation.new_zeros(len(single.activation), *above.image_shape)
        terms = equations(single)  # in float32: directions that its rounding hides are no equations
        enough = (TOLERANCE / 100) ** 2 * squared(single.activation)
        found = solve_nonnegative(terms, start, steps, enough, TOLERANCE, report(name, steps))
        found = polish(equations(above), found.double(), rounds, POLISH_STEPS, FIRST_SUPPORT, FINE_TOLERANCE)
        return {"input": found, **packed(name, counted(single, terms, found.float()))}


def in_dtype(known: KnownConvolution, dtype: torch.dtype) -> KnownConvolution:
    """The same in another floating-point type."""
    changed = {
        name: value.to(dtype)
        for name, value in vars(known).items()
        if isinstance(value, Tensor) and value.is_floating_point()
    }
    return replace(known, **changed)


def counted(
    known: KnownConvolution,
    terms: list[ForwardEquations | KernelEquations],
    found: Tensor,
    outputs_known: Tensor | float = 1.0,
) -> Layer:
    """A convolution's line of the certificate at the input that was found (V, C, H, W).

    rank: the kernel gradient's independent equations and the active outputs, as if those were independent too, at most
    the unknowns. condition: of the kernel gradient's equations. Inequalities are not counted. outputs_known: whether
    the outputs' values are, (V,).
    """
    kernels = next((term for term in terms if isinstance(term, KernelEquations)), None)
    active = known.active.flatten(1).sum(dim=1) * torch.as_tensor(outputs_known, device=found.device).long()
    unknowns = torch.full_like(active, known.numbers_read)
    shared, rank = torch.zeros_like(active), torch.zeros_like(active)
    if kernels is not None:
        reached = (known.delta * known.active != 0).flatten(2).any(dim=2).sum(dim=1)
        shared, rank = reached * known.kernel_gradient[0, 0].numel(), kernels.rank
    at_zero, at_found = (
        sum(squared(term.linearise(point, TOLERANCE).residual) for term in terms)
        for point in (torch.zeros_like(found), found)
    )
    residual = (at_found * reciprocal(at_zero)).sqrt()
    rank = torch.minimum(rank + active, unknowns)
    without = torch.full_like(residual, torch.inf)
    return Layer(unknowns, shared + active, rank, without if kernels is None else condition(kernels), residual)


def condition(kernels: KernelEquations) -> Tensor:
    """Largest over smallest singular value of the kernel gradient's equations that count, (V,); inf without any."""
    found = [torch.full_like(kernels.rank, torch.inf, dtype=torch.float64)] if kernels.systems is None else []
    for system in kernels.systems or ():
        # An equation's error is inverse to its singular value.
        smallest = torch.where(system.counts, system.error, torch.inf).amin(dim=1)
        share = (system.error * system.counts).amax(dim=1) * reciprocal(smallest)
        found.append(torch.where(system.counts.any(dim=1), share, torch.inf))
    return torch.stack(found).amax(dim=0)

"""Linear layers solved exactly: over one transition a linear layer's gradient is delta input^T, its bias's is delta.

So delta stands in the bias's gradient and the input is delta^T G / delta^T delta, by least squares over all rows (known
since Phong et al. 2018; Geiping et al. 2020, proposition 3.1). Everything here is float64.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.attacks.certificate import Certificate, Layer, rounding
from rlleak.attacks.completion import complete_linear, scaled, scaled_by_below
from rlleak.attacks.rounded import told_deviations
from rlleak.attacks.targets import reciprocal
from rlleak.learners.specification import NetworkSpec
from rlleak.sharing.update import SharedUpdate

POWER_STEPS = 12
MIXED_RESIDUAL = 0.02
MIXED_SHARE = 0.4
ABOVE_NOISE = 1.5
"""What the strongest direction leaves is this large, and the next explains this much of it, and this many times what
noise's strongest direction would (0.05 in the default network's first linear layer): another sample."""
CONSISTENT = 2000
"""Roundings by which a layer's output may differ from the next layer's input, a sum of thousands of terms."""
TOLD = 2.0
"""Times the deviation of known rounding that what one sample leaves of a gradient may be as large as."""
APART = 0.05
"""By how much it may at most, relative: in half precision so many roundings would excuse anything."""
HEARD = 1.02
"""How many times noise's strongest direction, which power iteration stays below, a gradient's own must be."""


@dataclass(frozen=True)
class LinearLayer:
    """One linear layer's factors: delta (V, outputs), input (V, inputs), both zero where the gradient is.

    Without a bias both are known up to a factor: the input has length 1 and its sum is not negative. residual: |G -
    delta input^T| / |G|, or what delta leaves of the bias's gradient if that is more, (V,). beyond: what the strongest
    direction leaves of G, relative, and second: the share of that which the next one explains, (V,); both 0 where
    rounding explains everything.
    """

    delta: Tensor
    input: Tensor
    residual: Tensor
    beyond: Tensor
    second: Tensor

    @property
    def alive(self) -> Tensor:
        """Whether the layer got any gradient, (V,) bool."""
        return (self.delta != 0).any(dim=1)

    @property
    def mixed(self) -> Tensor:
        """Whether the gradient looks like that of more than one sample, (V,) bool."""
        rows, columns = self.delta.shape[1], self.input.shape[1]
        by_chance = rows**-0.5 + columns**-0.5  # (sqrt m + sqrt n) / sqrt(m n), the edge of Marchenko and Pastur's law
        share = max(MIXED_SHARE, ABOVE_NOISE * by_chance)
        return (self.beyond > MIXED_RESIDUAL) & (self.second > share)

    @property
    def deviation(self) -> Tensor:
        """What is left of an entry of G besides its strongest direction, root mean square, (V,): noise, if anything."""
        size = self.delta.norm(dim=1) * self.input.norm(dim=1)
        rest = self.beyond * reciprocal((1 - self.beyond.square()).clamp(min=0).sqrt()) * size
        return rest / (self.delta.shape[1] * self.input.shape[1]) ** 0.5

    @property
    def overlap(self) -> Tensor:
        """Squared cosine between the input that was found and the true one, expected under noise, (V,); 0: unheard.

        Of rank 1 in white noise (Benaych-Georges and Nadakuditi 2012); the noise's deviation is measured on the rest.
        """
        rows, columns = self.delta.shape[1], self.input.shape[1]
        size = self.delta.norm(dim=1) * self.input.norm(dim=1)
        heard = size > HEARD * (rows**0.5 + columns**0.5) * self.deviation  # the edge of Marchenko and Pastur's law
        square = (size * reciprocal(self.deviation)).square() - rows - columns
        strength = (square + (square.square() - 4 * rows * columns).clamp(min=0).sqrt()) / 2
        share = (strength.square() - rows * columns) * reciprocal(strength * (strength + columns))
        return torch.where(self.deviation > 0, share.clamp(0, 1), 1.0) * heard

    @property
    def heard(self) -> Tensor:
        """Whether the strongest direction stands above what noise as large as the rest would show, (V,) bool."""
        return self.overlap > 0

    def certificate(self) -> Layer:
        """Every row with an error has one equation for each number of the input."""
        inputs = self.input.shape[1]
        rows, alive = (self.delta != 0).sum(dim=1), self.alive
        condition = torch.where(alive, 1.0, torch.inf)
        return Layer(torch.full_like(rows, inputs), rows * inputs, alive * inputs, condition, self.residual)


def solve_linear(weight: Tensor, bias: Tensor | None) -> LinearLayer:
    """Factors of a linear layer's gradient, weight (V, outputs, inputs) and bias (V, outputs), victim by victim.

    One at a time because a gradient of the default network takes 60 MB in float64.
    """
    found = [
        _solve_one(weight[victim].double(), None if bias is None else bias[victim].double(), rounding(weight.dtype))
        for victim in range(len(weight))
    ]
    return LinearLayer(*(torch.stack(part) for part in zip(*found, strict=True)))


def _solve_one(weight: Tensor, bias: Tensor | None, explained: float) -> tuple[Tensor, ...]:
    size = weight.norm()
    none = torch.zeros_like(size)
    if bias is not None:
        inputs = (bias @ weight) * reciprocal(bias @ bias)
        residual = torch.addr(weight, bias, inputs, alpha=-1).norm() * reciprocal(size)
        if float(residual) <= explained:
            return bias, inputs, residual, none, none
    # With noise the strongest direction averages over rows what the bias's gradient says about each row alone.
    delta, inputs = _factors(weight)
    left = torch.addr(weight, delta, inputs, alpha=-1)
    beyond = left.norm()
    other, _ = _factors(left)
    second = other.norm() * reciprocal(beyond)
    residual = beyond * reciprocal(size)
    if bias is not None:
        along = (delta @ bias) * reciprocal(delta @ delta)  # the constant 1 that the bias multiplies, in the same unit
        inputs, delta = inputs * torch.sign(along) * reciprocal(along.abs()), delta * along
        residual = torch.maximum(residual, (bias - delta).norm() * reciprocal(bias.norm()))
    return delta, inputs, residual, beyond * reciprocal(size), second


def _factors(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The strongest singular pair: left times its singular value, right of length 1, by power iteration."""
    right = matrix[matrix.square().sum(dim=1).argmax()]
    for _ in range(POWER_STEPS):
        right = (matrix @ right) @ matrix
        right = right * reciprocal(right.norm())
    right = torch.where(right.sum() < 0, -right, right)
    return matrix @ right, right


def activation_of(spec: NetworkSpec) -> Callable[[Tensor], Tensor]:
    """The function behind each layer but the head."""
    return {"tanh": torch.tanh, "sigmoid": torch.sigmoid}.get(spec.activation) or getattr(F, spec.activation)


@dataclass(frozen=True)
class LinearPart:
    """All linear layers of V victims, solved: by name ("vector", "hidden.0", ..., "head"), and how far they agree.

    consistency: largest relative difference between a layer's input and what the layer below puts out, (V,). bias:
    whether inputs and errors are known with their scale. unknown: whether some numbers of an input are not known at
    all, (V,) bool; None where all of the linear layers' gradients arrived. told: layer -> (V,), the deviation of the
    errors that quantisation is known to have made in its weight's gradient; empty without any.
    """

    layers: dict[str, LinearLayer]
    consistency: Tensor
    dtype: torch.dtype
    bias: bool
    unknown: Tensor | None = None
    told: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def first(self) -> LinearLayer:
        """The layer behind the convolutions and the vector's own layer."""
        return self.layers["hidden.0" if "hidden.0" in self.layers else "head"]

    def certificate(self) -> Certificate:
        """Counted equations of each layer, and which of the closed forms' assumptions failed."""
        layers = list(self.layers.values())
        some = layers[0].residual
        residual = torch.stack([layer.residual for layer in layers]).amax(dim=0)
        mixed = torch.stack([self._mixed(name) for name in self.layers]).any(dim=0)
        inconsistent = self.consistency > min(CONSISTENT * torch.finfo(self.dtype).eps, APART)
        failures = {
            "no_bias": torch.full_like(some, not self.bias, dtype=torch.bool),
            "dead_layer": torch.stack([~layer.alive for layer in layers]).any(dim=0),
            "several_samples": mixed,
            "noise": ((residual > rounding(self.dtype)) | inconsistent) & ~mixed,
        }
        if self.unknown is not None:
            failures["entries_unknown"] = self.unknown
        return Certificate({name: layer.certificate() for name, layer in self.layers.items()}, failures)

    def _mixed(self, name: str) -> Tensor:
        """`LinearLayer.mixed`, (V,), unless known rounding is as long: what it leaves has strong directions too."""
        layer, told = self.layers[name], self.told.get(name)
        return layer.mixed if told is None else layer.mixed & (layer.deviation > TOLD * told)


def solve_linear_part(update: SharedUpdate) -> LinearPart:
    """The input of every linear layer of each victim, from its gradient alone."""
    spec, gradients = update.architecture, update.gradients
    names = [*(f"hidden.{index}" for index in range(len(spec.hidden))), "head"]
    if spec.vector_width:
        names = ["vector", *names]
    partial = [name for name in names if {f"{name}.weight", f"{name}.bias"} & set(update.known)]
    layers = {
        name: solve_linear(gradients[f"{name}.weight"], gradients.get(f"{name}.bias"))
        if name not in partial
        else LinearLayer(*complete_linear(*_arrived(update, name)))
        for name in names
    }
    parameters = {name: value.double() for name, value in update.parameters.items() if "convolutions" not in name}
    unscaled = [name for name in partial if update.lacks(f"{name}.bias") and not update.lacks(f"{name}.weight")]
    if "head" in partial and "head" not in unscaled and len(names) > 1:
        layers["head"] = scaled_by_below(layers["head"], layers[names[-2]], update, activation_of(spec))
    if unscaled:
        layers, unscaled = scaled(layers, unscaled, parameters, spec)
    function, off = activation_of(spec), torch.zeros_like(layers["head"].residual)
    for below, above in pairwise(names):
        put_out = layers[below].input @ parameters[f"{below}.weight"].T + parameters.get(f"{below}.bias", 0)
        expected, found = function(put_out), layers[above].input
        if below == "vector":
            found = found[:, spec.image_features :]
        both = layers[below].alive & layers[above].alive
        if not spec.bias:  # each is known up to a factor: what can disagree is the direction
            expected, found = (F.normalize(side, dim=1) for side in (expected, found))
        apart = (expected - found).norm(dim=1) * reciprocal(expected.norm(dim=1))
        off = torch.where(both, torch.maximum(off, apart), off)
    dtype = next(iter(gradients.values())).dtype
    unknown, told = _unknown(update, layers) if partial else None, told_deviations(update, names)
    return LinearPart(layers, off, dtype, spec.bias and not unscaled, unknown, told)


def _arrived(update: SharedUpdate, name: str) -> tuple[Tensor | None, ...]:
    """A layer's gradients, and which of their entries are known."""
    kinds = (f"{name}.weight", f"{name}.bias")
    return (*(update.gradients.get(kind) for kind in kinds), *(update.known.get(kind) for kind in kinds))


def _unknown(update: SharedUpdate, layers: Mapping[str, LinearLayer]) -> Tensor:
    """Whether some number of a layer's input has no known entry in a row with an error, (V,) bool."""
    missing = torch.zeros(len(update), dtype=torch.bool, device=layers["head"].delta.device)
    for name, layer in layers.items():
        if (known := update.known.get(f"{name}.weight")) is not None:
            missing |= ~(known & (layer.delta != 0)[:, :, None]).any(dim=1).all(dim=1)
    return missing

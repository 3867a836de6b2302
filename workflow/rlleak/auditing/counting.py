"""What a layer's gradient gives away, counted: unknowns, equations, and what would change them.

An attacker undoes a network from its head down (`rlleak.attacks.peel`). A linear layer's gradient over one transition
is delta input^T and its bias's is delta, so with a bias the input is a quotient. A convolution's input has as many
equations as its kernels have entries (their gradient is linear in the input once the error is known), and one more for
each output that stands behind the activation undamaged: for ReLU the active ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.auditing.levels import DETERMINED, PRIOR, SILENT, convolution_level, linear_level
from rlleak.learners.assembling import Branch
from rlleak.learners.networks import PolicyNetwork
from rlleak.learners.specification import Convolution, NetworkSpec

AMPLE = 2.0
"""Equations of the second convolution per pixel from which the image needs no prior (`rlleak.attacks.first_layer`)."""
LARGER_BATCH = 8
INVERTIBLE = ("tanh", "sigmoid", "elu", "leaky_relu")
"""Activations whose output gives their input back everywhere; the others only where it is positive."""


@dataclass(frozen=True)
class LayerCount:
    """One layer of one branch, at batch 1.

    name: the module's own; role: what attacks call it. unknowns: numbers of its input that it reads.
    gradient_equations: of its weight's gradient. forward_equations: of its outputs, expected from the share `active`
    of outputs that the activation lets through on the observations at hand. with_stride: equations per unknown if its
    stride were doubled, with_batch: over LARGER_BATCH transitions; None where that says nothing.
    """

    name: str
    role: str
    what: str
    unknowns: int
    gradient_equations: int
    forward_equations: int
    active: float
    bias: bool
    level: str = ""
    verdict: str = ""
    with_stride: float | None = None
    with_batch: float | None = None
    changes: Mapping[str, str] = field(default_factory=dict)

    @property
    def convolution(self) -> bool:
        """Whether it is one; else a linear layer."""
        return self.role.startswith("convolutions")

    @property
    def ratio(self) -> float:
        """Equations per unknown."""
        return (self.gradient_equations + self.forward_equations) / self.unknowns


@dataclass(frozen=True)
class Active:
    """Shares of a layer that are above 0, over observations: of its outputs, and of its units (linear) or kernels
    (convolution) that are so anywhere. Behind a ReLU no gradient reaches the others."""

    outputs: float = 1.0
    kernels: float = 1.0


@torch.no_grad()
def active_shares(network: PolicyNetwork, observation: Mapping[str, Tensor]) -> dict[str, Active]:
    """What of each layer is active on these observations, by the specification's names."""
    found = {}

    def keep(name: str, output: Tensor) -> None:
        above = output > 0
        found[name] = Active(float(above.float().mean()), float(above.flatten(2).any(2).float().mean()))

    handles = [
        layer.register_forward_hook(
            lambda _, inputs, output, name=name: keep(name, output if output.dim() > 2 else output[..., None])
        )
        for name, layer in network.named_modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
    ]
    network(observation)
    for handle in handles:
        handle.remove()
    return found


def count(branch: Branch, active: Mapping[str, Active]) -> list[LayerCount]:
    """All layers of a branch, from the head down, as an attacker undoes them. active: as `active_shares` gives."""
    spec, names = branch.spec, {role: layer.name for role, layer in branch.layers.items()}
    heads = [name for role, name in names.items() if role == "head" or role.startswith("head.")]
    names["head"] = " + ".join(heads)
    layers = []
    shapes = spec.parameter_shapes
    roles = ["head", *(f"hidden.{index}" for index in reversed(range(len(spec.hidden))))]
    if spec.vector_width:
        roles.append("vector")
    for role in roles:
        outputs, inputs = shapes[f"{role}.weight"]
        share = 1.0 if role == "head" else _active(spec, active, role).kernels
        alive = round(outputs * share)
        layers.append(
            LayerCount(names[role], role, f"linear {inputs}→{outputs}", inputs, alive * inputs, 0, share, spec.bias)
        )
    layers += [_convolution(spec, index, names, active) for index in reversed(range(len(spec.convolutions)))]
    judged, dead = [], None
    for layer in layers:
        silent = dead or (None if layer.gradient_equations else layer.name)
        judged.append(_silent(layer, silent) if silent else _judged(spec, layer))
        dead = dead if layer.role == "vector" else silent  # convolutions are not below it
    return judged


def _silent(layer: LayerCount, dead: str) -> LayerCount:
    verdict = f"gives nothing while no output of '{dead}' is active, as on these observations"
    return replace(layer, level=SILENT, verdict=verdict, with_stride=None, with_batch=None)


def _active(spec: NetworkSpec, active: Mapping[str, Active], role: str) -> Active:
    """Only a ReLU keeps gradients from units below 0; which other activations give their input back there: see
    INVERTIBLE."""
    own = active.get(role, Active())
    if spec.activation == "relu":
        return own
    return Active(1.0 if spec.activation in INVERTIBLE else own.outputs, 1.0)


def _convolution(spec: NetworkSpec, index: int, names: Mapping[str, str], active: Mapping[str, Active]) -> LayerCount:
    layer, role = spec.convolutions[index], f"convolutions.{index}"
    inputs = [spec.image_shape, *spec.feature_shapes][index]
    unknowns, outputs = _sizes(layer, inputs)
    own = _active(spec, active, role)
    share, kernels = own.outputs, round(layer.channels * own.kernels * inputs[0] * layer.kernel**2)
    doubled = layer.model_copy(update={"stride": 2 * layer.stride})
    read, fewer = _sizes(doubled, inputs)
    padding = f" padding {layer.padding}" if layer.padding else ""
    what = f"{layer.kernel}×{layer.kernel} stride {layer.stride}{padding}, {inputs[0]}→{layer.channels}"
    forward = round(share * outputs)
    return LayerCount(
        names[role],
        role,
        what,
        unknowns,
        kernels,
        forward,
        share,
        spec.bias,
        with_stride=(kernels + share * fewer) / read if fewer else None,
        with_batch=(kernels / LARGER_BATCH + forward) / unknowns,
    )


def _sizes(layer: Convolution, inputs: tuple[int, int, int]) -> tuple[int, int]:
    """Numbers of its input that a convolution reads, and numbers it puts out."""
    read, out = [], []
    for side in inputs[1:]:
        places = (side + 2 * layer.padding - layer.kernel) // layer.stride + 1
        out.append(max(places, 0))
        touched = F.conv_transpose1d(
            torch.ones(1, 1, max(places, 1)), torch.ones(1, 1, layer.kernel), stride=layer.stride
        )[0, 0]
        read.append(int((touched[layer.padding : layer.padding + side] > 0).sum()))
    return inputs[0] * read[0] * read[1], layer.channels * out[0] * out[1]


def _judged(spec: NetworkSpec, layer: LayerCount) -> LayerCount:
    if not layer.convolution:
        return _judged_linear(spec, layer)
    ratio = layer.ratio
    nonnegative = layer.role != "convolutions.0" and spec.activation == "relu"
    level = convolution_level(ratio, nonnegative)
    if level == PRIOR:
        verdict = f"{ratio:.2f} equations per unknown: needs a prior (smoothness of images, public data)"
    elif ratio >= DETERMINED:
        verdict = f"{ratio:.2f} equations per unknown: its input can be solved for, given the layers above"
    else:
        verdict = f"{ratio:.2f} equations per unknown, and none of them is negative: mostly solved exactly"
    if spec.activation not in ("relu", *INVERTIBLE):
        verdict += f"; {spec.activation} gives its input back only above 0"
    changes = {
        "larger batch": f"{layer.with_batch:.2f} at batch {LARGER_BATCH}, if the samples can be told apart at all"
    }
    if layer.with_stride is not None:
        changes["larger stride"] = f"{layer.with_stride:.2f} at twice the stride"
    else:
        changes["larger stride"] = "too large for this input"
    if layer.bias:
        changes["no bias"] = "the equations stay; which outputs are active can no longer be checked"
    return replace(layer, level=level, verdict=verdict, changes=changes)


def _judged_linear(spec: NetworkSpec, layer: LayerCount) -> LayerCount:
    first = layer.role == ("hidden.0" if spec.hidden else "head")
    what = "its input"
    if layer.role == "vector" or (first and spec.image_shape is None):
        what = "the observed vector"
    elif first and not spec.convolutions:
        what = "the observation itself"
    level = linear_level(layer.bias)
    if layer.bias:
        verdict = f"gives {what} exactly at batch 1: has a bias"
        no_bias = f"{what} only up to a factor, at batch 1"
    else:
        verdict = f"gives {what} up to a factor at batch 1: has no bias"
        no_bias = "has none"
    larger = f"a sum over {LARGER_BATCH} samples: told apart where they share an action, or through a value head"
    return replace(layer, level=level, verdict=verdict, changes={"no bias": no_bias, "larger batch": larger})

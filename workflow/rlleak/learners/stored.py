"""Policies that stable-baselines3 or CleanRL saved, from their tensors alone: names and shapes say what the network is.

torch's restricted unpickler (weights_only=True) builds tensors only, in plain containers, and refuses a file that holds
any other object; of a stable-baselines3 archive only `policy.pth` is read. What tensors do not say (strides,
activation, scaling of bytes) is taken from the libraries' defaults, and said.
"""

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.learners.inputs import Inputs

NATURE = {(8, 4, 3): (4, 2, 1)}
"""Kernels of Mnih et al. 2015's network, and its strides."""

_IGNORED = re.compile(r"^(q_net_target|target_network|(pi|vf)_features_extractor)\.")
_REFUSED = {
    r"running_mean$|weight_ih_l0$|weight_mu$|in_proj_weight$": (
        "is of a batch norm, recurrent, noisy or attention layer; attacks know none of these"
    ),
    r"^quantile_net\.|(^|\.)atoms$": (
        "is of a network that gives distributions over values (QR-DQN, C51); attacks know one number per action"
    ),
    r"^critic\.qf\d": (
        "is of a critic that takes actions too (SAC, TD3, DDPG); load the policy and audit its actor alone"
    ),
}
"""Names of tensors of which no chain of known layers can be made, and why."""
_POLICY = re.compile(r"^(mlp_extractor\.policy_net|action_net|actor(_mean)?|q_net\.q_net)\.")
_VALUE = re.compile(r"^(mlp_extractor\.value_net|value_net|critic)\.")


@dataclass(frozen=True)
class Layers:
    """Names of layers in the order in which they act: what policy and value share, and what each has of its own."""

    trunk: tuple[str, ...]
    policy: tuple[str, ...]
    value: tuple[str, ...]


class StoredPolicy(nn.Module):
    """A network with the parameters and names of a file; forward gives Q-values or logits, and the value if it has one.

    bytes: whether images come in [0, 255] and are divided by 255, as both libraries do.
    """

    def __init__(
        self, tensors: Mapping[str, Tensor], layers: Layers, strides: Mapping[str, int], activation: str, bytes: bool
    ) -> None:
        super().__init__()
        self.layers, self.strides, self.activation, self.bytes = layers, dict(strides), activation, bytes
        for name in (*layers.trunk, *layers.policy, *layers.value):
            for kind in ("weight", "bias"):
                if f"{name}.{kind}" in tensors:
                    self._register(f"{name}.{kind}", tensors[f"{name}.{kind}"])

    def _register(self, name: str, value: Tensor) -> None:
        *path, last = name.split(".")
        place: nn.Module = self
        for part in path:
            if not hasattr(place, part):
                place.add_module(part, nn.Module())
            place = getattr(place, part)
        place.register_parameter(last, nn.Parameter(value.float().clone()))

    def forward(self, observation: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        features = observation / 255.0 if self.bytes else observation
        for name in self.layers.trunk:
            features = self._active(name, features)
        policy = self._head(self.layers.policy, features)
        return (policy, self._head(self.layers.value, features)) if self.layers.value else policy

    def _head(self, names: Sequence[str], features: Tensor) -> Tensor:
        for name in names[:-1]:
            features = self._active(name, features)
        return self._apply(names[-1], features)

    def _active(self, name: str, features: Tensor) -> Tensor:
        kind = "relu" if name in self.strides else self.activation
        outputs = self._apply(name, features)
        return getattr(torch if kind in ("tanh", "sigmoid") else F, kind)(outputs)

    def _apply(self, name: str, features: Tensor) -> Tensor:
        layer = self.get_submodule(name)
        weight, bias = layer.weight, getattr(layer, "bias", None)
        if weight.dim() == 4:
            return F.conv2d(features, weight, bias, self.strides[name])
        return F.linear(features.flatten(1), weight, bias)


@dataclass(frozen=True)
class Stored:
    """A saved policy: the network, how it observes, what was assumed, and whether its actions are continuous."""

    network: StoredPolicy
    inputs: Inputs
    assumptions: tuple[str, ...]
    continuous: bool


def load_policy(
    path: str | Path,
    observation_space: Any,
    *,
    strides: Sequence[int] | None = None,
    activation: str | None = None,
) -> Stored:
    """Reads a .zip of stable-baselines3, a state dict of CleanRL or any torch program, or a safetensors file.

    observation_space: a space or shape of one observation, channels first. strides, activation: where the convention's
    are not the network's. Raises CorruptArtefactError for what that unpickler does not build, ConfigurationError
    where names and shapes make no chain of layers.
    """
    tensors = _read(Path(path))
    inputs = Inputs.of_space(observation_space)
    if len(inputs.shapes) != 1:
        raise ConfigurationError(
            f"{path}: saved policies of several observations are not known; give the module itself"
        )
    (shape,) = inputs.shapes.values()
    layers = _layers(tensors, str(path))
    convolutions = [name for name in layers.trunk if tensors[f"{name}.weight"].dim() == 4]
    if convolutions and len(shape) != 3:
        raise ConfigurationError(f"{path} begins with a convolution; give an observation (channels, height, width)")
    assumed = []
    if strides is None:
        strides = _strides(tensors, layers, convolutions, shape, str(path))
        if convolutions:
            assumed.append(f"strides {', '.join(map(str, strides))}, without padding, from kernels and sizes")
    elif len(strides) != len(convolutions):
        raise ConfigurationError(
            f"{len(strides)} strides for {len(convolutions)} convolutions in {path}; give one each"
        )
    if not any(_POLICY.match(f"{name}.") for name in layers.policy):
        assumed.append(f"layers act in the order {', '.join((*layers.trunk, *layers.policy))}")
    if activation is None:
        separate = layers.value and not convolutions
        activation = "tanh" if separate else "relu"
        assumed.append(f"activation {activation}, the library's default for such a policy")
    if convolutions:
        assumed.append("images come as bytes and are divided by 255")
        (name,) = inputs.shapes
        low, high = torch.zeros(shape), torch.full(shape, 255.0)
        inputs = Inputs(inputs.shapes, {name: inputs.ranges[name] or (low, high)}, inputs.style)
    network = StoredPolicy(
        tensors, layers, dict(zip(convolutions, strides, strict=True)), activation, bool(convolutions)
    )
    continuous = any(name.endswith(("log_std", "actor_logstd")) for name in tensors)
    return Stored(network, inputs, tuple(assumed), continuous)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise CorruptArtefactError(f"{path}: there is no such file; give the path of a saved policy")
    try:
        if path.suffix == ".safetensors":
            found = load_file(str(path))
        else:
            held = _member(path) if path.suffix == ".zip" else None
            with warnings.catch_warnings():
                # Said of what is refused below.
                warnings.filterwarnings("ignore", "Detected pickle protocol")
                warnings.filterwarnings("ignore", ".*looks like a TorchScript archive")
                # weights_only: tensors are rebuilt and nothing in the file is called; all else is refused below.
                found = torch.load(path if held is None else io.BytesIO(held), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CorruptArtefactError(
            f"{path} holds more than tensors, and nothing else is built; save its state_dict() or safetensors"
        ) from error
    except (OSError, RuntimeError, SafetensorError, zipfile.BadZipFile, EOFError, ValueError) as error:
        # torch's next sentences advise to unpickle.
        said = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
        raise CorruptArtefactError(f"{path} cannot be read as tensors ({said}); save network.state_dict()") from error
    held = [found, *found.values()] if isinstance(found, Mapping) else []  # a training's checkpoint has it in an entry
    states = [value for value in held if _is_state(value)]
    if len(states) != 1:
        raise CorruptArtefactError(f"{path} holds {len(states) or 'no'} state dicts; save network.state_dict()")
    return {name.removeprefix("_orig_mod.").removeprefix("module."): value for name, value in states[0].items()}


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(tensor, Tensor) for tensor in value.values())


def _member(path: Path) -> bytes | None:
    with zipfile.ZipFile(path) as archive:
        return archive.read("policy.pth") if "policy.pth" in archive.namelist() else None


def _layers(tensors: Mapping[str, Tensor], path: str) -> Layers:
    names = [name.removesuffix(".weight") for name in tensors if name.endswith(".weight") and not _IGNORED.match(name)]
    names = _ordered(names)
    for pattern, why in _REFUSED.items():
        if odd := [name for name in tensors if re.search(pattern, name)]:
            raise ConfigurationError(f"{path}: '{odd[0]}' {why}")
    _check_extractors(tensors, path)
    for name in names:
        if tensors[f"{name}.weight"].dim() not in (2, 4):
            raise ConfigurationError(
                f"{path}: '{name}' is neither a convolution over images nor a linear layer; attacks know no other"
            )
    policy = _heads_last([name for name in names if _POLICY.match(f"{name}.")])
    value = _heads_last([name for name in names if _VALUE.match(f"{name}.")])
    trunk = [name for name in names if name not in policy and name not in value]
    trunk.sort(key=lambda name: tensors[f"{name}.weight"].dim() != 4)  # image first, its order kept
    if not policy and not value:
        policy, trunk = trunk[-1:], trunk[:-1]
    if not policy:
        policy, value = value, []
    widths = tensors[f"{policy[0]}.weight"].shape[1:].numel()
    if trunk and tensors[f"{trunk[-1]}.weight"].dim() == 2 and len(tensors[f"{trunk[-1]}.weight"]) != widths:
        given = len(tensors[f"{trunk[-1]}.weight"])
        raise ConfigurationError(
            f"{path}: '{policy[0]}' takes {widths} numbers and '{trunk[-1]}' gives {given}; its layers make no chain "
            "that is known: load it into its module and audit that"
        )
    return Layers(tuple(trunk), tuple(policy), tuple(value))


def _ordered(names: Sequence[str]) -> list[str]:
    """Sequences in the file's order, and their layers by number: safetensors have 10 before 2."""

    def sequence(name: str) -> str:
        parent, _, last = name.rpartition(".")
        return parent if last.isdigit() else name

    found = list(dict.fromkeys(map(sequence, names)))
    number = {name: int(last) if (last := name.rpartition(".")[2]).isdigit() else 0 for name in names}
    return sorted(names, key=lambda name: (found.index(sequence(name)), number[name]))


def _check_extractors(tensors: Mapping[str, Tensor], path: str) -> None:
    """stable-baselines3 writes a shared extractor of features three times, and two as three."""
    for name, value in tensors.items():
        if name.startswith("vf_features_extractor."):
            shared = tensors.get(name.removeprefix("vf_"))
            if shared is None or not torch.equal(shared, value):
                raise ConfigurationError(
                    f"{path}: '{name}' is of the critic's own extractor of features (share_features_extractor=False); "
                    "load the policy and audit model.policy"
                )


def _heads_last(names: list[str]) -> list[str]:
    return sorted(names, key=lambda name: name in ("action_net", "value_net"))


def _strides(
    tensors: Mapping[str, Tensor], layers: Layers, convolutions: list[str], shape: tuple[int, ...], path: str
) -> tuple[int, ...]:
    """Mnih et al. 2015's for their kernels, else the only ones that lead to the first linear layer's width."""
    if not convolutions:
        return ()
    weights = [tensors[f"{name}.weight"] for name in convolutions]
    kernels = tuple(int(weight.shape[-1]) for weight in weights)
    if weights[0].shape[1] != shape[0]:
        raise ConfigurationError(
            f"{path}: '{convolutions[0]}' reads {weights[0].shape[1]} channels and the observation has {shape[0]}"
        )
    linear = [name for name in (*layers.trunk, *layers.policy) if name not in convolutions]
    width = tensors[f"{linear[0]}.weight"].shape[1]

    def fits(strides: Sequence[int]) -> bool:
        sides = list(shape[1:])
        for kernel, stride in zip(kernels, strides, strict=True):
            sides = [(side - kernel) // stride + 1 if side >= kernel else 0 for side in sides]
        return len(weights[-1]) * sides[0] * sides[1] == width

    if kernels in NATURE and fits(NATURE[kernels]):
        return NATURE[kernels]
    found = [strides for strides in product(*(range(1, kernel + 1) for kernel in kernels)) if fits(strides)]
    if len(found) != 1:
        raise ConfigurationError(
            f"{path}: {len(found)} choices of strides lead from {shape} to the {width} inputs of '{linear[0]}'; give "
            "strides= and check the observation's shape"
        )
    return found[0]

"""Transitions as users have them, in the words of `Batch`; tensors from files, nothing unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.learners.batch import Batch
from rlleak.learners.inputs import name_observations
from rlleak.learners.refusals import check_module
from rlleak.registry import unknown_name

if TYPE_CHECKING:
    from rlleak.learners.reading import Reading

_NAMES = {
    "observation": ("observations", "obs", "state", "states"),
    "next_observation": ("next_observations", "next_obs", "next_state", "next_states"),
    "action": ("actions",),
    "reward": ("rewards",),
    "terminated": ("dones", "done", "terminations", "terminal"),
    "target": ("targets", "returns", "return"),
    "advantage": ("advantages",),
    "log_probability": ("log_probabilities", "old_log_prob", "log_prob", "log_probs", "logprobs"),
    "value": ("values", "old_values"),
}
"""What other libraries call them: stable-baselines3's and CleanRL's buffers."""


def as_batch(batch: Batch | Mapping[str, Any], like: Tensor) -> Batch:
    """A batch of the network's dtype and device, observations by name, from a `Batch`, a dictionary or a named tuple.

    Raises ConfigurationError for keys that nobody knows, for what is missing, and for lengths that differ.
    """
    batch = _entries(batch)
    if isinstance(batch, Batch):
        given = {name: value for name, value in vars(batch).items() if value is not None}
    elif isinstance(batch, Mapping):
        given = _known_names(batch)
    else:
        raise ConfigurationError(f"batch is a {type(batch).__name__}; give a rlleak.Batch or a dictionary of tensors")
    if missing := [name for name in ("observation", "action") if name not in given]:
        raise ConfigurationError(f"batch lacks '{missing[0]}'")
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name in ("observation", "next_observation"):
            found[name] = {
                key: _number(tensor, like, f"{name} '{key}'") for key, tensor in name_observations(value).items()
            }
            continue
        tensor = torch.as_tensor(value)
        tensor = tensor.flatten() if tensor.dim() == 2 and tensor.shape[1] == 1 else tensor  # buffers have (N, 1)
        if name == "action":
            if tensor.is_floating_point() and not bool((tensor == tensor.round()).all()):
                raise ConfigurationError("action holds fractions; attacks know discrete actions, as integers (N,)")
            found[name] = tensor.to(like.device, torch.int64)
        elif name == "terminated":
            found[name] = tensor.to(like.device).bool()
        else:
            found[name] = _number(tensor, like, name)
    if found["action"].dim() == 0:
        raise ConfigurationError("action is a single number; give one per transition, (N,), and observations (N, ...)")
    count = len(found["action"])
    for name, value in found.items():
        for key, tensor in value.items() if isinstance(value, dict) else ((name, value),):
            if tensor.dim() == 0 or len(tensor) != count:
                raise ConfigurationError(
                    f"{key} has shape {tuple(tensor.shape)}; the batch has {count} actions: give as many, in the first "
                    "dimension"
                )
            if tensor is value and tensor.dim() != 1:
                raise ConfigurationError(
                    f"{name} has shape {tuple(tensor.shape)}; give one number per transition, ({count},)"
                    + (": attacks know one discrete action, as an integer" if name == "action" else "")
                )
    found.setdefault("reward", torch.zeros(count, dtype=like.dtype, device=like.device))
    if "reward" not in given and "target" not in given:
        raise ConfigurationError("batch lacks 'reward' (for REINFORCE the return), or 'target'")
    return Batch(**found)


def observation_of(batch: Batch | Mapping[str, Any]) -> Any:
    """A batch's observations as they were given. Raises ConfigurationError where there are none."""
    batch = _entries(batch)
    given = vars(batch) if isinstance(batch, Batch) else _known_names(batch) if isinstance(batch, Mapping) else {}
    if given.get("observation") is None:
        raise ConfigurationError("batch lacks 'observation'; give a rlleak.Batch or a dictionary of tensors")
    return given["observation"]


def _entries(batch: Any) -> Any:
    """What stable-baselines3's buffers give, a tuple with names, as a dictionary of what it holds."""
    if not hasattr(batch, "_asdict"):
        return batch
    return {name: value for name, value in batch._asdict().items() if value is not None}


def _known_names(batch: Mapping[str, Any]) -> dict[str, Any]:
    meant = {other: name for name, others in _NAMES.items() for other in (name, *others)}
    found = {}
    for key, value in batch.items():
        if key not in meant:
            raise unknown_name("entry of a batch", str(key), list(_NAMES))
        if value is not None:
            found[meant[key]] = value
    return found


def _number(value: Any, like: Tensor, name: str) -> Tensor:
    tensor = torch.as_tensor(value).to(like.device, like.dtype)
    if not bool(torch.isfinite(tensor).all()):
        raise ConfigurationError(f"{name} holds NaN or Inf")
    return tensor


def check_shapes(reading: Reading, batch: Batch) -> None:
    """Raises ConfigurationError where a batch's observations are not the network's, by name or shape."""
    for kind in ("observation", "next_observation"):
        group = getattr(batch, kind)
        if group is None:
            continue
        if set(group) != set(reading.inputs.shapes):
            raise ConfigurationError(
                f"{kind} has {', '.join(group)} and the network reads {', '.join(reading.inputs.shapes)}"
            )
        for name, shape in reading.inputs.shapes.items():
            if tuple(group[name].shape) != (len(batch), *shape):
                raise ConfigurationError(
                    f"{kind} '{name}' has shape {tuple(group[name].shape)}; expected {(len(batch), *shape)}"
                )


def targeted(reading: Reading, module: nn.Module, target: nn.Module, loss: Any, batch: Batch) -> Batch:
    """The batch with the targets that its loss needs, checked against the network's outputs."""
    width = sum(branch.spec.outputs for branch in reading.branches)
    with_value = any("value" in branch.outputs for branch in reading.branches)
    if loss.kind in ("actor_critic", "ppo") and not with_value:
        raise ConfigurationError(
            f"loss '{loss.kind}' needs logits and a value and the network gives {width} numbers; "
            "return (logits, value), or give forward="
        )
    if loss.kind in ("dqn", "reinforce") and with_value:
        raise ConfigurationError(
            f"loss '{loss.kind}' takes one output and the network gives logits and a value; "
            "give forward= that returns the one, or another loss"
        )
    actions = width - with_value
    if bool((batch.action < 0).any()) or bool((batch.action >= actions).any()):
        raise ConfigurationError(
            f"action holds {int(batch.action.max())} and the network has actions 0 to {actions - 1}"
        )
    if batch.target is not None or loss.kind == "reinforce":
        return batch
    if batch.next_observation is None or batch.terminated is None:
        raise ConfigurationError(f"loss '{loss.kind}' needs next_observation and terminated, or target, in the batch")
    with torch.no_grad():
        own = reading.outputs(module, batch.next_observation)
        following = own if target is module else _of_target(reading, target, batch)
    if following.shape != own.shape:
        raise ConfigurationError(
            f"target_network gives {following.shape[1]} numbers and the network {own.shape[1]}; give a copy of the "
            "network, of earlier weights"
        )
    return loss.targeted(batch, following, own)


def _of_target(reading: Reading, target: nn.Module, batch: Batch) -> Tensor:
    check_module(target)
    try:
        return reading.outputs(target, batch.next_observation)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError) as error:
        raise ConfigurationError(
            f"target_network does not take what the network observes ({str(error).splitlines()[0]}); give a copy of "
            "the network, of earlier weights"
        ) from error


def tensors_of_file(path: str | Path) -> dict[str, Tensor]:
    """A safetensors file's tensors. Raises CorruptArtefactError in one line."""
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise CorruptArtefactError(
            f"{path} cannot be read as safetensors ({error}); write it with save_file"
        ) from error

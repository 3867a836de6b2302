"""Transitions as users have them, in the words of `Batch`; tensors from files, nothing unpickled."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from rlleak.errors import ConfigurationError, CorruptArtefactError
from rlleak.learners.batch import Batch
from rlleak.learners.inputs import name_observations
from rlleak.registry import unknown_name

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


def tensors_of_file(path: str | Path) -> dict[str, Tensor]:
    """A safetensors file's tensors. Raises CorruptArtefactError in one line."""
    try:
        return load_file(str(path))
    except (SafetensorError, OSError) as error:
        raise CorruptArtefactError(
            f"{path} cannot be read as safetensors ({error}); write it with save_file"
        ) from error

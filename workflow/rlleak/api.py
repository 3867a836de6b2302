"""What a person begins with: share what a server would see, receive it, audit a network of one's own."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rlleak.configuration.defences import defence_settings
from rlleak.errors import ConfigurationError
from rlleak.learners.batch import Batch
from rlleak.learners.reading import read
from rlleak.sharing.modules import CapturedUpdate, capture_module, loss_of, received_file
from rlleak.sharing.wire import Wire

if TYPE_CHECKING:
    from rlleak.auditing.report import Audit

_WIRE = frozenset(Wire.__dataclass_fields__)


def share(
    network: nn.Module,
    loss: str | Any = "dqn",
    batch: Batch | Mapping[str, Any] | None = None,
    *,
    observation_space: Any = None,
    target_network: nn.Module | None = None,
    forward: Callable[..., Any] | None = None,
    output: str | None = None,
    batch_size: int | None = None,
    defence: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] | None = None,
    seed: int = 0,
    **options: Any,
) -> CapturedUpdate:
    """What a server would see of one step of training a network.

    network: any torch module of convolutions, one kind of activation and linear layers that takes a tensor, several, or
    a dictionary of named observations (N, ...), and returns Q-values or logits (N, actions), or logits and values.
    loss: "dqn", "reinforce", "actor_critic" or "ppo", or one of rlleak.learners' losses. batch: a `rlleak.Batch` or a
    dictionary: observation, action (N,), reward (N,), and what the loss needs: next_observation and terminated, or
    target (DQN's target value, a critic's return); advantage, log_probability, value.

    observation_space: a gymnasium space or shapes; default: the batch's own. Its ranges tell an attack what a pixel may
    be. target_network: for DQN's target; default: the network itself. forward: called with (network, observation) where
    network(observation) is not what returns the outputs. output: "policy" or "value", where actor and critic share no
    layer and attacks look at one; default: policy. batch_size: transitions per update; default: the whole batch is one.
    defence: what the device does to the update that leaves: a method of rlleak.sharing.DEFENCES that needs no value
    ("int8", "sign"), an entry as in config/defences.yaml ({"method": "top_k", "share": 0.01}), or a list of such, one
    after another. seed: of what a defence draws. The update's `defence` and `known` say what the server knows of it.
    {"method": "local_steps", "steps": 4, "step_size": 0.01}: several steps at home first, as in federated averaging.

    Further options are the loss's constants (gamma, entropy_weight, value_weight, clip; for DQN error="huber",
    double=True) and how the update travels (`rlleak.sharing.wire.Wire`): form="gradient" | "step" |
    "weight_difference", clip_norm, optimiser="SGD" | "Adam" ..., learning_rate, options={...} for the optimiser,
    precision="float32" | "float16".

    Raises ConfigurationError naming the layer that no attack can handle, why and what would do; or what of the batch
    or the defence does not fit.
    """
    if batch is None:
        raise ConfigurationError("share needs a batch: observation, action, reward and what the loss takes besides")
    if torch.is_inference_mode_enabled():
        raise ConfigurationError("sharing computes gradients, which torch.inference_mode() rules out; call it outside")
    wire = Wire(**{name: options.pop(name) for name in list(options) if name in _WIRE})
    return capture_module(
        _as_written(network),
        loss_of(loss, options),
        batch,
        observation_space=observation_space,
        target_network=_as_written(target_network),
        forward=forward,
        output=output,
        batch_size=batch_size,
        wire=wire,
        defence=None if defence is None else defence_settings(defence),
        seed=seed,
    )


def receive(
    path: str | Path,
    network: nn.Module,
    loss: str | Any = "dqn",
    *,
    observation_space: Any,
    forward: Callable[..., Any] | None = None,
    output: str | None = None,
    batch_size: int = 1,
    **options: Any,
) -> CapturedUpdate:
    """An update captured elsewhere: a safetensors file with a tensor per parameter, under the network's names.

    Several updates of the same network have one dimension more, (V, *shape). network: with the parameters it had before
    the step. Other arguments as `share`'s; batch_size: how many transitions the update was made from. Raises
    CorruptArtefactError for what is no such file, ConfigurationError where names or shapes differ.
    """
    wire = Wire(**{name: options.pop(name) for name in list(options) if name in _WIRE})
    network, made = _as_written(network), loss_of(loss, options)
    reading = read(network, observation_space, forward=forward)
    return received_file(path, network, made, reading=reading, output=output, batch_size=batch_size, wire=wire)


def _as_written(network: Any) -> Any:
    """A module that torch.compile wrapped as it was before, with the same parameters: its layers can be watched."""
    return getattr(network, "_orig_mod", network)


def audit(network: nn.Module | str | Path, observation_space: Any = None, **options: Any) -> "Audit":
    """What a network's gradients leak, counted and measured; options as `rlleak.auditing.auditing.audit_network`.

    network: a torch module, or the path of a policy that stable-baselines3 (.zip) or CleanRL (.cleanrl_model, .pt)
    saved, or of a safetensors file of its weights. torch's restricted unpickler builds tensors only. observation_space:
    a gymnasium Box or Dict, or shapes. The result prints as a table; `save(folder)` writes JSON and HTML.
    """
    # Only here: scripts that share need no renderer.
    from rlleak.attacks.defaults import usable
    from rlleak.auditing.auditing import audit_file, audit_network

    usable(options.get("device", "cpu"))
    if isinstance(network, str | Path):
        return audit_file(network, observation_space, **options)
    return audit_network(_as_written(network), observation_space, **options)

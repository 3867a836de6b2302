"""The three verbs: share what a server would see, attack it, audit a network of one's own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from rlleak.attacks.defaults import run_attack
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.configuration.attacks import AttackSettings
from rlleak.errors import ConfigurationError
from rlleak.learners.batch import Batch
from rlleak.learners.reading import read
from rlleak.sharing.modules import CapturedUpdate, capture_module, loss_of, received_file
from rlleak.sharing.update import SharedUpdate
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

    Further options are the loss's constants (gamma, entropy_weight, value_weight, clip; for DQN error="huber",
    double=True) and how the update travels (`rlleak.sharing.wire.Wire`): form="gradient" | "step" |
    "weight_difference", clip_norm, optimiser="SGD" | "Adam" ..., learning_rate, options={...} for the optimiser,
    precision="float32" | "float16".

    Raises ConfigurationError naming the layer that no attack can handle, why and what would do; or what of the batch
    does not fit.
    """
    if batch is None:
        raise ConfigurationError("share needs a batch: observation, action, reward and what the loss takes besides")
    wire = Wire(**{name: options.pop(name) for name in list(options) if name in _WIRE})
    return capture_module(
        network,
        loss_of(loss, options),
        batch,
        observation_space=observation_space,
        target_network=target_network,
        forward=forward,
        output=output,
        batch_size=batch_size,
        wire=wire,
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
    reading = read(network, observation_space, forward=forward)
    made = loss_of(loss, options)
    return received_file(path, network, made, reading=reading, output=output, batch_size=batch_size, wire=wire)


def attack(
    name: str | SharedUpdate | None = None,
    update: SharedUpdate | None = None,
    settings: AttackSettings | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    memory_limit_gb: float | None = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[str, int, int, float], None] | None = None,
    knowledge: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Reconstruction:
    """From a shared update back to experience: attack("peel", update), or attack(update) for the best one there is.

    name: in rlleak.attacks.ATTACKS. settings: an `AttackSettings`; default: the package's own for this attack, with
    `changes`: iterations, step_size (of every stage), tv_weight, restarts, and other fields of `AttackSettings`.
    seed: the attacker's. memory_limit_gb: what tensors may hold; work is cut to fit. knowledge: what some attacks are
    told besides (rlleak.attacks.METHODS). progress: called with (stage, done, of, loss).

    The reconstruction's `image` (V, C, H, W) is in [0, 1] and its `vector` as the network reads it;
    `update.observation(reconstruction)` gives both as the network's own observations. Raises ConfigurationError where
    the attack does not take such an update.
    """
    if update is None:
        name, update = None, name
    if not isinstance(update, SharedUpdate):
        raise ConfigurationError("attack needs an update: rlleak.attack('peel', rlleak.share(network, ...))")
    return run_attack(
        name,
        update,
        settings,
        seed=seed,
        device=device,
        memory_limit_gb=memory_limit_gb,
        checkpoint=checkpoint,
        progress=progress,
        knowledge=knowledge,
        **changes,
    )


def audit(network: nn.Module | str | Path, observation_space: Any = None, **options: Any) -> "Audit":
    """What a network's gradients leak, counted and measured; options as `rlleak.auditing.auditing.audit_network`.

    network: a torch module, or the path of a policy that stable-baselines3 (.zip) or CleanRL (.cleanrl_model, .pt)
    saved, or of a safetensors file of its weights: tensors are read, nothing is unpickled. observation_space: a
    gymnasium Box or Dict, or shapes. The result prints as a table; `save(folder)` writes JSON and HTML.
    """
    from rlleak.auditing.auditing import audit_file, audit_network  # only here: scripts that share need no renderer

    if isinstance(network, str | Path):
        return audit_file(network, observation_space, **options)
    return audit_network(network, observation_space, **options)

"""From experience to the network, the loss and the batch whose gradients a victim shares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.learners import LOSSES
from rlleak.learners.batch import Batch
from rlleak.learners.critic import CriticLoss, actor_spec, policy, with_action
from rlleak.learners.networks import PolicyNetwork, build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.seeds import derive
from rlleak.simulators import behaviour

if TYPE_CHECKING:
    from rlleak.simulators.recorded import Recorded


_KIND = "trained network"


class Training(NamedTuple):
    """One step of training on some transitions: `loss.objective(network, batch)`."""

    network: PolicyNetwork
    loss: Any
    batch: Batch

    def objective(self, network: PolicyNetwork, rows: Tensor) -> Tensor:
        """The loss over some of the transitions, (n,) numbers, of this network wherever its training has got to."""
        return self.loss.objective(network, self.batch.select(rows))


def prepare_training(
    experience: Recorded,
    *,
    learner: str,
    setting: str,
    architecture: Mapping[str, Any],
    constants: Mapping[str, Any],
    network_seed: int,
    depth_limit: float,
    precision: str = "float32",
    parameters: Mapping[str, Tensor] | None = None,
) -> Training:
    """What every victim computes its gradient from.

    The network is freshly initialised, as in QGI's section V, or has the given (trained) parameters; DQN's target
    network is then a copy of it (Mnih et al. 2015 copy it at the start, and now and then). A network with one output
    gives a state's value: DQN's loss is then TD(0)'s, and its action is 0 whatever was done; a critic's gives the value
    of its state and continuous action, and the architecture counts both in its vector_size. learner: a name in
    rlleak.learners.LOSSES; constants: its arguments; setting: S1, S2 or an environment; depth_limit: metres that depth
    1.0 stands for; precision: float32 or float64, of the computation. parameters: by name; where there is an actor too
    as "critic/<name>" and "actor/<name>".
    """
    dtype = getattr(torch, precision)
    spec = NetworkSpec.model_validate(dict(architecture))
    network = _network(spec, network_seed, parameters, "critic").to(dtype)
    loss = LOSSES.load(learner)(**constants)
    # REINFORCE weighs log pi with the return R_t; DQN's target is made from the reward of one step.
    reward = experience.return_to_go if learner == "reinforce" else experience.reward
    action = torch.from_numpy(experience.action)
    seen, following = (
        {name: tensor.to(dtype) for name, tensor in experience.observations(setting, depth_limit, next=after).items()}
        for after in (False, True)
    )
    if isinstance(loss, CriticLoss):
        actor = actor_spec(spec, action.shape[1])
        actor = _network(actor, derive(network_seed, "actor"), parameters, "actor").to(dtype).requires_grad_(False)
        loss = replace(loss, actor=actor)
        seen, following = with_action(seen, action.to(dtype)), with_action(following, policy(actor, following))
    batch = Batch(
        observation=seen,
        action=action if spec.outputs > 1 else torch.zeros(len(action), dtype=torch.int64),
        reward=torch.from_numpy(reward).to(dtype),
        next_observation=following,
        terminated=torch.from_numpy(experience.terminated),
    )
    return Training(network, loss, loss.with_target(batch, network))


def _network(spec: NetworkSpec, seed: int, parameters: Mapping[str, Tensor] | None, part: str) -> PolicyNetwork:
    """A fresh network, or the one whose parameters are given, alone or as a part."""
    network = build_network(spec, seed)
    if parameters is not None:
        own = {
            name.removeprefix(f"{part}/"): value for name, value in parameters.items() if name.startswith(f"{part}/")
        }
        network.load_state_dict(own or dict(parameters))
    return network


def save_parameters(path: str | Path, network: PolicyNetwork, description: Mapping[str, Any]) -> None:
    """Writes a trained network's parameters, which are public."""
    write_tensors(path, _KIND, network.state_dict(), description)


def save_networks(path: str | Path, parameters: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Writes several trained networks' parameters, which are public, by "role/name"."""
    write_tensors(path, _KIND, parameters, description)


def load_parameters(path: str | Path | None) -> dict[str, Tensor] | None:
    """What `save_parameters` wrote, or a behaviour policy's networks; None for no path.

    Raises CorruptArtefactError if it is anything else.
    """
    return read_tensors(path, (_KIND, behaviour.KIND))[0] if path else None

"""From experience to the network, the loss and the batch whose gradients a victim shares."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.learners import LOSSES
from rlleak.learners.batch import Batch
from rlleak.learners.networks import PolicyNetwork, build_network
from rlleak.learners.specification import NetworkSpec

if TYPE_CHECKING:
    from rlleak.simulators.recorded import Recorded


_KIND = "trained network"


class Training(NamedTuple):
    """One step of training on some transitions: `loss(network(batch.observation), batch)`."""

    network: PolicyNetwork
    loss: Any
    batch: Batch


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
    gives a state's value: DQN's loss is then TD(0)'s, and its action is 0 whatever was done. learner: a name in
    rlleak.learners.LOSSES; constants: its arguments; setting: S1, S2 or a game; depth_limit: metres that depth 1.0
    stands for; precision: float32 or float64, of the computation.
    """
    network = build_network(NetworkSpec.model_validate(dict(architecture)), network_seed)
    if parameters is not None:
        network.load_state_dict(dict(parameters))
    dtype = getattr(torch, precision)
    loss = LOSSES.load(learner)(**constants)
    # REINFORCE weighs log pi with the return R_t; DQN's target is made from the reward of one step.
    reward = experience.return_to_go if learner == "reinforce" else experience.reward
    action = torch.from_numpy(experience.action)
    seen, following = (
        {name: tensor.to(dtype) for name, tensor in experience.observations(setting, depth_limit, next=after).items()}
        for after in (False, True)
    )
    batch = Batch(
        observation=seen,
        action=action if network.spec.outputs > 1 else torch.zeros_like(action),
        reward=torch.from_numpy(reward).to(dtype),
        next_observation=following,
        terminated=torch.from_numpy(experience.terminated),
    )
    network = network.to(dtype)
    return Training(network, loss, loss.with_target(batch, network))


def save_parameters(path: str | Path, network: PolicyNetwork, description: Mapping[str, Any]) -> None:
    """Writes a trained network's parameters, which are public."""
    write_tensors(path, _KIND, network.state_dict(), description)


def load_parameters(path: str | Path | None) -> dict[str, Tensor] | None:
    """What `save_parameters` wrote; None for no path. Raises CorruptArtefactError if it is anything else."""
    return read_tensors(path, _KIND)[0] if path else None

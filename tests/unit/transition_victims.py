"""Small victims for tests of attacks on transitions, in a linear world whose dynamics an attacker can know."""

from dataclasses import replace

import torch
from torch import Tensor
from transition_worlds import HOPPER_ACTION, HOPPER_STATE, linear_world

from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.configuration.attacks import TransitionSettings
from rlleak.learners.critic import CriticLoss
from rlleak.learners.networks import build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.priors.dynamics import VectorDynamics
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.sharing.update import SharedUpdate

SHAPE = {"kind": "vector", "state_size": HOPPER_STATE, "action_size": HOPPER_ACTION, "width": 8}
GUESSED = ("state", "action", "reward", "next_state")


def world(count: int, seed: int) -> dict[str, Tensor]:
    """Transitions with rewards in [-1, 1]."""
    found = linear_world(count, seed)
    return found | {"reward": found["state"][:, 0].sin()}


def prior_of_world(**changes: object) -> TransitionPrior:
    """What an attacker believes who knows the world's dynamics exactly."""
    seen = world(500, seed=1)
    dynamics = VectorDynamics(HOPPER_STATE, HOPPER_ACTION, width=8)
    dynamics.fit_affine(seen["state"], seen["action"], seen["next_state"], ridge=1e-12)
    prior = TransitionPrior(
        "Hopper",
        "0.3%",
        state_mean=seen["state"].mean(dim=0),
        state_covariance=torch.cov(seen["state"].T),
        reward_range=(-1.0, 1.0),
        reward_deviation=float(seen["reward"].std()),
        transitions=world(24, seed=2),
        dynamics=dynamics,
        dynamics_shape=SHAPE,
        held_out_error=1e-9,
        no_change_error=1.0,
    )
    return replace(prior, **changes)


def shared_by(
    count: int,
    size: int = 1,
    residual: bool = False,
    seed: int = 0,
    hidden: tuple[int, ...] = (48, 40),
    dtype: torch.dtype = torch.float32,
) -> tuple[SharedUpdate, dict[str, Tensor]]:
    """What critics' victims share, `size` transitions each, and the truth (V, B, ...) about them."""
    spec = NetworkSpec(vector_size=HOPPER_STATE + HOPPER_ACTION, hidden=hidden, outputs=1)
    actor = NetworkSpec(vector_size=HOPPER_STATE, hidden=hidden, outputs=HOPPER_ACTION)
    loss = CriticLoss(residual=residual, actor=build_network(actor, seed + 50).to(dtype))
    network = build_network(spec, seed).to(dtype)
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    nothing = {name: value.new_zeros(1, *value.shape) for name, value in parameters.items()}
    server = SharedUpdate(spec, parameters, nothing, loss.constants, size, others=loss.others)
    truth = world(count * size, seed=seed + 100)
    update = TemporalDifference(server).share(truth)
    return update, {name: value.unflatten(0, (count, size)) for name, value in truth.items()}


def settings(method: str, **changes: object) -> TransitionSettings:
    """Settings that take milliseconds."""
    told = {"step_size": 0.1, "iterations": 30, "search_iterations": 5, "restarts": 2}
    return TransitionSettings.model_validate({"method": method, **told, **changes})

"""Learns what an attacker knows of transitions from the few of its own: statistics, a reward range, a model f."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlleak.configuration.attacks import PRIOR_SIZES
from rlleak.configuration.environments import ENVIRONMENTS, Environment
from rlleak.errors import ConfigurationError
from rlleak.priors.dynamics import Dynamics, ImageDynamics, TableDynamics, VectorDynamics, build_dynamics, unchanged
from rlleak.priors.own_transitions import OwnTransitions
from rlleak.priors.transition_prior import TransitionPrior, nothing_known
from rlleak.registry import unknown_name
from rlleak.simulators.transitions import Transitions

TRAINED, CHOSEN = 0.8, 0.9
"""f learns from the first share of the transitions, its epoch is chosen on those up to the second, the rest measure."""
OWN = 128
"""Of the transitions that f did not learn from, so many are kept for the attacker to try attacks on."""
_RIDGES = (1e-3, 1e-2, 1e-1, 1.0)
_WARM_UP = 0.2  # of all steps

Progress = Callable[[int, int, float], None]
"""Called with epochs done, epochs in all, and f's error on transitions that it does not learn from."""


@dataclass(frozen=True)
class _Effort:
    """How a network learns: transitions per step, its largest step size."""

    batch: int
    step_size: float


_EFFORTS = {"vector": _Effort(64, 3e-3), "image": _Effort(16, 6e-3)}


def learn(
    setting: str,
    transitions: Transitions,
    amount: str,
    *,
    epochs: int,
    seed: int,
    device: str | torch.device = "cpu",
    progress: Progress = lambda done, total, error: None,
) -> TransitionPrior:
    """The prior of an attacker who holds `amount` of its own transitions of an environment.

    amount: a name in `PRIOR_SIZES`; the first so many transitions, so that smaller amounts are part of larger ones.
    "biased": of those of "0.3%" the half that lies on one side of the states' first principal component. "none": see
    `nothing_known`. epochs: of f; the one with the lowest error on a tenth of the transitions is kept, and another
    tenth, of other players as far as there are several, gives `held_out_error`. A finite world is counted, not learnt.
    The same seed gives the same prior on the same machine.

    Raises ConfigurationError for an unknown environment or amount, for transitions of another environment, and where
    there are fewer than asked.
    """
    if setting not in ENVIRONMENTS:
        raise unknown_name("environment", setting, list(ENVIRONMENTS))
    if amount == "none":
        return nothing_known(setting)
    environment, generator = ENVIRONMENTS[setting], torch.Generator().manual_seed(seed)
    own = _own(environment, transitions, amount).shuffled(generator)
    trained, chosen = (int(share * len(own)) for share in (TRAINED, CHOSEN))
    mean, covariance = own.statistics()
    rewards = transitions.reward[own.rows]
    prior = TransitionPrior(
        setting,
        amount,
        mean,
        covariance,
        reward_range=(float(rewards.min()), float(rewards.max())),
        reward_deviation=float(rewards.std()),
        transitions=own.part(trained, min(trained + OWN, len(own))).kept(),
        metadata={"transitions": len(own), "epochs": epochs, "seed": seed},
    )
    shape = _shape_of(environment)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dynamics = build_dynamics(shape)
    scale = prior.state_scale.to(device)
    parts = own.part(0, trained), own.part(trained, chosen)
    _prepare(dynamics, *parts, prior.state_scale)
    dynamics = dynamics.to(device, memory_format=torch.channels_last)
    if shape["kind"] in _EFFORTS:
        _train(dynamics, *parts, scale, _EFFORTS[shape["kind"]], epochs, generator, progress)
    unseen = own.part(chosen, len(own))
    with torch.no_grad():
        errors = {
            "held_out_error": _error(dynamics, unseen, scale),
            "no_change_error": _error(lambda state, action: unchanged(state, prior.stacked), unseen, scale),
        }
    return replace(prior, dynamics=dynamics.cpu(), dynamics_shape=shape, **errors)


def _own(environment: Environment, transitions: Transitions, amount: str) -> OwnTransitions:
    """What an amount holds. Raises ConfigurationError as `learn` says."""
    learnt_from = {name: size for name, size in PRIOR_SIZES.items() if size}
    if amount not in learnt_from:
        raise unknown_name("amount of a prior", amount, ["none", *learnt_from])
    if transitions.environment != environment.name:
        raise ConfigurationError(
            f"the attacker's transitions are of {transitions.environment} and the prior is of {environment.name}; "
            "play the same environment"
        )
    size = learnt_from[amount]
    if len(transitions) < size:
        raise ConfigurationError(
            f"a prior of {amount} is learnt from {size} transitions of {environment.name} and the attacker played "
            f"{len(transitions)}; let it play more, or ask for less"
        )
    own = OwnTransitions(environment, transitions, np.arange(size))
    return own.on_one_side() if amount == "biased" else own


def _shape_of(environment: Environment) -> dict[str, Any]:
    """What kind of f fits an environment, and its arguments."""
    if environment.kind == "grid":
        return {"kind": "table", "state_size": environment.vector_size, "action_size": environment.actions}
    if environment.image_shape is None:
        sizes = {"state_size": environment.vector_size, "action_size": environment.actions}
        return {"kind": "vector", **sizes, "width": 128}
    stacked, shape = environment.kind == "atari", list(environment.image_shape)
    return {"kind": "image", "image_shape": shape, "action_size": environment.actions, "stacked": stacked, "width": 16}


def _prepare(dynamics: Dynamics, trained: OwnTransitions, chosen: OwnTransitions, scale: Tensor) -> None:
    """Sets what is known in closed form; the ridge of an affine map is the one with the lowest error on `chosen`."""
    match dynamics:
        case TableDynamics():
            dynamics.fit(*trained.batch(slice(None)))
        case VectorDynamics():
            every = trained.batch(slice(None))
            errors = {}
            for ridge in _RIDGES:
                dynamics.fit_affine(*every, ridge)
                errors[ridge] = _error(dynamics, chosen, scale)
            dynamics.fit_affine(*every, min(errors, key=errors.__getitem__))
        case ImageDynamics():
            dynamics.background.copy_(trained.mean()[-len(dynamics.background) :])


def _train(
    dynamics: Dynamics,
    trained: OwnTransitions,
    chosen: OwnTransitions,
    scale: Tensor,
    effort: _Effort,
    epochs: int,
    generator: torch.Generator,
    progress: Progress,
) -> None:
    """Leaves f as it was after its best epoch, the one before the first among them."""
    steps = epochs * math.ceil(len(trained) / effort.batch)
    optimiser = torch.optim.AdamW(dynamics.parameters(), lr=effort.step_size, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _share(step, steps))
    best, kept = _error(dynamics, chosen, scale), copy.deepcopy(dynamics.state_dict())
    for epoch in range(epochs):
        for index in torch.randperm(len(trained), generator=generator).split(effort.batch):
            state, action, following = (tensor.to(scale.device) for tensor in trained.batch(index))
            loss = ((dynamics(state, action) - following) / scale).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
        error = _error(dynamics, chosen, scale)
        if error < best:
            best, kept = error, copy.deepcopy(dynamics.state_dict())
        progress(epoch + 1, epochs, error)
    dynamics.load_state_dict(kept)


def _share(step: int, steps: int) -> float:
    """Of the step size: warmed up, then along a cosine."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / max(steps, 1)))
    return min(1.0, (step + 1) / (_WARM_UP * steps + 1)) * cosine


@torch.no_grad()
def _error(predict: Callable[[Tensor, Tensor], Tensor], own: OwnTransitions, scale: Tensor) -> float:
    """Mean over transitions and numbers of ((f(s, a) - s') / scale)^2."""
    total = torch.zeros((), dtype=torch.float64, device=scale.device)
    for part in own.batches():
        state, action, following = (tensor.to(scale.device) for tensor in part)
        error = ((predict(state, action) - following) / scale).square().flatten(1).mean(dim=1)
        total += error.double().sum()
    return float(total) / len(own)

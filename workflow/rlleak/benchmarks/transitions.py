"""RGIA's search side by side and one at a time: the same loss, written by `TransitionMatching` and as one writes it."""

from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor

from rlleak.attacks.optimisation import EPSILON, Descent
from rlleak.attacks.transitions.matching import Problem, TransitionMatching
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.searching import starting_points
from rlleak.benchmarks.cases import Case
from rlleak.configuration.attacks import StageSettings
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.learners.critic import CriticLoss, policy
from rlleak.learners.networks import build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.priors.dynamics import build_dynamics
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.sharing.update import SharedUpdate

RESTARTS = 4
WEIGHTS = {"alpha": 0.01, "beta": 0.1, "gamma": 0.1}
STEP = 0.1
_STAGE = StageSettings(step_size=1.0, iterations=10**6, schedule="constant")


def victims_of(case: Case) -> TemporalDifference:
    """Critics' victims in an environment: TD3's network, one transition each; which states they are costs nothing."""
    environment, hidden = ENVIRONMENTS[case.scene], (16, 16) if case.quick else (256, 256)
    spec = NetworkSpec(hidden=hidden, **environment.value_inputs)
    actor = build_network(NetworkSpec(hidden=hidden, **environment.actor_inputs), 1)
    network, loss = build_network(spec, 0), CriticLoss(actor=actor, residual=case.target == "residual")
    parameters = {name: value.detach() for name, value in network.named_parameters()}
    gradients = {name: torch.zeros(1, *shape) for name, shape in spec.parameter_shapes.items()}
    generator = torch.Generator().manual_seed(1)
    state, following = torch.randn(2, case.victims, environment.vector_size, generator=generator)
    truth = {"state": state, "next_state": following, "reward": torch.randn(case.victims, generator=generator)}
    truth["action"] = torch.rand(case.victims, environment.actions, generator=generator) * 2 - 1
    known = TemporalDifference(SharedUpdate(spec, parameters, gradients, loss.constants, others=loss.others))
    return TemporalDifference(known.share(truth))


def prior_of(case: Case) -> TransitionPrior:
    """Beliefs of the size that an attacker learns."""
    environment = ENVIRONMENTS[case.scene]
    size = environment.vector_size
    shape = {"kind": "vector", "state_size": size, "action_size": environment.actions}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        dynamics = build_dynamics(shape)
    return TransitionPrior(
        case.scene,
        "0.3%",
        torch.zeros(size),
        torch.eye(size),
        reward_range=(-1.0, 1.0),
        dynamics=dynamics,
        dynamics_shape=shape,
        held_out_error=0.1,
        no_change_error=1.0,
    )


def side_by_side(victims: TemporalDifference, prior: TransitionPrior) -> Callable[[], Tensor]:
    """One iteration of all problems: every victim's restarts."""
    problems = [Problem(STEP, restart, prior="0.3%", **WEIGHTS) for restart in range(RESTARTS)]
    matching = TransitionMatching(victims, problems, {"0.3%": prior})
    variables = matching.variables(starting_points(victims, problems, seed=3))
    return Descent(matching, variables, _STAGE).iterate


def one_at_a_time(victims: TemporalDifference, prior: TransitionPrior) -> Callable[[], Tensor]:
    """One iteration of the first problem alone, by torch.autograd.grad(create_graph=True)."""
    network, loss = victims.rebuilt()
    names, parameters = zip(*network.named_parameters(), strict=True)
    shared = [victims.update.gradients[name][0] for name in names]
    size = sum(part.square().sum() for part in shared)
    start = starting_points(victims, [Problem(STEP)], seed=3)
    values = {name: value[0].clone().requires_grad_() for name, value in start.items()}
    with torch.no_grad():
        values["action"].clamp_(-1, 1)
    optimiser = torch.optim.Adam(list(values.values()), lr=STEP, eps=EPSILON)

    def iterate() -> Tensor:
        state, action, following = values["state"], values["action"], values["next_state"]
        value = network({"vector": torch.cat([state, action], dim=1)})[:, 0]
        chosen = policy(loss.actor, {"vector": following})
        best = network({"vector": torch.cat([following, chosen], dim=1)})[:, 0]
        miss = value - values["reward"] - loss.gamma * best
        if loss.residual:
            found = torch.autograd.grad(miss.square().mean(), parameters, create_graph=True)
        else:
            found = torch.autograd.grad(value, parameters, 2 * miss, create_graph=True)
        total = sum((own - other).square().sum() for own, other in zip(found, shared, strict=True)) / size
        total = total + WEIGHTS["alpha"] * prior.state_penalty(state).mean()
        total = total + WEIGHTS["beta"] * prior.reward_penalty(values["reward"]).mean()
        total = total + WEIGHTS["gamma"] * prior.dynamics_penalty(state, action, following).mean()
        gradients = torch.autograd.grad(total, list(values.values()), allow_unused=True)
        for leaf, gradient in zip(values.values(), gradients, strict=True):
            leaf.grad = gradient
        optimiser.step()
        with torch.no_grad():
            action.clamp_(-1, 1)
        return total.detach()

    return iterate


def measure_transitions(
    case: Case, interleaved: Callable[[dict[str, Callable[[], object]], bool], dict[str, list[float]]]
) -> dict[str, Any]:
    """Milliseconds per problem (a victim's restart) and iteration, both ways, in turns."""
    victims, prior = victims_of(case), prior_of(case)
    both = {"engine": side_by_side(victims, prior), "reference": one_at_a_time(victims, prior)}
    found, problems = interleaved(both, case.quick), case.victims * RESTARTS
    each = median(found["engine"]) / problems
    return {
        "ms": each * 1e3,
        "reference_ms": median(found["reference"]) * 1e3,
        "speedup": median(b * problems / a for a, b in zip(found["engine"], found["reference"], strict=True)),
        "problems": problems,
        "iterations_per_second": 1 / each,
        "note": f"{RESTARTS} restarts per victim; a problem is one restart",
    }

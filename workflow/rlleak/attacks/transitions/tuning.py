"""The attacker's search for step sizes, on transitions of its own: there it knows the truth."""

from collections.abc import Mapping

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rlleak.attacks.transitions.objective import Guess, TemporalDifference
from rlleak.priors.transition_prior import TransitionPrior

OWN_UPDATES, OWN_IMAGES = 8, 3
"""Updates that the attacker makes of its own transitions; fewer where states are images, which take a thousand times as
long."""
HOPELESS = 2.0
"""A component's error, in variances, beyond which it counts no more: twice what any guess within the prior has."""


def own_transitions(
    victims: TemporalDifference, prior: TransitionPrior, seed: int, most: int | None = None
) -> dict[str, Tensor]:
    """N transitions, a multiple of B: from `prior.transitions`, or drawn from the attacker's beliefs if it has none.

    most: updates that they make; None: as many as the search for step sizes takes.
    """
    size, most = victims.batch_size, most or (OWN_UPDATES if len(victims.state_shape) == 1 else OWN_IMAGES)
    have = len(prior.transitions.get("reward", ()))
    updates = min(most, have // size)
    generator = torch.Generator().manual_seed(seed)
    if updates:
        chosen = torch.randperm(have, generator=generator)[: updates * size]
        return {name: value[chosen] for name, value in prior.transitions.items()}
    count = most * size
    noise = [torch.randn(count, *victims.state_shape, generator=generator) for _ in range(2)]
    state, following = (prior.state_mean.cpu() + prior.state_scale.cpu() * part for part in noise)
    if len(victims.state_shape) == 3:
        state, following = state.clamp(0, 1), following.clamp(0, 1)
    action = torch.rand(count, victims.actions, generator=generator) * 2 - 1
    if not victims.continuous:
        action = torch.nn.functional.one_hot(action.argmax(dim=1), victims.actions).float()
    reward = prior.reward_deviation * torch.randn(count, generator=generator)
    return {"state": state, "next_state": following, "action": action, "reward": reward}


def errors_against(truth: Guess, guess: Guess, prior: TransitionPrior) -> Tensor:
    """How wrong guesses (V, P, B, ...) at transitions (V * B, ...) are, (V, P).

    The mean over s, a, r and s' of squared errors in variances of the prior, each at most `HOPELESS`; samples of a
    batch are matched to the truth as fits best.
    """
    victims, problems, size = guess["reward"].shape
    scales = {
        "state": prior.state_scale,
        "next_state": prior.state_scale,
        "reward": torch.tensor(prior.reward_deviation),
    }
    total: Tensor | float = 0.0
    for name, value in guess.items():
        true = truth[name].to(value).view(victims, 1, 1, size, *value.shape[3:])
        off = (value[:, :, :, None] - true) / scales.get(name, torch.ones(())).to(value).clamp_min(1e-6)
        own = off.square().flatten(4).mean(dim=4) if off.dim() > 4 else off.square()
        total = total + own.clamp(max=HOPELESS) / len(guess)
    if size == 1:
        return total[:, :, 0, 0]
    pairs = total.cpu()
    found = torch.empty(victims, problems)
    for victim in range(victims):
        for problem in range(problems):
            cost = pairs[victim, problem].numpy()
            found[victim, problem] = float(cost[linear_sum_assignment(cost)].mean())
    return found


def best_steps(errors: Mapping[float, Tensor]) -> float:
    """The candidate whose mean error over the attacker's own updates is lowest, the first of equals."""
    return min(errors, key=lambda step: (float(errors[step].double().nan_to_num(HOPELESS).mean()), step))

"""What the last bias's gradient says outright: the error at the output, and with it DQN's action (iDLG's idea; Zhao et
al. 2020 read a classifier's label off its last layer's gradient).
"""

import torch
from torch import Tensor

from rlleak.attacks.targets import reciprocal
from rlleak.attacks.transitions.objective import Guess, TemporalDifference

UNSEEN = 1e-3
"""Share of the largest entry below which an output counts as not chosen."""


def known_errors(victims: TemporalDifference) -> Tensor | None:
    """Errors at the output of each sample, (V, K, outputs), over one transition each; None where they are mixed.

    A semi-gradient's is the bias's gradient itself, at one output. A residual one's is the sum of e at a and -gamma e
    at a': two entries of which the smaller stands at a', or a single one, (1 - gamma) e, where both are the same
    output. None for batches, and where not all of that gradient arrived.
    """
    shared = victims.update.gradients.get("head.bias")
    if shared is None or victims.batch_size != 1 or "head.bias" in victims.update.known:
        return None
    size, order = shared.abs().sort(dim=1, descending=True)
    first = torch.nn.functional.one_hot(order[:, 0], shared.shape[1]).to(shared)
    if not victims.residual:
        return (first * shared)[:, None]
    if shared.shape[1] > 1:
        second = torch.nn.functional.one_hot(order[:, 1], shared.shape[1]).to(shared)
        both = (size[:, 1] > UNSEEN * size[:, 0])[:, None]
    else:
        second, both = first, torch.zeros_like(size, dtype=torch.bool)
    largest = (first * shared).sum(dim=1, keepdim=True)
    apart = torch.cat([(first * largest)[:, None], (-victims.gamma * second * largest)[:, None]], dim=1)
    error = largest * reciprocal(torch.full_like(largest, 1 - victims.gamma))
    same = torch.cat([(first * error)[:, None], (-victims.gamma * first * error)[:, None]], dim=1)
    return torch.where(both[:, None], apart, same)


@torch.no_grad()
def reward_by_algebra(victims: TemporalDifference, guess: Guess) -> dict[str, Tensor]:
    """Guesses (V, P, B, ...) with r = Q(s, a) - gamma V(s') - td, td read off the last bias's gradient.

    As they are where `known_errors` knows nothing; DQN's action is then the one that was read.
    """
    errors = known_errors(victims)
    if errors is None:
        return dict(guess)
    lead = guess["reward"].shape
    flat = {name: value.flatten(0, 2) for name, value in guess.items()}
    error = errors[:, None, 0].expand(-1, lead[1], -1).flatten(0, 1)
    action = flat["action"]
    if not victims.continuous:
        action = torch.nn.functional.one_hot(error.abs().argmax(dim=1), error.shape[1]).to(action)
    output = victims.network(victims.observation(flat["state"], action))
    chosen = output if victims.continuous else output * action
    miss = error.sum(dim=1) / (1 if victims.huber else 2)
    reward = chosen.sum(dim=1) - victims.gamma * victims.value(flat["next_state"]) - miss
    return dict(guess) | {"reward": reward.view(lead), "action": action.view(*lead, -1)}

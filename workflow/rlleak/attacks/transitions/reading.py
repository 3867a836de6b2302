"""What algebra reads off an update about each of its transitions, and which parts it leaves open."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from rlleak.attacks.batch_heads import batch_heads
from rlleak.attacks.batch_images import batch_images
from rlleak.attacks.closed_form import closed_form
from rlleak.attacks.peel import peel
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.configuration.attacks import AttackSettings
from rlleak.priors.around import Around
from rlleak.priors.variation import TotalVariation

PAIRED = 1e-2
"""Relative misfit below which two errors are e and -gamma e of one residual transition."""

Attack = Callable[..., Reconstruction]


@dataclass(frozen=True)
class Read:
    """V victims' B transitions, each in a row of its own; what is not known is 0.

    state (V, B, *S), action (V, B, A), one-hot or values, error: the temporal difference Q(s, a) - y (V, B), and
    chosen: Q(s, a). An error that is not known (a shortened gradient's) is NaN. given: (V, B) bool, rows that hold a
    transition, perhaps by least squares only. claimed: those of them of which no assumption failed. seen: those given
    whose state is there too.
    next_state, with following (V, B) bool: where it is read, from a residual gradient.
    """

    state: Tensor
    action: Tensor
    chosen: Tensor
    error: Tensor
    given: Tensor
    claimed: Tensor
    seen: Tensor
    next_state: Tensor
    following: Tensor


def read(
    victims: TemporalDifference,
    seed: int,
    memory_limit: int | None,
    progress: Callable[[str, int, int, float], None] | None = None,
    mean: Tensor | None = None,
) -> Read:
    """One transition: every linear layer solved, an image peeled. Several, or a residual one: samples told apart.

    mean: what states that are images have in common; what the samples' sums leave open is sought near it.
    """
    device = next(iter(victims.network.parameters.values())).device

    def run(attack: Attack, size: int = victims.samples, **told: Any) -> Reconstruction:
        update = replace(victims.update, batch_size=size)
        settings = AttackSettings(method=attack.__name__)
        place = {"seed": seed, "device": device, "memory_limit": memory_limit, "progress": progress}
        return attack(update, settings, **place, knowledge=told)

    seen = _peelable(victims)
    if victims.samples == 1:
        return _alone(victims, run(peel if seen else closed_form))
    told = {"prior": Around(mean, TotalVariation())} if seen and mean is not None else {}
    apart = run(batch_images, **told) if seen else run(batch_heads)
    if not victims.residual:
        return _as_read(victims, *_claims(apart), 1)
    found = _residual(victims, *_claims(apart))
    if victims.batch_size == 1 and not bool(found.claimed.all()):
        # Of rank 1: s' left nothing because the episode ended, or it is s, and both are one sample.
        return _first_choice(found, _alone(victims, run(closed_form, 1)))
    return found


def leans_on_states(victims: TemporalDifference) -> bool:
    """Whether what is read owes something to what states have in common: images of samples that share a gradient."""
    return victims.samples > 1 and _peelable(victims)


def _peelable(victims: TemporalDifference) -> bool:
    return bool(victims.network.spec.convolutions) and victims.network.spec.activation == "relu"


def _alone(victims: TemporalDifference, found: Reconstruction) -> Read:
    """With noise, least squares are given and not claimed; a residual gradient's noise is its other sample."""
    reasons = ("dead_layer", "several_samples", "no_bias", *(("noise",) if victims.residual else ()))
    given = sum(found.trust[reason] for reason in reasons)[:, None] == 0
    stacked = {name: value[:, None] for name, value in found.components.items()}
    own = _as_read(victims, stacked, given.to(found.action.device), 1)
    failed, unseen = (found.trust[name][:, None].to(own.error) > 0 for name in ("assumption_failed", "error_unseen"))
    return replace(own, claimed=own.given & ~failed, error=own.error.masked_fill(unseen, torch.nan))


def _claims(found: Reconstruction) -> tuple[dict[str, Tensor], Tensor]:
    return found.components, found.claimed


def _first_choice(found: Read, other: Read) -> Read:
    """The other's rows where the first has none."""
    chosen = found.claimed

    def either(first: Tensor, second: Tensor) -> Tensor:
        return torch.where(chosen.view(*chosen.shape, *[1] * (first.dim() - 2)), first, second)

    return Read(**{name: either(value, getattr(other, name)) for name, value in vars(found).items()})


def _as_read(victims: TemporalDifference, found: dict[str, Tensor], claimed: Tensor, size: int) -> Read:
    """Of components (V, B, ...); size: samples that the errors were taken to be a mean over, per transition."""
    like = next(iter(victims.network.parameters.values()))
    vector = found.get("vector")
    if victims.continuous:
        action = vector[..., -victims.actions :]
        vector = vector[..., : -victims.actions]
    else:
        action = torch.nn.functional.one_hot(found["action"], victims.actions)
    state = found.get("image") if len(victims.state_shape) == 3 else vector
    seen = claimed if state is not None else torch.zeros_like(claimed)
    if state is not None and len(victims.state_shape) == 3:
        # Of batches that are not claimed whole there are no images, only zeros.
        seen = claimed & state.flatten(2).any(dim=2)
    if state is None:
        state = torch.zeros(*claimed.shape, *victims.state_shape)
    # Of a head of which no bias arrived neither is known.
    unknown = torch.full(claimed.shape, torch.nan, dtype=like.dtype)
    predicted, target = (found.get(name, unknown) for name in ("predicted_q", "target_q"))
    error = (predicted - target) / size
    empty, never = torch.zeros_like(state), torch.zeros_like(claimed)
    parts = [state, action, predicted, error, claimed, claimed, seen, empty, never]
    moved = [part.to(like.device) if part.dtype == torch.bool else part.to(like) for part in parts]
    return Read(*moved)


def _residual(victims: TemporalDifference, components: dict[str, Tensor], claimed: Tensor) -> Read:
    """Samples of errors e and -gamma e belong together; a critic's next action is its actor's, DQN's the best one."""
    every = _as_read(victims, components, claimed, 2)
    rows = [_paired(victims, every, victim) for victim in range(len(every.claimed))]
    columns = zip(*(vars(row).values() for row in rows), strict=True)
    return Read(*(torch.stack(part) for part in columns))


def _paired(victims: TemporalDifference, every: Read, victim: int) -> Read:
    """One victim's B transitions, of its up to 2 B samples; a sample without a partner is one whose s' left nothing."""
    samples = every.claimed[victim].nonzero()[:, 0]
    size = victims.batch_size
    first, after = _pairs(victims, every, victim, samples)
    kept = {name: torch.zeros_like(value[victim, :size]) for name, value in vars(every).items()}
    for row, (index, other) in enumerate(list(zip(first, after, strict=True))[:size]):
        for name, value in vars(every).items():
            kept[name][row] = value[victim, index]
        if other is not None:
            kept["next_state"][row], kept["following"][row] = every.state[victim, other], True
    return Read(**kept)


def _pairs(
    victims: TemporalDifference, every: Read, victim: int, samples: Tensor
) -> tuple[list[int], list[int | None]]:
    """Indices of samples that are (s, a), and of those that are their (s', a'), or None."""
    error = every.error[victim]
    up, down = (samples[(sign * error[samples] > 0)] for sign in (1, -1))
    if not len(up) or not len(down):
        return samples.tolist(), [None] * len(samples)
    off = _is_no_next(victims, every, victim)
    ways = []
    for one, two in ((up[:, None], down[None]), (down[None], up[:, None])):
        misfit = (error[two] + victims.gamma * error[one]).abs() / error[one].abs().clamp_min(1e-30)
        ways.append(misfit + off[two])
    cost = torch.minimum(*ways)
    first, after, left = [], [], set(samples.tolist())
    for row, column in zip(*linear_sum_assignment(cost.cpu().numpy()), strict=True):
        if float(cost[row, column]) > PAIRED:
            continue
        pair = int(up[row]), int(down[column])
        one, two = pair if bool(ways[0][row, column] <= ways[1][row, column]) else pair[::-1]
        first.append(one)
        after.append(two)
        left -= {one, two}
    return first + sorted(left), after + [None] * len(left)


def _is_no_next(victims: TemporalDifference, every: Read, victim: int) -> Tensor:
    """How far each sample's action is from what the policy would do there, (K,): 0 for a next action."""
    state, action = every.state[victim], every.action[victim]
    if not bool(every.seen[victim].any()):
        return torch.zeros(len(state)).to(state)
    with torch.no_grad():
        if victims.continuous:
            return (victims.policy(state) - action).norm(dim=1)
        best = victims.network(victims.state_of(state)).argmax(dim=1)
    return (best != action.argmax(dim=1)).to(state)

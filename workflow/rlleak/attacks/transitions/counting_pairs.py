"""Gradients of a finite world: how often each pair (s, a) stands in a batch, by integer least squares.

All places being known, so is the gradient of Q(s, a) of each pair, and a batch's gradient is a sum of these, each as
large as the errors at its pair add up to. There are fewer pairs than entries, so the sums follow by least squares,
however large the batch. What a pair leads to is always the same, and f foretells it: a sum is a whole multiple of one
error, and the multiples add up to B. A residual gradient's sums hold each s' too, which f lets apart (I - gamma P).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rlleak.attacks.transitions.counting import SAME_FIT, Counted, in_finite_world
from rlleak.attacks.transitions.exactness import precisions
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.reading import Read
from rlleak.attacks.transitions.searching import CPU_NUMBERS, in_double
from rlleak.attacks.transitions.splitting import RARELY, usual_reward
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.priors.transition_prior import TransitionPrior

DEVIATIONS = 5.0
"""Of what rounding and noise make of a sum, within which it is what an outcome says; and relatively, `SAME_FIT`."""

CONDITION = 1e-12
"""Of the pairs' gradients, relative; below it two places look alike."""


@dataclass(frozen=True)
class _Outcomes:
    """What may come of the pairs, J outcomes by P pairs, NaN where f says nothing: error Q(s, a) - y, how probable, and
    whether an episode ends.

    usual, spread: (P,), (): of an error of which nothing is foretold. expected: (P,), how often a batch holds a pair.
    following: (P,) the place that f foretells, or -1. goes_on: (P,) bool.
    """

    error: np.ndarray
    share: np.ndarray
    ended: np.ndarray
    usual: np.ndarray
    spread: float
    expected: np.ndarray
    following: np.ndarray
    goes_on: np.ndarray


def can_count_pairs(victims: TemporalDifference, prior: TransitionPrior) -> bool:
    """Whether these are gradients over transitions of so few pairs that all of their gradients can be held.

    Without f nothing tells a residual gradient's (s, a) from what it holds of s'; that of one transition says more than
    f does (`counting`).
    """
    if not in_finite_world(victims, prior):
        return False
    if victims.residual and (victims.batch_size == 1 or not prior.learnt):
        return False
    world = ENVIRONMENTS[prior.environment]
    numbers = sum(value.numel() for value in victims.network.parameters.values())
    return world.vector_size * world.actions * numbers <= CPU_NUMBERS


@torch.no_grad()
def counted_pairs(victims: TemporalDifference, prior: TransitionPrior) -> Counted:
    """The B transitions of each victim that its gradient, f and rewards as the attacker knows them make most probable.

    `as_good`: in how many ways the pairs' sums can be multiples that add up to B; NaN where B is 1. Claimed, all or
    nothing, where nothing but rounding is left to explain and there is one way. `error` is infinite where f is wrong of
    a residual gradient's pairs: what it left at s' would be taken for samples.
    """
    exact = in_double(TemporalDifference(victims.update.to("cpu")))
    beliefs = prior.to("cpu", torch.float64)
    gradients, values = _pairs(exact)
    best = values.argmax(dim=1).numpy()
    rows = []
    for victim in range(len(exact.update)):
        alone = TemporalDifference(exact.update.select(slice(victim, victim + 1)))
        rows.append(_one(alone, beliefs, gradients, values.flatten().numpy(), best))
    reads, ended, errors, ways = zip(*rows, strict=True)
    like = next(iter(victims.network.parameters.values()))
    columns = {name: torch.stack([getattr(row, name) for row in reads]) for name in vars(reads[0])}
    moved = {name: value.to(like.device if value.dtype == torch.bool else like) for name, value in columns.items()}
    if victims.batch_size == 1:
        ways = [float("nan")] * len(ways)  # one is counted in one way, whatever s' was
    told = torch.stack([torch.from_numpy(own) for own in ended]).to(like)
    return Counted(Read(**moved), torch.tensor(errors).to(like), torch.tensor(ways).to(like), told)


def _pairs(victims: TemporalDifference) -> tuple[dict[str, Tensor], Tensor]:
    """Of all pairs (s, a), P = S * A: the gradients of Q(s, a), (P, ...) by parameter; and Q, (S, A)."""
    network, places = victims.network, torch.eye(*victims.state_shape * 2, dtype=torch.float64)
    taken = torch.eye(victims.actions, dtype=torch.float64).repeat(len(places), 1)
    trace = network.forward(victims.state_of(places.repeat_interleave(victims.actions, dim=0)))
    found = {}
    for name, delta in network.backward(trace, taken).items():
        found[f"{name}.weight"] = delta[:, :, None] * trace.inputs[name][:, None]
        found[f"{name}.bias"] = delta
    return {name: found[name] for name in victims.update.gradients}, network(victims.state_of(places))


def _one(
    victims: TemporalDifference,
    prior: TransitionPrior,
    gradients: dict[str, Tensor],
    values: np.ndarray,
    best: np.ndarray,
) -> tuple[Read, np.ndarray, float, float]:
    """One victim's: what is read (B, ...), what ended (B,), its relative gradient error, in how many ways it fits."""
    size = victims.batch_size
    weight = {name: value[0] for name, value in precisions(victims.update).items()}
    arrived = torch.cat([(weight[name] > 0).flatten() for name in gradients]).numpy()
    flat = torch.cat([value.flatten(1) for value in gradients.values()], dim=1).numpy()[:, arrived]
    shared = torch.cat([victims.update.gradients[name][0].flatten() for name in gradients]).numpy()[arrived]
    weight = torch.cat([weight[name].expand_as(value[0]).flatten() for name, value in gradients.items()]).numpy()
    sums, covariance, apart = _sums(flat, shared, weight[arrived])
    outcomes = _outcomes(victims, prior, values, sums, covariance, best)
    if victims.residual:
        undo = np.linalg.inv(_traces(outcomes, best, victims.actions, victims.gamma))
        sums, covariance = undo @ sums, undo @ covariance @ undo.T
    deviation = np.sqrt(np.diag(covariance))
    fits, cost = _weighed(sums, deviation, outcomes, size)
    unknown = ~fits.any(axis=1)
    possible = np.where(unknown[:, None], np.arange(size + 1) > 0, fits)
    ways = _ways(possible, size)
    counts = _most_probable(np.where(possible, cost, np.inf) if ways else cost, size)
    error, ended = _errors(sums, deviation, outcomes, counts, size)
    explained = 2 / size * counts * error
    if victims.residual:
        explained = np.linalg.inv(undo) @ explained
    length = max(np.linalg.norm(shared), 1e-300)
    misfit = float(np.linalg.norm(shared - explained @ flat) / length)
    if victims.residual and unknown.any():
        misfit = float("inf")
    # A pair that f does not explain may stand there once; more often, another's error may be 0 instead.
    claimed = apart and ways == 1 and misfit <= SAME_FIT and bool((counts[unknown] == 1).all())
    pairs = np.repeat(np.arange(len(counts)), counts)
    return _rows(victims, outcomes, values, pairs, error, claimed), ended[pairs], misfit, float(ways)


def _sums(flat: np.ndarray, shared: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, bool]:
    """Least squares of pairs' gradients (P, n), their covariance (P, P), and whether all pairs can be told apart."""
    normal = (flat * weight) @ flat.T
    unit = 1 / np.sqrt(np.diag(normal).clip(1e-300))
    sizes, vectors = np.linalg.eigh(normal * unit[:, None] * unit)
    told = sizes > CONDITION * sizes[-1]
    inverse = (vectors[:, told] / sizes[told]) @ vectors[:, told].T * unit[:, None] * unit
    return inverse @ (flat @ (weight * shared)), inverse, bool(told.all())


def _outcomes(
    victims: TemporalDifference,
    prior: TransitionPrior,
    values: np.ndarray,
    sums: np.ndarray,
    covariance: np.ndarray,
    best: np.ndarray,
) -> _Outcomes:
    """Rewards that the attacker has met, after going on as f says or after an end.

    A residual gradient says which: what goes on leaves a trace at s', and what ends leaves none. A stay's is its own
    sample's, of which it takes all but (1 - gamma), so that little may be left to see: what stays goes on.
    """
    actions, own = victims.actions, prior.transitions
    places = torch.eye(len(values) // actions, dtype=torch.float64)
    taken = torch.eye(actions, dtype=torch.float64).repeat(len(places), 1)
    shares, following = prior.predict(places.repeat_interleave(actions, dim=0), taken).max(dim=1)
    following = np.where(prior.learnt & (shares.numpy() > 1 - RARELY), following.numpy(), -1)
    after = values.reshape(-1, actions).max(axis=1)[following]
    rewards, often = _met(own.get("reward"), prior)
    ends = float(own["terminated"].double().mean()) if "terminated" in own and len(own["terminated"]) else 0.0
    ends = min(max(ends, RARELY), 0.5)
    goes_on = np.ones(len(values), bool)
    if victims.residual:
        trace = following * actions + best[following]
        goes_on = np.abs(sums[trace]) > DEVIATIONS * np.sqrt(np.diag(covariance)[trace])
        goes_on |= trace == np.arange(len(values))
        ways = [(goes_on, np.ones(len(values)))]
    else:
        ways = [(goes_on, np.full(len(values), 1 - ends)), (~goes_on, np.full(len(values), ends))]
    error = [values - reward - victims.gamma * on * after for on, _ in ways for reward in rewards]
    share = np.array([rate * probable for _, rate in ways for probable in often])
    ended = np.array([~on for on, _ in ways for _ in rewards])
    error = np.where(following < 0, np.nan, np.array(error))
    met = np.zeros(len(values))
    middle, spread = usual_reward(prior) + victims.gamma * after.mean(), max(prior.reward_deviation, after.std())
    if len(own.get("reward", ())):
        pairs = own["state"].argmax(dim=1) * actions + own["action"].argmax(dim=1)
        met += np.bincount(pairs.numpy(), minlength=len(values))
    expected = victims.batch_size * (met + 0.5) / (met + 0.5).sum()
    return _Outcomes(error, share, ended, values - middle, spread, expected, following, goes_on)


def _met(own: Tensor | None, prior: TransitionPrior) -> tuple[list[float], list[float]]:
    """Rewards that the attacker has met, or else takes for usual, and how often."""
    counts: dict[float, float] = {} if prior.reward_range is None else dict.fromkeys(prior.reward_range, RARELY)
    for reward in () if own is None else own.tolist():
        counts[reward] = counts.get(reward, RARELY) + 1 / len(own)
    counts = counts or {usual_reward(prior): 1.0}
    return list(counts), list(counts.values())


def _traces(outcomes: _Outcomes, best: np.ndarray, actions: int, gamma: float) -> np.ndarray:
    """(P, P): what a sample at each pair (columns) leaves at all pairs of a residual gradient."""
    whole = np.eye(len(outcomes.following))
    chosen = np.flatnonzero((outcomes.following >= 0) & outcomes.goes_on)
    after = outcomes.following[chosen]
    np.add.at(whole, (after * actions + best[after], chosen), -gamma)
    return whole


def _foretold(outcomes: _Outcomes, size: int) -> np.ndarray:
    """The sums (J, P, B + 1) that outcomes make of each count."""
    return 2 / size * outcomes.error[:, :, None] * np.arange(size + 1)


def _weighed(sums: np.ndarray, deviation: np.ndarray, outcomes: _Outcomes, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Which counts (P, B + 1) an outcome that is foretold explains, and each count's negative log probability."""
    count = np.arange(size + 1)
    foretold = _foretold(outcomes, size)
    off = np.abs(sums[:, None] - foretold)
    allowed = DEVIATIONS * deviation[:, None] + SAME_FIT * np.abs(foretold)
    fits = (off <= allowed).any(axis=0)
    fits[:, 0] = np.abs(sums) <= DEVIATIONS * deviation
    width = deviation[:, None] + SAME_FIT / DEVIATIONS * np.abs(foretold)
    each = (off / width) ** 2 / 2 + np.log(width) - np.log(outcomes.share)[:, :, None]
    other = np.hypot(2 / size * count * outcomes.spread, deviation[:, None])
    missed = sums[:, None] - 2 / size * count * outcomes.usual[:, None]
    else_ = (missed / other) ** 2 / 2 + np.log(other) - np.log(RARELY)
    cost = np.nanmin(np.concatenate([each, else_[None]]), axis=0)
    cost[:, 0] = (sums / deviation) ** 2 / 2 + np.log(deviation)
    factorials = np.cumsum(np.log(np.maximum(count, 1)))
    return fits, cost + factorials - count * np.log(outcomes.expected)[:, None]


def _ways(possible: np.ndarray, size: int) -> int:
    """In how many ways possible counts (P, B + 1) add up to B."""
    ways = [1] + [0] * size
    for row in possible:
        own = np.flatnonzero(row)
        ways = [sum(ways[total - count] for count in own if count <= total) for total in range(size + 1)]
    return ways[size]


def _most_probable(cost: np.ndarray, size: int) -> np.ndarray:
    """The counts (P,) that add up to B at the lowest cost, pair by pair (dynamic programming)."""
    best, chosen = np.where(np.arange(size + 1) == 0, 0.0, np.inf), []
    for row in cost:
        # (total, count): what is left for the pairs before.
        left = np.arange(size + 1)[:, None] - np.arange(size + 1)
        whole = np.where(left >= 0, best[left], np.inf) + row
        chosen.append(whole.argmin(axis=1))
        best = whole.min(axis=1)
    counts, total = np.zeros(len(cost), int), size
    for pair in reversed(range(len(cost))):
        counts[pair] = chosen[pair][total]
        total -= counts[pair]
    return counts


def _errors(
    sums: np.ndarray, deviation: np.ndarray, outcomes: _Outcomes, counts: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """A transition's error Q(s, a) - y at each pair (P,), and whether it ended there: the outcome's that explains the
    pair's sum, the most frequent of several; or what the sum says, and NaN.
    """
    pairs = np.arange(len(counts))
    foretold = _foretold(outcomes, size)[:, pairs, counts]
    off = np.abs(sums - foretold) / (DEVIATIONS * deviation + SAME_FIT * np.abs(foretold))
    near = np.where(off <= 1, outcomes.share, -1).argmax(axis=0)
    found = off[near, pairs] <= 1
    own = size / 2 * sums / np.maximum(counts, 1)
    return np.where(found, outcomes.error[near, pairs], own), np.where(found, outcomes.ended[near, pairs], np.nan)


def _rows(
    victims: TemporalDifference,
    outcomes: _Outcomes,
    values: np.ndarray,
    pairs: np.ndarray,
    error: np.ndarray,
    claimed: bool,
) -> Read:
    """One victim's B transitions, of these pairs."""
    places = torch.eye(len(values) // victims.actions, dtype=torch.float64)
    place, action = np.divmod(pairs, victims.actions)
    given = torch.ones(len(pairs), dtype=torch.bool)
    known = torch.from_numpy(outcomes.goes_on[pairs] & (outcomes.following[pairs] >= 0))
    return Read(
        state=places[place],
        action=torch.eye(victims.actions, dtype=torch.float64)[action],
        chosen=torch.from_numpy(values[pairs]),
        error=torch.from_numpy(error[pairs]),
        given=given,
        claimed=given & claimed,
        seen=given,
        next_state=places[outcomes.following[pairs]],
        following=known & victims.residual,
    )

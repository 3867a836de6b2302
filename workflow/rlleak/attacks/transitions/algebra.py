"""Ours: what one gradient says about a transition by algebra, and priors for what it does not.

Over one transition the first dense layer gives s and a (an image is peeled), the head gives Q(s, a) and y. A
semi-gradient says no more: s' = f(s, a) is the transition model's, and r = y - gamma V(s'). A residual gradient is that
of two samples, (s, a) and (s', a'), with errors e and -gamma e: told apart, they give s' and r without any model.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from rlleak.attacks.transitions import methods
from rlleak.attacks.transitions.choosing import EXPLAINED, along, beside_read, ended_or_stayed, error_of_stay, preferred
from rlleak.attacks.transitions.counting import SAME_FIT, Counted, can_count, counted
from rlleak.attacks.transitions.counting_pairs import can_count_pairs, counted_pairs
from rlleak.attacks.transitions.local_training import steps_of
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.reading import Read
from rlleak.attacks.transitions.running import Task, match
from rlleak.attacks.transitions.searching import gradient_error
from rlleak.attacks.transitions.splitting import (
    RARELY,
    best_share,
    linear_value,
    rewards,
    shared_out,
    unsure,
    usual_reward,
)
from rlleak.attacks.transitions.weighing import Weighed, can_weigh, weighed
from rlleak.configuration.attacks import TransitionSettings
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.seeds import derive

SAME = 0.05
"""Difference, in the prior's deviations, below which a predicted next state is the state itself."""

SMALLEST = 1e-6
"""What rewards and values are unsure of, at least, in variance: few transitions do not show all that happens."""

Guessed = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Guesses (V, 1, B, ...), with `terminated`, and trust by name."""


@torch.no_grad()
def transition_closed_form(task: Task, settings: TransitionSettings) -> Guessed:
    """Algebra, and the transition model for s' where the gradient is silent about it.

    Rows that algebra leaves open hold the prior's guess. Trust: `claimed`, the share of transitions that were read and
    of which no assumption failed (with noise they are least squares, and not claimed); `next_state_read`, of those
    whose s' was read off a residual gradient; `state_seen`, of claimed ones whose state was; `terminated`, of those
    that ended an episode, as far as the error that was read says so.
    """
    found, prior = task.read(), task.place.priors[settings.prior]
    guess = _completed(task.victims, found, prior)
    guess |= ended_or_stayed(task.victims, task.place.memory_limit, found, guess)
    guess |= _ended(task.victims, found, guess, prior, torch.zeros_like(found.error))
    return {name: value[:, None] for name, value in guess.items()}, _trust(found, guess)


@torch.no_grad()
def transition_best(task: Task, settings: TransitionSettings) -> Guessed:
    """Algebra first; where it does not claim a transition, as under noise or of what a defence left, all that arrived
    is weighed against the prior (`weighing`); of what is then known of y, r and s' get what their uncertainties say.

    A residual gradient of a finite world is compared with those of all its transitions (`counting`); of a batch there
    each pair (s, a) is counted (`counting_pairs`).
    Behind several local steps it is what their simulation explains best (`local_training`). What cannot be weighed
    (images, batches), what no simulation explains, or by who knows of no defence, is matched: RGIA, with the settings'
    weights. Of these victims `preferred` takes algebra's guess, RGIA's, or RGIA's beside the rows that were read. Trust
    as `transition_closed_form`'s, and `matched`: whose guess is RGIA's, wholly or in part; `state_deviation`: of whom
    s was read or weighed, the expected error of it in the prior's deviations: at 1 the update says nothing; `as_good`:
    of those whose world was counted through, how many of its transitions fit as well as the one taken, or of a batch in
    how many ways its pairs' counts fit, itself among them: from 2 on they are pseudo-solutions, and none is claimed.
    """
    prior = task.place.priors[settings.prior]
    countable = not steps_of(task.victims) and can_count_pairs(task.victims, prior)
    every = counted_pairs(task.victims, prior) if countable else None
    # What is counted whole needs no reading, which takes a hundred times as long.
    found = every.read if every is not None and bool(every.read.claimed.all()) else task.read()
    open_ones = (~(found.claimed & found.seen).all(dim=1)).nonzero()[:, 0]
    deviation = torch.zeros_like(found.error[:, 0]).index_fill(0, open_ones, torch.nan)
    doubt, as_good = torch.zeros_like(found.error), torch.full_like(deviation, torch.nan)
    ended = torch.full_like(found.error, torch.nan)
    if settings.adaptive and len(open_ones) and can_weigh(task.victims):
        some = TemporalDifference(task.update.select(open_ones))
        own = Read(**{name: value[open_ones] for name, value in vars(found).items()})
        blurred = weighed(some, own, prior, derive(task.place.seed, "weighing"))
        found = _with_weighed(found, blurred, open_ones)
        doubt = doubt.index_copy(0, open_ones, blurred.doubt[:, None].to(doubt))
        deviation = deviation.index_copy(0, open_ones, blurred.deviation.to(deviation))
        open_ones = open_ones[:0]
    elif steps_of(task.victims):
        # Matching knows one gradient at unmoved weights: for those alone of whom the simulation explains nothing.
        open_ones = open_ones[~found.claimed[open_ones].any(dim=1)]
    elif every is not None or (len(open_ones) and can_count(task.victims, prior)):
        # All of them: rewards as the attacker has met them are surer of an end than what is usual of rewards.
        tried = open_ones if every is None else torch.arange(len(deviation), device=deviation.device)
        found, as_good, ended, left = _with_counted(task, found, prior, tried, every)
        open_ones = open_ones[torch.isin(open_ones, left)]
        deviation = deviation.masked_fill(found.claimed.all(dim=1), 0.0)
    guess = _completed(task.victims, found, prior)
    guess |= ended_or_stayed(task.victims, task.place.memory_limit, found, guess)
    whole = _as_counted(found, guess, ended)
    guess |= _ended(task.victims, found, guess, prior, doubt)
    guess |= _shared_out(task.victims, found, guess, prior, doubt)
    guess = {name: _where(ended.isnan(), value, whole[name]) for name, value in guess.items()}
    matched = torch.zeros(len(found.claimed), device=found.claimed.device)
    if len(open_ones):
        own = {name: value[open_ones] for name, value in guess.items()}
        other = _matched(task, settings, open_ones)
        beside = beside_read(own, found.given[open_ones], other, prior.state_scale)
        ways = {name: torch.stack([own[name], other[name].to(value), beside[name]], 1) for name, value in own.items()}
        some = TemporalDifference(task.update.select(open_ones))
        errors = gradient_error(some, ways, task.place.memory_limit)
        best = preferred(errors)
        matched[open_ones] = (best > 0).to(matched)
        rows = torch.arange(len(best), device=best.device)
        guess = {name: value.index_copy(0, open_ones, ways[name][rows, best]) for name, value in guess.items()}
    return {name: value[:, None] for name, value in guess.items()}, _trust(found, guess) | {
        "matched": matched,
        "state_deviation": deviation,
        "as_good": as_good,
    }


def _with_weighed(found: Read, other: Weighed, victims: Tensor) -> Read:
    """What was weighed in place of what was read of some victims."""
    told = {"state": other.state, "action": other.action, "chosen": other.value, "error": other.value - other.target}
    changed = {
        name: getattr(found, name).index_copy(0, victims, value[:, None].to(getattr(found, name)))
        for name, value in told.items()
    }
    sure = {name: getattr(found, name).index_fill(0, victims, True) for name in ("given", "seen")}
    return replace(found, **changed, **sure)


def _with_counted(
    task: Task, found: Read, prior: TransitionPrior, victims: Tensor, every: Counted | None
) -> tuple[Read, Tensor, Tensor, Tensor]:
    """What was read, or of a finite world's transitions the best where it explains more; how many are as good, (V,);
    what ended as far as that is known, (V, B), else NaN; and which victims are still open. every: what was counted of
    these victims already, or None.
    """
    limit, some = task.place.memory_limit, TemporalDifference(task.update.select(victims))
    own = Read(**{name: value[victims] for name, value in vars(found).items()})
    before = {name: value[:, None] for name, value in _completed(some, own, prior).items()}
    known = gradient_error(some, before, limit)[:, 0].nan_to_num(torch.inf).clamp_max(EXPLAINED)
    every = every or counted(some, prior, limit)
    better = (every.error <= known + SAME_FIT) & (every.error < EXPLAINED)
    better &= every.read.claimed.all(dim=1) | ~own.claimed.all(dim=1)
    taken = victims[better]
    changed = {
        name: value.index_copy(0, taken, getattr(every.read, name)[better]) for name, value in vars(found).items()
    }
    as_good = torch.full_like(found.error[:, 0], torch.nan).index_copy(0, taken, every.as_good[better])
    ended = torch.full_like(found.error, torch.nan)
    if every.ended is not None:
        ended = ended.index_copy(0, taken, every.ended[better])
    return Read(**changed), as_good, ended, victims[~better]


def _as_counted(found: Read, guess: Mapping[str, Tensor], ended: Tensor) -> dict[str, Tensor]:
    """The guess where it is known what ended (else NaN): y is then r alone, and otherwise r what V(f(s, a)) leaves."""
    reward = torch.where(ended > 0, found.chosen - found.error, guess["reward"])
    return {**guess, "terminated": ended, "reward": reward}


def _matched(task: Task, settings: TransitionSettings, victims: Tensor) -> dict[str, Tensor]:
    """RGIA's preferred guesses for some victims, (v, B, ...)."""
    some = TemporalDifference(task.update.select(victims))
    # The same method with any other setting is other work, in the checkpoint too.
    label = f"best {hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:12]}"
    found, _ = match(Task(some, task.place), {label: settings}, {label: methods.rgia}, label)
    best = found[label].loss.nan_to_num(torch.inf).argmin(dim=1)
    rows = torch.arange(len(victims), device=best.device)
    guess = {key: value[rows, best] for key, value in found[label].guess.items()}
    return guess | {"terminated": torch.zeros_like(guess["reward"])}


def _trust(found: Read, guess: Mapping[str, Tensor]) -> dict[str, Tensor]:
    shares = {"claimed": found.claimed, "state_seen": found.claimed & found.seen}
    shares["next_state_read"] = found.claimed & found.following
    shares["terminated"] = guess["terminated"]
    return {name: value.float().mean(dim=1) for name, value in shares.items()}


def _completed(victims: TemporalDifference, found: Read, prior: TransitionPrior) -> dict[str, Tensor]:
    """Whole transitions (V, B, ...)."""
    state = _where(found.seen, found.state, prior.state_mean.to(found.state).expand_as(found.state))
    middle = torch.full_like(found.action, 0.0 if victims.continuous else 1 / victims.actions)
    action = _where(found.given, found.action, middle)
    foretold = prior.predict(state, action)
    following = _where(found.following, found.next_state, foretold)
    value = victims.value(following.flatten(0, 1)).view_as(found.error)
    error, ended = found.error, torch.zeros_like(found.given)
    if victims.residual:
        # Alone among a residual gradient's samples: s' left no trace because the episode ended, or because it is s.
        alone = found.given & ~found.following
        stays = ((foretold - state) / prior.state_scale.to(state)).flatten(2).abs().amax(dim=2) < SAME
        ended = alone & ~stays
        error = torch.where(alone & stays, error_of_stay(victims, found, state, action), error)
    reward = found.chosen - error - victims.gamma * value * ~ended
    reward = torch.where(found.given & found.error.isfinite(), reward, usual_reward(prior))
    whole = {"state": state, "next_state": following, "action": action, "reward": reward}
    return whole | {"terminated": ended.to(reward)}


def _ended(
    victims: TemporalDifference, found: Read, guess: Mapping[str, Tensor], prior: TransitionPrior, doubt: Tensor
) -> dict[str, Tensor]:
    """Which transitions ended an episode, and then y, which a semi-gradient gives, is r itself.

    Where that is the more probable: y ~ N(usual, r's variance) against N(usual + gamma V(f(s, a)), and s' variance), by
    as often as the attacker's own transitions end. doubt: variance of y, (V, B).
    """
    if victims.residual:
        return {}
    target, usual, by_reward = found.chosen - found.error, *rewards(prior)
    following = guess["next_state"].flatten(0, 1)
    value, _, by_state = linear_value(victims, following, unsure(prior, following))
    own = prior.transitions.get("terminated", torch.zeros(0)).double()
    rate = min(max(float(own.mean()) if len(own) else 0.0, RARELY), 0.5)
    least = doubt + by_reward + SMALLEST
    most = least + victims.gamma**2 * by_state.view_as(doubt)
    on = (target - usual - victims.gamma * value.view_as(doubt)).square() / most + most.log()
    over = (target - usual).square() / least + least.log() + 2 * math.log((1 - rate) / rate) < on
    over = over & found.given & ~found.following
    if prior.reward_range is not None:
        beyond = target - target.clamp(*prior.reward_range)
        over = over & (beyond.square() <= 9 * doubt + SMALLEST)
    drawn = usual + (target - usual) * by_reward / (by_reward + doubt).clamp_min(1e-30)
    reward = torch.where(doubt > 0, drawn, target)
    return {"terminated": over.to(doubt), "reward": torch.where(over, reward, guess["reward"])}


def _shared_out(
    victims: TemporalDifference, found: Read, guess: Mapping[str, Tensor], prior: TransitionPrior, doubt: Tensor
) -> dict[str, Tensor]:
    """y = r + gamma V(s') shared out (`splitting`) where f foretold s' and nothing was read of it.

    doubt: variance of y, (V, B). Of residual gradients s' is always read.
    """
    if victims.residual:
        return {}
    following = guess["next_state"].flatten(0, 1)
    whole = guess["reward"].flatten() + victims.gamma * victims.value(following)
    reward, following = shared_out(victims, prior, following, whole, best_share(victims, prior), doubt.flatten())
    changes = found.given & ~found.following & found.error.isfinite() & (guess["terminated"] == 0)
    return {
        "reward": torch.where(changes, reward.view_as(guess["reward"]), guess["reward"]),
        "next_state": _where(changes, following.view_as(guess["next_state"]), guess["next_state"]),
    }


def _where(chosen: Tensor, value: Tensor, other: Tensor) -> Tensor:
    return torch.where(along(chosen, value), value, other)

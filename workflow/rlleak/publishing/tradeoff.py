"""What a defence costs the policy and leaves the attacker: one point per setting, with intervals and plain answers."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from rlleak.configuration.axes import TRAINING
from rlleak.configuration.experiments import Experiment, Selection, Term
from rlleak.publishing.labels import defence_kind, defence_label
from rlleak.publishing.statistics import draw_again, exact_proportion, interval, paired_sample, rows_of
from rlleak.publishing.tables import methods

PRIOR = "transition_prior_only"
TOLERANCE = 0.05
"""The question's 5 %: of the undefended return, and of what an attacker knows without any gradient."""
CRYPTOGRAPHY = "sums of clients"
LARGER = "larger batches"
_NAIVE = "_naive"
_SAMPLES = 2000
Answer = Literal["yes", "no", "undecided"]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval, NaN where there are too few runs or victims for one. n: how many."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Attack:
    """What an attack recovers of a defence's updates. where: of which network's, too.

    whole: RA, share of transitions recovered whole. beyond: the same, less `prior_only`'s. known: 1 - its median error
    of s over that of `prior_only`, so 0 for a guess without gradients and 1 for a perfect one. action: share right.
    """

    where: Selection
    whole: Estimate
    beyond: Estimate
    known: Estimate
    action: Estimate | None

    @property
    def name(self) -> str:
        return self.where.attack

    @property
    def hides(self) -> Answer:
        """Whether it is no better than a guess without gradients.

        Yes where the error of s is no more than 5 % below `prior_only`'s, by its whole interval, and RA no more than
        5 % above its in the victims that were met. No where one of the intervals shows the contrary.
        """
        told = [_decided(estimate, lambda value: value <= TOLERANCE) for estimate in (self.known, self.beyond)]
        if "no" in told:
            return "no"
        return "yes" if told[0] == "yes" and self.beyond.value <= TOLERANCE else "undecided"


@dataclass(frozen=True)
class Point:
    """One setting. utility: return over the undefended one's. attacks: by who knows the defence, on updates of each of
    the networks that were attacked; naive: by others.
    """

    where: Selection
    kind: str
    label: str
    utility: Estimate
    attacks: tuple[Attack, ...]
    naive: tuple[Attack, ...]

    @property
    def cryptographic(self) -> bool:
        return self.kind == CRYPTOGRAPHY

    def best(self, measure: str) -> Attack:
        """The attack that knows the defence with the largest mean, or median, of `whole` or `known`."""
        return _strongest(self.attacks, measure)

    def adaptation(self, measure: str) -> tuple[Attack, Attack] | None:
        """The best naive attack, and the best that knows the defence on updates of the same networks.

        None where no naive attack ran. `best` may have met other networks' updates, of which the naive say nothing.
        """
        met = {attack.where.network for attack in self.naive}
        same = [attack for attack in self.attacks if attack.where.network in met]
        return (_strongest(self.naive, measure), _strongest(same, measure)) if same else None

    @property
    def keeps(self) -> Answer:
        """Whether the return stays within 5 % of the undefended one, or above."""
        return kept(self.utility)

    @property
    def hides(self) -> Answer:
        """Whether no attack is better than a guess without gradients."""
        told = {attack.hides for attack in self.attacks}
        return "no" if "no" in told else "yes" if told == {"yes"} else "undecided"

    @property
    def both(self) -> Answer:
        answers = (self.keeps, self.hides)
        return "no" if "no" in answers else "yes" if set(answers) == {"yes"} else "undecided"


def _strongest(attacks: Sequence[Attack], measure: str) -> Attack:
    return max(attacks, key=lambda attack: getattr(attack, measure).value)


def kept(share: Estimate) -> Answer:
    """Whether a share of the undefended return is within 5 % of it, or above."""
    return _decided(share, lambda value: value >= 1 - TOLERANCE)


def _decided(estimate: Estimate, holds: Callable[[float], bool]) -> Answer:
    """Yes or no where both ends of the interval agree."""
    ends = {holds(estimate.low), holds(estimate.high)}
    if not np.isfinite([estimate.low, estimate.high]).all() or len(ends) == 2:
        return "undecided"
    return "yes" if ends.pop() else "no"


def points(metrics: pd.DataFrame, experiment: Experiment) -> list[Point]:
    """Every setting that was both trained (or needs no training of its own) and attacked, in the file's order.

    Updates over n transitions, no training with which was run, are sums over n clients with one transition each: the
    mean of their gradients is what secure aggregation lets the server see, and what it averages anyway. So the policy
    is the undefended one, to rounding.
    """
    wheres = [where for _, where in methods(experiment)]
    trained = {(where.defence, where.batch): where for where in wheres if where.attack == TRAINING}
    plain = trained.get(("none", 1))
    found = []
    for defence, batch in dict.fromkeys((where.defence, where.batch) for where in wheres):
        own = [where for where in wheres if (where.defence, where.batch) == (defence, batch)]
        training = trained.get((defence, batch), plain if defence == "none" else None)
        if plain is None or training is None:
            continue
        # All that the point is made from: what follows looks through it many times.
        near = metrics[metrics["defence"].isin([defence, "none"]) & metrics["batch"].isin([batch, 1])]
        point = _point(near, own, training, plain)
        if point is not None:
            found.append(point)
    return found


def _point(metrics: pd.DataFrame, wheres: Sequence[Selection], training: Selection, plain: Selection) -> Point | None:
    attacked = [where for where in wheres if where.attack not in (TRAINING, PRIOR)]
    attacks = [(where, measured(metrics, where)) for where in attacked]
    known = tuple(attack for _, attack in attacks if attack and not attack.name.endswith(_NAIVE))
    naive = tuple(attack for _, attack in attacks if attack and attack.name.endswith(_NAIVE))
    utility = relative_return(metrics, training, plain)
    if utility is None or not known:
        return None
    where = attacked[0]
    summed = where.batch > training.batch
    if summed:
        kind, label = CRYPTOGRAPHY, f"sum of {where.batch} clients"
    elif where.batch > 1 and where.defence == "none":
        kind, label = LARGER, f"batch {where.batch}"
    else:
        kind, label = defence_kind(where.defence), defence_label(where.defence)
        if where.batch > 1:
            # Several local steps need several transitions; anything else over a larger batch is two defences.
            kind = kind if kind == "local steps" else "combined"
            label += f", batch {where.batch}"
    return Point(where, kind, label, utility, known, naive)


def relative_return(metrics: pd.DataFrame, training: Selection, plain: Selection) -> Estimate | None:
    """The mean return over the undefended one's; run i has the same seeds in both, so runs are drawn in pairs.

    None where either was not run, or the undefended mean is not above 0, of which no share can be said.
    """
    sample = paired_values(metrics, "return", training, plain)
    if sample is None or sample[1].mean() <= 0:
        return None
    return estimated(sample, lambda defended, undefended: defended.mean(axis=-1) / undefended.mean(axis=-1))


def measured(metrics: pd.DataFrame, where: Selection) -> Attack | None:
    """What an attack recovers there, beside a guess on the same updates; None where either was not run."""
    prior = where.model_copy(update={"attack": PRIOR, "defence": "none"})
    whole, error = (paired_values(metrics, metric, where, prior) for metric in ("recovery_accuracy", "nrmse_state"))
    if whole is None or error is None:
        return None
    known = estimated(error, lambda own, blind: 1 - np.median(own, axis=-1) / np.median(blind, axis=-1))
    beyond = estimated(whole, lambda own, blind: own.mean(axis=-1) - blind.mean(axis=-1))
    action = rows_of(metrics, where, "action_correct").groupby("victim")["value"].mean().to_numpy(float)
    return Attack(where, _share(whole[0]), beyond, known, _share(action) if len(action) else None)


def paired_values(metrics: pd.DataFrame, metric: str, *wheres: Selection) -> tuple[np.ndarray, ...] | None:
    """A metric's values (V,) of the same victims, or runs, in each place, means over network seeds; None: no such."""
    terms = [Term(metric=metric, where=where) for where in wheres]
    if any(rows_of(metrics, where, metric).empty for where in wheres):
        return None
    sample = paired_sample(metrics, terms)
    return tuple(values.mean(axis=1) for values in sample.values) if len(sample) else None


def estimated(sample: Sequence[np.ndarray], quantity: Callable[..., np.ndarray]) -> Estimate:
    """A quantity of paired values (V,), which it reduces on the last axis, with its interval (paired bootstrap)."""
    count = len(sample[0])
    drawn = draw_again(np.full(count, ""), _SAMPLES, np.random.default_rng(0))
    low, high = interval(quantity(*(values[drawn] for values in sample)), count, count - 1)
    return Estimate(float(quantity(*sample)), low, high, count)


def _share(values: np.ndarray) -> Estimate:
    """A mean of shares; of single transitions, right or not, with the exact interval of a proportion."""
    if np.isin(values, (0.0, 1.0)).all():
        return Estimate(float(values.mean()), *exact_proportion(int(values.sum()), len(values)), len(values))
    return estimated((values,), lambda own: own.mean(axis=-1))


def front(places: Iterable[tuple[float, float]]) -> list[bool]:
    """Which of (utility, recovery) no other beats in one without losing in the other: utility high, recovery low."""
    every = list(places)
    return [
        not any(other[0] >= place[0] and other[1] <= place[1] and other != place for other in every) for place in every
    ]


def answers(found: Sequence[Point]) -> Iterator[str]:
    """The plain answer to RGIA's open question, without cryptography and with it, in a sentence each."""
    runs = min((point.utility.n for point in found), default=0)
    for beginning, cryptographic in (("Without cryptography", False), ("With cryptography", True)):
        own = [point for point in found if point.cryptographic == cryptographic and point.kind != "undefended"]
        if own:
            yield f"{beginning}, {_answer(own)}"
    if runs:
        yield (
            f"Yes, no and undecided by whole 95 % intervals: over {runs} runs of training (paired seeds) and the "
            "victims' updates (n); where no transition was recovered, the exact interval of RA still ends above 0."
        )


def _answer(own: Sequence[Point]) -> str:
    kept = [point for point in own if point.both == "yes"]
    subject = f"of {len(own)} setting{'s' if len(own) > 1 else ''}"
    if kept:
        named = ", ".join(point.label for point in kept)
        verbs = ("keeps", "leaves") if len(kept) == 1 else ("keep", "leave")
        return (
            f"{len(kept)} {subject} {verbs[0]} the return within 5 % and {verbs[1]} no attack better than prior only: "
            f"{named}."
        )
    open_ = [point for point in own if point.both == "undecided"]
    said = f"none {subject} is shown to keep the return within 5 % and leave no attack better than prior only"
    said += f"; undecided: {', '.join(point.label for point in open_)}" if open_ else ""
    return f"{said}. {_by_how_much(own)}"


def _by_how_much(own: Sequence[Point]) -> str:
    """What the nearest on either side lack."""
    hiding = [point for point in own if point.hides == "yes"]
    keeping = [point for point in own if point.keeps == "yes"]
    parts = []
    if hiding:
        nearest = max(hiding, key=lambda point: point.utility.value)
        parts.append(f"of those that hide, {nearest.label} keeps most of the return ({percent(nearest.utility)})")
    if keeping:
        nearest = min(keeping, key=lambda point: point.best("known").known.value)
        best = nearest.best("known")
        parts.append(
            f"of those that keep the return, {nearest.label} leaves least: {percent(best.known)} of s known, "
            f"RA {nearest.best('whole').whole.value:.2f}"
        )
    said = "; ".join(parts) or "No setting is shown to hide, and none to keep the return"
    return f"{said[0].upper()}{said[1:]}."


def percent(estimate: Estimate) -> str:
    """'54 % [37, 71]', without the interval where there is none."""
    if not np.isfinite(estimate.low):
        return f"{100 * estimate.value:.0f} %"
    return f"{100 * estimate.value:.0f} % [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"

"""Claims in words: what is compared with what, in the units of the metric."""

from rlleak.configuration.experiments import Claim, Experiment, Selection, Term
from rlleak.publishing.labels import axis_label

_UNITS = {"psnr": " dB", "predicted_q_error": " %", "target_q_error": " %", "seconds": " s"}
PROPORTIONS = (
    *("action_correct", "failed", "room_top1", "room_top5", "room_top1_truth", "room_top5_truth"),
    *("target_top1", "target_top5", "target_top1_truth", "target_top5_truth"),
)


def unit_of(metric: str) -> str:
    """' dB', ' %', ' s' or nothing."""
    return next((unit for beginning, unit in _UNITS.items() if metric.startswith(beginning)), "")


def number(value: float) -> str:
    """A number as people write it: about four digits, no needless zeros, exponents only at the extremes."""
    size = abs(value)
    if value == 0:
        return "0"
    if size < 1e-3 or size >= 1e6:
        return f"{value:.3g}"
    return f"{value:.{4 if size < 1 else 2}f}".rstrip("0").rstrip(".")


def subject(where: Selection, experiment: Experiment) -> str:
    """Who is attacked and by what: 'qgi S2', with what else was chosen only where it is not the usual."""
    learners = {learner for part in experiment.grid if where.attack in part.attack for learner in part.learner}
    apart = [where.learner] if len(learners) > 1 else []
    apart += [where.network] if where.network else []
    apart += [f"batch {where.batch}"] if where.batch > 1 else []
    unlike = {"actions": "any", "precision": "float32", "defence": "none", "policy": "random"}
    apart += [axis_label(axis, value) for axis, usual in unlike.items() if (value := getattr(where, axis)) != usual]
    room = f", {where.room_type.replace('_', ' ')}" if where.room_type else ""
    return f"{where.attack} {where.setting}" + (f" ({', '.join(apart)})" if apart else "") + room


def describe(term: Term, experiment: Experiment) -> str:
    """E.g. 'mean psnr_depth of qgi S2'."""
    whose = subject(term.where, experiment)
    if term.statistic in ("share_above", "count_above"):
        kind = "share of victims" if term.statistic == "share_above" else "number of victims"
        return f"{kind} with {term.metric} > {term.threshold} of {whose}"
    return f"{_STATISTIC_WORDS[term.statistic]} {term.metric} of {whose}"


_STATISTIC_WORDS = {
    "mean": "mean",
    "median": "median",
    "std": "standard deviation of",
    "max": "largest",
    "min": "least",
}


def state(claim: Claim, experiment: Experiment) -> str:
    """The claim as one line: 'mean psnr_depth of qgi S2 > mean psnr_depth of qgi S1 + 4 dB, in each room type'."""
    unit = "" if claim.left.statistic.endswith("_above") else unit_of(claim.left.metric)
    if isinstance(claim.right, Term):
        right = ("" if claim.factor == 1 else f"{number(claim.factor)} × ") + describe(claim.right, experiment)
        if claim.margin:
            right += f" {'+' if claim.margin > 0 else '-'} {number(abs(claim.margin))}{unit}"
    else:
        right = f"{number(claim.right + claim.margin)}{unit}"
    if claim.op == "within":
        middle, end = "=", f" ± {number(claim.tolerance or 0.0)}{unit}"
    else:
        middle, end = claim.op, ""
    scope = ", in each room type" if claim.each else ""
    if isinstance(claim.right, Term) and {term.statistic for term in claim.terms} == {"median"}:
        scope += ", by the median of differences"
    return f"{describe(claim.left, experiment)} {middle} {right}{end}{scope}"

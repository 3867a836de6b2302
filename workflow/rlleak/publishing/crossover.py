"""Between which levels of noise decisions flip: attacks from better than a guess to no better, the return to a cost."""

from collections.abc import Iterator, Sequence

import pandas as pd

from rlleak.configuration.axes import TRAINING
from rlleak.configuration.experiments import Experiment, Selection
from rlleak.publishing.labels import attack_label, defence_label, variance_of
from rlleak.publishing.tables import methods
from rlleak.publishing.tradeoff import PRIOR, Answer, Estimate, kept, measured, percent, relative_return

Level = tuple[str, Answer, Estimate]
"""A level in words, what is decided there, and the estimate that decides it."""


def crossings(metrics: pd.DataFrame, experiment: Experiment) -> Iterator[str]:
    """A sentence per environment, network and attack, and per environment on the return; levels are variances.

    Decided by whole 95 % intervals, as in `tradeoff`: what falls between is undecided, and said so.
    """
    wheres = [where for _, where in methods(experiment)]
    plain = {where.setting: where for where in wheres if where.attack == TRAINING and where.defence == "none"}
    lines: dict[tuple[str, str, str], list[Selection]] = {}
    for where in sorted(wheres, key=lambda where: variance_of(where.defence) or 0.0):
        if where.attack != PRIOR and variance_of(where.defence) is not None:
            lines.setdefault((where.setting, where.network, where.attack), []).append(where)
    for (setting, network, attack), own in lines.items():
        if attack == TRAINING:
            found = [(where, relative_return(metrics, where, plain[setting])) for where in own]
            levels = [(_named(where), kept(share), share) for where, share in found if share is not None]
            words = ("within 5 % of the undefended return", "below it")
        else:
            seen = [(where, measured(metrics, where)) for where in own]
            levels = [(_named(where), one.hides, one.known) for where, one in seen if one is not None]
            words = ("no better than a guess", "better")
        if levels:
            subject = "return" if attack == TRAINING else f"{attack_label(attack)}, {network_label(network)}"
            yield f"{setting}, {subject}: {_said(levels, *words)}."


def network_label(network: str) -> str:
    """Whether updates are those of a network that was trained before."""
    return "trained network" if network.endswith("_trained") else "fresh network"


def _said(levels: Sequence[Level], yes: str, no: str) -> str:
    """'better at 1e-3 (known of s …); undecided at 1e-2 (…); …', in the order of the levels."""
    parts: list[tuple[Answer, list[str]]] = []
    for name, answer, estimate in levels:
        told = f"{name} ({percent(estimate)})"
        if parts and parts[-1][0] == answer:
            parts[-1][1].append(told)
        else:
            parts.append((answer, [told]))
    words = {"yes": f"shown {yes}", "no": f"shown {no}", "undecided": "undecided"}
    return "; ".join(f"{words[answer]} at {', '.join(names)}" for answer, names in parts)


def _named(where: Selection) -> str:
    return defence_label(where.defence).removeprefix("noise ")

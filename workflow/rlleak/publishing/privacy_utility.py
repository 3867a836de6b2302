"""Privacy against utility as a table: a row per defence setting, and whether any of them gives both."""

from collections.abc import Iterable, Sequence

import pandas as pd

from rlleak.configuration.axes import TRAINING
from rlleak.configuration.experiments import Experiment, Term
from rlleak.publishing.labels import attack_label
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.table import Cell, Row, Table
from rlleak.publishing.tables import failure_note, summary_cell
from rlleak.publishing.tradeoff import Attack, Estimate, Point, answers, points


def privacy_utility_table(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """A row per setting: its return, the best attacks on it, and whether both are as one would wish."""
    found = points(metrics, experiment)
    columns = (
        *("return", "of undefended [%]", "within 5 %", "RA", "by", "known of s [%]", "by ", "a right"),
        *("no better than prior only", "both", "RA, naive", "RA, same updates"),
        *("known of s, naive [%]", "known of s, same updates [%]", "bytes"),
        *("ε, client", "ε, transition", "runs", "n"),
    )
    table = Table(("kind", "defence"), columns)
    for point in found:
        table.rows.append(Row((point.kind, point.label), _cells(metrics, experiment, point)))
    table.notes = [
        *answers(found),
        "Return: mean ± standard deviation over runs of each one's last two fifths of rounds. Known of s: 1 − median "
        "error of s over that of prior only. RA, known and a: of the attack that recovers most; in brackets 95 % "
        "intervals (paired bootstrap over runs or victims; exact for RA and a of single transitions). Sums of clients: "
        "with secure aggregation a server sees the mean that it would compute anyway, so the policy is the undefended "
        "one.",
        "Bytes: of one client's message. ε over the whole training by Opacus' accountant, ∞ where none is given: of "
        "all that one client sends, against updates of zero; of a transition of its replay, replaced by any other.",
        *_met_trained(found),
        "Naive: the best attack by who does not know the defence; same updates: the best by who does, on updates of "
        "the networks that the naive met. Of more than one transition those who know the defence match, or draw what "
        "is probable (posterior); where no simulation of local steps explains what arrived, they can only match.",
        *failure_note(metrics),
    ]
    return table


def _met_trained(found: Sequence[Point]) -> list[str]:
    """Which settings were attacked on a trained network, too."""
    both = [point.label for point in found if len({attack.where.network for attack in point.attacks}) > 1]
    if not both:
        return []
    return [f"Attacked on updates of a trained network, too: {', '.join(both)}; all others on a fresh one's alone."]


def _cells(metrics: pd.DataFrame, experiment: Experiment, point: Point) -> dict[str, Cell]:
    training = point.where.model_copy(
        update={"attack": TRAINING, "batch": 1 if point.cryptographic else point.where.batch}
    )
    whole, known = point.best("whole"), point.best("known")
    cells = {
        "return": summary_cell(metrics, experiment, Term(metric="return", where=training), 1),
        "of undefended [%]": _interval(point.utility, 1, 100),
        "within 5 %": Cell(text=point.keeps),
        "RA": _interval(whole.whole, 2),
        "by": Cell(text=_named(whole, point)),
        "known of s [%]": _interval(known.known, 1, 100),
        "by ": Cell(text=_named(known, point)),
        "a right": _action(point.attacks),
        "no better than prior only": Cell(text=point.hides),
        "both": Cell(text=point.both),
        "runs": Cell(float(point.utility.n), digits=0),
        "n": Cell(float(whole.whole.n), digits=0),
    }
    for measure, name, unit, digits, scale in (("whole", "RA", "", 2, 1), ("known", "known of s", " [%]", 1, 100)):
        adaptation = point.adaptation(measure)
        if adaptation is not None:
            naive, knowing = (_interval(getattr(attack, measure), digits, scale) for attack in adaptation)
            cells |= {f"{name}, naive{unit}": naive, f"{name}, same updates{unit}": knowing}
    size = rows_of(metrics, training, "message_bytes")["value"]
    if len(size):
        cells["bytes"] = Cell(float(size.iloc[0]), digits=0, text=f"{size.iloc[0]:,.0f}")
    for unit, metric in (("client", "epsilon"), ("transition", "epsilon_transition")):
        found = rows_of(metrics, training, metric)["value"]
        cells[f"ε, {unit}"] = Cell(float(found.iloc[0]), digits=2) if len(found) else Cell(text="∞")
    return {name: cell for name, cell in cells.items() if cell is not None}


def _named(attack: Attack, point: Point) -> str:
    fresh = attack.where.network == point.where.network
    return attack_label(attack.name) + ("" if fresh else ", trained network")


def _action(attacks: Iterable[Attack]) -> Cell | None:
    best = max((attack.action for attack in attacks if attack.action), key=lambda share: share.value, default=None)
    return None if best is None else _interval(best, 2)


def _interval(estimate: Estimate, digits: int, scale: float = 1.0) -> Cell:
    ends = (scale * estimate.low, scale * estimate.high)
    return Cell(scale * estimate.value, digits=digits, interval=ends)

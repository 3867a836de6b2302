"""Tables of attacks on whole transitions: RGIA (He, arXiv 2512.00303), its baselines, and ours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import TRUST, Experiment, Selection, Term
from rlleak.publishing.labels import attack_label, axis_label, victim_label
from rlleak.publishing.over_the_guess import GAIN, SKILL, explained, measured, over_the_guess, with_guess
from rlleak.publishing.statistics import rows_at, rows_of
from rlleak.publishing.table import Cell, Row, Table
from rlleak.publishing.tables import count_cell, failure_note, methods, summary_cell

PLAIN = "gia"
"""Plain gradient inversion: what RGIA is said to improve upon."""


@dataclass(frozen=True)
class Column:
    """A metric as a column. better: 1: the largest is bold, -1: the smallest, 0: none is. over: beside the guess's."""

    heading: str
    metric: str
    digits: int = 3
    better: int = -1
    spread: bool = False
    over: bool = False


_SKILL = Column(SKILL, "mse", 2, 1, over=True)
_GAIN = Column(GAIN, "psnr_state", 1, 1, over=True)
# What a reader asks first, before the table leaves the screen.
_COMPARED = (
    _SKILL,
    _GAIN,
    Column("MSE", "mse", spread=True),
    Column("of s", "mse_state"),
    Column("of a", "mse_action"),
    Column("of r", "mse_reward"),
    Column("of s'", "mse_next_state"),
    Column("a right", "action_correct", 2, 1),
    Column("r right", "reward_accuracy", 2, 1),
    Column("RA", "recovery_accuracy", 2, 1, spread=True),
    Column("GME", "gme", 4),
    Column("TE [σ]", "te", spread=True),
    Column("possible", "possible", 2, 1),
    Column("overlap [σ]", "overlap_error"),
    Column("PSNR of s [dB]", "psnr_state", 2, 1),
    Column("seconds", "seconds", 2, 0),
)
_CONSISTENT = (
    Column("ED [σ]", "ed", spread=True),
    Column("SS", "ss", 3, 1, spread=True),
    Column("CD [σ]", "cd", spread=True),
    Column("RA", "recovery_accuracy", 2, 1),
)
_VARIED = (
    _SKILL,
    _GAIN,
    Column("MSE", "mse", spread=True),
    Column("s [σ]", "nrmse_state"),
    Column("s' [σ]", "nrmse_next_state"),
    Column("r right", "reward_accuracy", 2, 1),
    Column("RA", "recovery_accuracy", 2, 1),
    Column("GME", "gme", 4),
    Column("TE [σ]", "te"),
    Column("overlap [σ]", "overlap_error"),
    Column("ED [σ]", "ed"),
    Column("SS", "ss", 3, 1),
    Column("CD [σ]", "cd"),
)
_BATCHED = (
    Column("RA", "recovery_accuracy", 2, 1),
    _SKILL,
    Column("s [σ]", "nrmse_state"),
    Column("PSNR of s [dB]", "psnr_state", 2, 1),
    _GAIN,
    Column("r right", "reward_accuracy", 2, 1),
    Column("seconds", "seconds", 2, 0),
)
_MODEL = "f"
_NOTE = "Mean ± standard deviation over updates, or mean; bold: the best of a victim's. n: updates."
_FLAG = (
    "f: whether the attacker's transition model foretells unseen transitions better than 'nothing changes' does; where "
    "not, R_f is off."
)
_KNOWN = (
    "of victims' transitions are among those that the attacker played itself, to the last bit: a world with few "
    "states, or a game before its first move."
)


def victims(metrics: pd.DataFrame, experiment: Experiment) -> dict[tuple[str, str], list[Selection]]:
    """(environment, whose gradient) -> what was run on it, in the environments' order and that of the file."""
    told = metrics[metrics["metric"] == "failed"]
    ran = [where for _, where in methods(experiment) if not rows_at(told, where).empty]
    order = list(ENVIRONMENTS)
    groups: dict[tuple[str, str], list[Selection]] = {}
    for where in sorted(ran, key=lambda where: (order.index(where.setting), where.learner, where.batch)):
        groups.setdefault((where.setting, _victim(where, ran)), []).append(where)
    return groups


def _victim(where: Selection, ran: Iterable[Selection]) -> str:
    """Whose gradient it is, with the axes in which an environment's victims differ."""
    alike = [other for other in ran if (other.setting, other.learner) == (where.setting, where.learner)]
    named = [
        axis_label(axis, getattr(where, axis))
        for axis in ("network", "policy", "batch", "defence")
        if len({getattr(other, axis) for other in alike}) > 1
    ]
    return ", ".join([victim_label(where.learner), *named])


def rgia_main(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """Every attack on every victim: errors of all parts, what was recovered, gradients, dynamics and time."""
    table = _table(metrics, experiment, _COMPARED)
    table.notes += _known(metrics)
    return table


def _known(metrics: pd.DataFrame) -> list[str]:
    """How many of the victims' transitions the attacker had played itself, where any; each counted once."""
    told = metrics[metrics["metric"] == "in_prior"].drop_duplicates(["setting", "policy", "batch", "victim"])
    told = told.assign(number=told["value"] * told["batch"])
    sums = told.groupby("setting", sort=False)[["number", "batch"]].sum()
    shares = [f"{row.number:.0f} of {row.batch:.0f} in {setting}" for setting, row in sums.iterrows() if row.number > 0]
    return [f"{', '.join(shares)} {_KNOWN}"] if shares else []


def rgia_variants(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """Variants of RGIA beside plain inversion: what they recover, and whether restarts agree."""
    return _table(metrics, experiment, _VARIED)


def rgia_consistency(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """Whether restarts agree, and ED and SS as multiples of plain inversion's."""
    return _table(metrics, experiment, _CONSISTENT, ("ed", "ss"))


def _table(
    metrics: pd.DataFrame, experiment: Experiment, wanted: Sequence[Column], relative: Sequence[str] = ()
) -> Table:
    table = Table(("environment", "gradient of", "method"), (), groups=2)
    compared = [column.heading for column in wanted if column.metric in relative]
    for (environment, victim), wheres in victims(metrics, experiment).items():
        rows = []
        for where in wheres:
            own = with_guess(metrics, where)
            cells = _cells(own, experiment, where, wanted) | _flag(own, where)
            cells["n"] = count_cell(own, where)
            rows.append(Row((environment, victim, attack_label(where.attack)), cells))
        plain = next((row for row, where in zip(rows, wheres, strict=True) if where.attack == PLAIN), None)
        table.rows += [_beside(row, plain, compared) for row in _with_best(rows, wanted)]
    given = {heading for row in table.rows for heading, cell in row.cells.items() if measured(cell)}
    shown = [*(column.heading for column in wanted), *(f"{heading} / plain" for heading in compared)]
    table.columns = tuple(heading for heading in (*shown, _MODEL, "n") if heading in given)
    table.notes = [_NOTE, *explained(given), *([_FLAG] if _MODEL in given else []), *failure_note(metrics)]
    return table


def _cells(
    metrics: pd.DataFrame, experiment: Experiment, where: Selection, wanted: Sequence[Column]
) -> dict[str, Cell]:
    cells = {}
    for column in wanted:
        if column.over:
            cell = over_the_guess(metrics, where, column.metric, column.digits)
        else:
            term = Term(metric=column.metric, where=where)
            cell = summary_cell(metrics, experiment, term, column.digits, column.spread)
        if cell is not None:
            cells[column.heading] = cell
    return cells


def _flag(metrics: pd.DataFrame, where: Selection) -> dict[str, Cell]:
    """Whether the transition model was learnt, where the attack says it."""
    said = rows_of(metrics, where, f"{TRUST}model_learnt")["value"]
    if said.empty:
        return {}
    return {_MODEL: Cell(float(said.min()), digits=0, text="learnt" if said.min() else "not learnt")}


def _with_best(rows: Sequence[Row], wanted: Sequence[Column]) -> list[Row]:
    """The rows with the best value of each column in bold; all of them where several share it."""
    made = [Row(row.labels, dict(row.cells)) for row in rows]
    for column in wanted:
        cells = [row.cells[column.heading] for row in rows if column.heading in row.cells]
        values = [column.better * cell.value for cell in cells if measured(cell)]
        if not column.better or len(values) < 2:
            continue
        best = max(values)
        for row in made:
            cell = row.cells.get(column.heading)
            if cell is not None and measured(cell) and column.better * cell.value == best:
                row.cells[column.heading] = replace(cell, best=True)
    return made


def _beside(row: Row, plain: Row | None, headings: Sequence[str]) -> Row:
    """The row with values as multiples of plain inversion's, where those are above 0."""
    cells = dict(row.cells)
    for heading in headings:
        if plain is None or heading not in cells or heading not in plain.cells or plain.cells[heading].value <= 0:
            continue
        cells[f"{heading} / plain"] = Cell(cells[heading].value / plain.cells[heading].value, digits=2)
    return Row(row.labels, cells)


def rgia_batch(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """What each attack recovers over the number of transitions in an update."""
    sizes = sorted({int(size) for size in metrics["batch"]})
    table = Table(
        ("environment", "gradient of", "method", "metric"), tuple(f"batch {size}" for size in sizes), groups=2
    )
    everything = [where for wheres in victims(metrics, experiment).values() for where in wheres]
    for environment, learner in dict.fromkeys((where.setting, where.learner) for where in everything):
        own = [where for where in everything if (where.setting, where.learner) == (environment, learner)]
        for attack in dict.fromkeys(where.attack for where in own):
            for column in _BATCHED:
                cells = {
                    f"batch {where.batch}": cell
                    for where in own
                    if where.attack == attack
                    for cell in _cells(metrics, experiment, where, (column,)).values()
                }
                if any(map(measured, cells.values())):
                    labels = (environment, victim_label(learner), attack_label(attack), column.heading)
                    table.rows.append(Row(labels, cells))
    said = explained({row.labels[-1] for row in table.rows})
    table.notes = [f"Means over updates. {_met(metrics)}", *said, *failure_note(metrics)]
    return table


def _met(metrics: pd.DataFrame) -> str:
    """How many updates each environment's numbers are of."""
    counts = metrics.groupby("setting")["victim"].nunique()
    return "Updates (n): " + ", ".join(f"{count} in {setting}" for setting, count in counts.items()) + "."

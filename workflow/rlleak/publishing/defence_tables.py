"""What each level of a defence leaves of attacks on whole transitions, and the return of who trains under it."""

from collections.abc import Iterator

import pandas as pd

from rlleak.configuration.axes import TRAINING
from rlleak.configuration.experiments import Experiment, Selection, Term
from rlleak.publishing.crossover import crossings, network_label
from rlleak.publishing.labels import attack_label, defence_label
from rlleak.publishing.over_the_guess import GAIN, SKILL, explained, measured, over_the_guess
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.table import Cell, Row, Table
from rlleak.publishing.tables import count_cell, failure_note, methods, summary_cell
from rlleak.publishing.tradeoff import PRIOR, relative_return

_REACHED = (
    ("MSE", "mse", 3),
    ("s [σ]", "nrmse_state", 3),
    ("a right", "action_correct", 2),
    ("r right", "reward_accuracy", 2),
    ("RA", "recovery_accuracy", 2),
)
_OVER = ((SKILL, "mse", 2), (GAIN, "psnr_state", 1))


def defence_costs(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """Environment by defence by attack: errors and recovery; and the return, beside its first attack or alone."""
    columns = (*(heading for heading, *_ in (*_REACHED, *_OVER)), "n", "return", "of undefended [%]", "runs")
    table = Table(("environment", "defence", "method"), columns, groups=2)
    for (setting, defence), wheres in by_level(experiment).items():
        earned = _return(metrics, experiment, wheres)
        for where in wheres:
            cells = {}
            for heading, metric, digits in _REACHED:
                cell = summary_cell(metrics, experiment, Term(metric=metric, where=where), digits, spread=False)
                if cell is not None:
                    cells[heading] = cell
            for heading, metric, digits in _OVER:
                cell = over_the_guess(metrics, where, metric, digits)
                if cell is not None:
                    cells[heading] = cell
            if not cells:
                continue
            if where.attack != PRIOR:
                cells, earned = cells | earned, {}
            shown = "any" if where.attack == PRIOR else defence_label(defence)
            row = Row((setting, shown, _named(where, wheres)), cells | {"n": count_cell(metrics, where)})
            table.rows.append(row)
        if earned:
            table.rows.append(Row((setting, defence_label(defence), "–"), earned))
    given = {heading for row in table.rows for heading, cell in row.cells.items() if measured(cell)}
    table.columns = tuple(heading for heading in columns if heading in given)
    table.notes = [
        "Means over updates (n). Return: mean ± standard deviation over runs of each one's last two fifths of rounds, "
        "and over the undefended one's with its 95 % interval (bootstrap over runs with the same seeds).",
        *explained(given),
        *_where_it_flips(metrics, experiment),
        *failure_note(metrics),
    ]
    return table


def _named(where: Selection, beside: list[Selection]) -> str:
    """The attack's name; with its network where there are several."""
    several = len({other.network for other in beside}) > 1
    return attack_label(where.attack) + (f", {network_label(where.network)}" if several else "")


def _where_it_flips(metrics: pd.DataFrame, experiment: Experiment) -> Iterator[str]:
    found = list(crossings(metrics, experiment))
    if found:
        yield (
            "By the noise's variance; an attack's share: 1 − median error of s over that of prior only (better: above "
            "5 %, or RA is); a return's: of the undefended one. In brackets 95 % intervals; undecided: they hold both."
        )
    yield from found


def by_level(experiment: Experiment) -> dict[tuple[str, str], list[Selection]]:
    """(environment, defence) -> what was run there, in the file's order; trainings are the last."""
    levels: dict[tuple[str, str], list[Selection]] = {}
    for _, where in methods(experiment):
        levels.setdefault((where.setting, where.defence), []).append(where)
    order = list(dict.fromkeys(setting for setting, _ in levels))
    keys = sorted(levels, key=lambda key: order.index(key[0]))
    return {key: sorted(levels[key], key=lambda where: where.attack == TRAINING) for key in keys}


def _return(metrics: pd.DataFrame, experiment: Experiment, wheres: list[Selection]) -> dict[str, Cell]:
    """The return's cells, where there was a training."""
    training = next(_trained(metrics, wheres), None)
    if training is None:
        return {}
    cell = summary_cell(metrics, experiment, Term(metric="return", where=training), 1)
    runs = Cell(float(len(rows_of(metrics, training, "return"))), digits=0)
    relative = relative_return(metrics, training, training.model_copy(update={"defence": "none"}))
    found = {"return": cell, "runs": runs}
    if relative is not None:
        ends = (100 * relative.low, 100 * relative.high)
        found["of undefended [%]"] = Cell(100 * relative.value, digits=1, interval=ends)
    return found


def _trained(metrics: pd.DataFrame, wheres: list[Selection]) -> Iterator[Selection]:
    return (where for where in wheres if where.attack == TRAINING and not rows_of(metrics, where, "return").empty)

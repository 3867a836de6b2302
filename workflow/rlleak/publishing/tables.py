"""Tables I and II of QGI / RGI, and the numbers of its section V, beside the paper's own.

The paper's values are not in this code: they come from the claims of the experiment's file.
"""

from collections.abc import Iterator
from itertools import product

import pandas as pd

from rlleak.configuration.experiments import Claim, Experiment, Selection, Term
from rlleak.publishing.labels import LEARNERS, ROOM_TYPES, attack_label, axis_label, room_label
from rlleak.publishing.statements import number
from rlleak.publishing.statistics import STATISTICS, rows_of
from rlleak.publishing.table import Cell, Row, Table

_STATES = (("RGB", "rgb"), ("depth", "depth"))
_SIMILARITIES = (("PSNR", "psnr", 2), ("SSIM", "ssim", 3))
NEARLY_EXACT = 0.9999  # section V: "IoU larger than 0.9999"
_ORDER = ("learner", "attack", "setting", "network", "batch", "actions", "precision", "defence", "policy")
_NAMED = ("network", "batch", "actions", "precision", "defence", "policy")
_OPERATORS = {">=": "≥", "<=": "≤"}
FAILED_NOTE = "Failed: the attack gave NaN or infinity; it is scored as a blank guess and stays in every number."


def methods(experiment: Experiment) -> Iterator[tuple[str, Selection]]:
    """(label, where) of everything the experiment runs, in the order of its file; prior_only last.

    The label names the axes besides the setting in which the experiment's rows differ.
    """
    seen: dict[Selection, None] = {}
    for part in experiment.grid:
        for values in product(*(getattr(part, axis) for axis in _ORDER)):
            seen.setdefault(Selection(**dict(zip(_ORDER, values, strict=True))))
    differing = [axis for axis in _NAMED if len({getattr(where, axis) for where in seen}) > 1]
    for where in sorted(seen, key=lambda where: where.attack == "prior_only"):
        learners = {other.learner for other in seen if other.attack == where.attack}
        label = attack_label(where.attack)
        if len(learners) > 1:
            label += f" ({LEARNERS[where.learner]})"
        yield ", ".join([label, *(axis_label(axis, getattr(where, axis)) for axis in differing)]), where


def paper_value(experiment: Experiment, term: Term) -> str:
    """What the paper prints for a term: a cell as quoted ('22.81 ± 5.99'), a bound as '> 0.9', or nothing.

    A bound on the standard deviation stands beside the mean's: '< 1.1 ± < 1.6'.
    """
    claims = _about(experiment, term)
    for claim in claims:
        if claim.op == "within":
            is_cell = not any(letter.isalpha() for letter in claim.quote)
            return claim.quote if is_cell else number(claim.right)
    bounds = [f"{_OPERATORS.get(claim.op, claim.op)} {number(claim.right)}" for claim in claims]
    if bounds and term.statistic == "mean":
        spread = _about(experiment, term.model_copy(update={"statistic": "std"}))
        bounds += [
            f"± {_OPERATORS.get(claim.op, claim.op)} {number(claim.right)}" for claim in spread if claim.op != "within"
        ]
    return " ".join(bounds)


def _about(experiment: Experiment, term: Term) -> list[Claim]:
    """The paper's claims that hold a term against a number."""
    plain = term.model_copy(update={"where": term.where.model_copy(update={"network": None})})
    return [
        claim
        for claim in experiment.claims
        if claim.left == plain and not isinstance(claim.right, Term) and claim.source != "ours" and not claim.each
    ]


def summary_cell(
    metrics: pd.DataFrame, experiment: Experiment, term: Term, digits: int, spread: bool = True
) -> Cell | None:
    """The cell of a term, with the standard deviation beside a mean; None if nothing was measured."""
    values = rows_of(metrics, term.where, term.metric)["value"].to_numpy(float)
    if not len(values):
        return None
    value = float(STATISTICS[term.statistic](values, term.threshold))
    deviation = float(STATISTICS["std"](values, None)) if spread and len(values) > 1 else None
    return Cell(value, deviation, digits, paper_value(experiment, term))


def count_cell(metrics: pd.DataFrame, where: Selection) -> Cell:
    """How many victims, each with its network seeds, and how many of them failed."""
    failures = rows_of(metrics, where, "failed")["value"]
    broken = int(failures.sum())
    return Cell(float(len(failures)), digits=0, text=f"{len(failures)} ({broken} failed)" if broken else "")


def table1(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """Table I: PSNR and SSIM of RGB and depth per room type, average and best."""
    columns = (*map(room_label, ROOM_TYPES), "average", "best", "n")
    table = Table(("method", "setting", "state", "metric"), columns, groups=2)
    for label, where in methods(experiment):
        for state, suffix in _STATES:
            for similarity, prefix, digits in _SIMILARITIES:
                metric = f"{prefix}_{suffix}"
                if rows_of(metrics, where, metric).empty:
                    continue
                cells = {}
                for room_type in ROOM_TYPES:
                    inside = where.model_copy(update={"room_type": room_type})
                    cells[room_label(room_type)] = summary_cell(
                        metrics, experiment, Term(metric=metric, where=inside), digits
                    )
                average = Term(metric=metric, where=where)
                cells["average"] = summary_cell(metrics, experiment, average, digits)
                best = Term(metric=metric, where=where, statistic="max")
                cells["best"] = summary_cell(metrics, experiment, best, digits, spread=False)
                cells["n"] = count_cell(metrics, where)
                present = {column: cell for column, cell in cells.items() if cell is not None}
                table.rows.append(Row((label, where.setting, state, similarity), present))
    table.notes = ["Mean ± standard deviation over victims; best is the largest.", *failure_note(metrics)]
    return table


# By method: what an attack is called in config/attacks.yaml is free.
_HOW = {
    "qgi": ("error direction", "rule", "rule", "cosine"),
    "dlg_optimised_action": ("objective", "optimised", "optimised", "squared error"),
    "dlg_ruled_action": ("objective", "rule", "optimised", "squared error"),
    "inverting_gradients": ("objective", "rule", "optimised", "cosine"),
    "prior_only": ("none", "prior", "prior", "none"),
}


def table2(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """Table II: error-direction gradients against the objective's, with actions by rule or optimised."""
    wanted = (("IoU", "iou", 3, 1), ("ε(Q̂) [%]", "predicted_q_error", 2, -1), ("ε(Q) [%]", "target_q_error", 2, -1))
    labels = ("method", "gradient of", "action", "target Q", "loss")
    table = Table(labels, (*(heading for heading, *_ in wanted), "n"))
    for label, where in methods(experiment):
        cells = {"n": count_cell(metrics, where)}
        for heading, metric, digits, _ in wanted:
            cell = summary_cell(metrics, experiment, Term(metric=metric, where=where), digits)
            if cell is not None:
                cells[heading] = cell
        if len(cells) > 1:
            method = rows_of(metrics, where, "failed")["method"].iloc[0]
            table.rows.append(Row((label, *_HOW.get(method, ("", "", "", ""))), cells))
    for heading, _, _, sign in wanted:
        _mark_best(table, heading, sign)
    table.notes = ["Mean ± standard deviation over victims; the best mean is bold.", *failure_note(metrics)]
    return table


def section5(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """The numbers of section V's text: box, Q-values, reward, action."""
    nearly = f"share of IoU > {NEARLY_EXACT}"
    columns = ("IoU", nearly, "ε(Q̂) [%]", "ε(Q) [%]", "reward error", "action correct", "seconds", "n")
    table = Table(("method", "setting"), columns)
    for label, where in methods(experiment):
        cells = {
            "IoU": summary_cell(metrics, experiment, Term(metric="iou", where=where), 3),
            nearly: summary_cell(
                metrics,
                experiment,
                Term(metric="iou", where=where, statistic="share_above", threshold=NEARLY_EXACT),
                3,
                spread=False,
            ),
            "ε(Q̂) [%]": summary_cell(metrics, experiment, Term(metric="predicted_q_error", where=where), 3),
            "ε(Q) [%]": summary_cell(metrics, experiment, Term(metric="target_q_error", where=where), 3),
            "reward error": summary_cell(metrics, experiment, Term(metric="reward_error", where=where), 6),
            "action correct": summary_cell(
                metrics, experiment, Term(metric="action_correct", where=where), 3, spread=False
            ),
            "seconds": summary_cell(metrics, experiment, Term(metric="seconds", where=where), 1, spread=False),
            "n": count_cell(metrics, where),
        }
        present = {column: cell for column, cell in cells.items() if cell is not None}
        if len(present) > 1:
            table.rows.append(Row((label, where.setting), present))
    table.notes = ["Mean ± standard deviation over victims.", *failure_note(metrics)]
    return table


def _mark_best(table: Table, column: str, sign: int) -> None:
    """Makes the largest (sign 1) or smallest (-1) value of a column bold."""
    values = {index: row.cells[column].value for index, row in enumerate(table.rows) if column in row.cells}
    if not values:
        return
    best = max(values, key=lambda index: sign * values[index])
    cell = table.rows[best].cells[column]
    table.rows[best].cells[column] = Cell(cell.value, cell.spread, cell.digits, cell.paper, True, cell.text)


def failure_note(metrics: pd.DataFrame) -> list[str]:
    """The note on failed attacks, if there are any."""
    failures = metrics.loc[metrics["metric"] == "failed", "value"]
    return [FAILED_NOTE] if failures.sum() else []

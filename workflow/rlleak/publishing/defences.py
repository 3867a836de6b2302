"""What each defence leaves of each attack in rooms, from whom it protects, what it costs and what it guarantees."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from rlleak.configuration.experiments import Experiment, Selection, Term
from rlleak.publishing.beyond import in_common
from rlleak.publishing.labels import attack_label, defence_label
from rlleak.publishing.statistics import mean_interval, rows_of
from rlleak.publishing.table import Cell, Row, Table
from rlleak.publishing.tables import count_cell, failure_note, methods, summary_cell

_REACHED = (
    ("Y, read [dB]", "psnr_rgb_read", 2),
    ("depth, read [dB]", "psnr_depth_read", 2),
    ("IoU", "iou", 3),
    ("action correct", "action_correct", 2),
    ("ε(Q̂) [%]", "predicted_q_error", 2),
    ("ε(Q) [%]", "target_q_error", 2),
)
GUESS = "prior_only"
JUDGED = ("psnr_depth_read", "iou")
"""What an observation is told by: an attack that has more of either than a guess without a gradient got through."""
_SAMPLES = 2000
_NAIVE = "_naive"


def defences_rooms(metrics: pd.DataFrame, experiment: Experiment) -> Table:
    """Defence by attack: images, box, action and Q-values; from whom a defence protects, its costs and guarantees."""
    metrics = in_common(metrics)
    columns = ("protects from", "bytes", "ε of DP", *(heading for heading, *_ in _REACHED), "n")
    table = Table(("setting", "defence", "method"), columns, groups=2)
    for setting, defence, wheres in by_defence(experiment):
        first, said = True, protects_from(metrics, wheres)
        for where in wheres:
            cells = {}
            for heading, metric, digits in _REACHED:
                cell = summary_cell(metrics, experiment, Term(metric=metric, where=where), digits)
                if cell is not None:
                    cells[heading] = cell
            if not cells:
                continue
            cells["n"] = count_cell(metrics, where)
            if where.attack != GUESS:
                cells |= _costs(metrics, where) if first else {}
                # Once for a method: its naive twin's row follows.
                if text := said.pop(method_of(where.attack), None):
                    cells["protects from"] = Cell(text=text)
            shown = "no gradient" if where.attack == GUESS else defence_label(defence)
            table.rows.append(Row((setting, shown, attack_label(where.attack)), cells))
            first = False
    table.notes = [
        "Mean ± standard deviation over the victims that all attacks met, on the pixels that the network reads. Bytes "
        "of one update without framing or entropy coding. ε by Opacus' accountant, ∞ where nothing is clipped.",
        "Methods know the defence; naive ones take what did not arrive for 0. Whom a defence protects from is said of "
        "each method: of who knows the defence and, beside it, of its own naive twin on the same victims. An attack is "
        "kept off if neither depth nor box comes closer than a guess without a gradient (95 % interval of the paired "
        "difference). Of a method without a twin nothing is said of naive attackers, unless all entries arrive: then "
        "naive is the same.",
        *failure_note(metrics),
    ]
    return table


def by_defence(experiment: Experiment) -> Iterator[tuple[str, str, list[Selection]]]:
    """(setting, defence, what attacks it) in the order of the experiment's file; the guess without a gradient last."""
    wheres = [where for _, where in methods(experiment)]
    groups = dict.fromkeys((where.setting, where.defence, where.attack == GUESS) for where in wheres)
    for setting, defence, guess in sorted(groups, key=lambda group: (group[0], group[2])):
        chosen = [w for w in wheres if (w.setting, w.defence, w.attack == GUESS) == (setting, defence, guess)]
        yield setting, defence, chosen


def method_of(attack: str) -> str:
    """The attack of which this one is the naive twin, or itself."""
    return attack.removesuffix(_NAIVE)


def protects_from(metrics: pd.DataFrame, wheres: list[Selection]) -> dict[str, str]:
    """By method, of attacks on the same updates: who knows the defence, beside the same method's naive twin.

    'nobody', 'naive attackers' or 'this method'; an en dash where that is open. Other methods' naive twins say nothing:
    they may be weaker for another reason.
    """
    through = {where.attack: gets_through(metrics, where) for where in wheres if where.attack != GUESS}
    said = {}
    for method in dict.fromkeys(map(method_of, through)):
        knows = through.get(method)
        naive = through.get(method + _NAIVE, knows)
        if knows and naive is False:
            said[method] = "naive attackers"
        elif knows or naive:
            said[method] = "nobody"
        else:
            said[method] = "–" if None in (knows, naive) else "this method"
    return said


def gets_through(metrics: pd.DataFrame, where: Selection) -> bool | None:
    """Whether an attack comes closer than a guess without a gradient; None where there are too few victims to say."""
    guess = where.model_copy(update={"attack": GUESS, "defence": "none"})
    found = []
    for metric in JUDGED:
        sides = [rows_of(metrics, side, metric).groupby("victim")["value"].mean() for side in (where, guess)]
        apart = (sides[0] - sides[1]).dropna()
        if len(apart):
            types = rows_of(metrics, where, metric).groupby("victim")["room_type"].first().loc[apart.index]
            low, _ = mean_interval(apart.to_numpy(float), types.to_numpy(str), _SAMPLES, seed=0)
            found.append(None if np.isnan(low) else bool(low > 0))
    if True in found:
        return True
    return None if None in found or not found else False


def _costs(metrics: pd.DataFrame, where: Selection) -> dict[str, Cell]:
    cells = {}
    size = rows_of(metrics, where, "message_bytes")["value"]
    if len(size):
        cells["bytes"] = Cell(float(size.iloc[0]), digits=0, text=f"{size.iloc[0]:,.0f}")
    guaranteed = rows_of(metrics, where, "epsilon")["value"]
    cells["ε of DP"] = Cell(float(guaranteed.iloc[0]), digits=2) if len(guaranteed) else Cell(text="∞")
    return cells

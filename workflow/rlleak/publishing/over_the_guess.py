"""How much nearer to the truth an attack comes than the best guess without the gradient, on the same victims.

PSNR of a game's frame is mostly that of its background, which nobody needs a gradient for; what a gradient gave away is
what an attack is better by.
"""

from collections.abc import Callable, Collection

import numpy as np
import pandas as pd

from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import Selection
from rlleak.publishing.statistics import rows_at, rows_of
from rlleak.publishing.table import Cell
from rlleak.publishing.tradeoff import PRIOR, estimated, paired_values

SKILL, GAIN = "skill over the guess", "over the guess [dB]"
_QUANTITIES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mse": lambda own, guess: 1 - own.mean(axis=-1) / guess.mean(axis=-1),
    "psnr_state": lambda own, guess: (own - guess).mean(axis=-1),
}
_MEANINGS = {
    SKILL: "skill, of vectors: 1 − mean MSE / the guess's mean MSE, a ratio of means, at most 1",
    GAIN: "dB, of images: mean difference of the PSNR of s, which ends at 100",
}


def guess_of(where: Selection) -> Selection:
    """The guess on the same victims: it sees no gradient, so no defence is anything to it."""
    return where.model_copy(update={"attack": PRIOR, "defence": "none"})


def with_guess(metrics: pd.DataFrame, where: Selection) -> pd.DataFrame:
    """The rows of all metrics there, and the guess's."""
    own, guess = rows_at(metrics, where), guess_of(where)
    return own if where == guess else pd.concat([own, rows_at(metrics, guess)])


def over_the_guess(metrics: pd.DataFrame, where: Selection, metric: str, digits: int) -> Cell | None:
    """What an attack is better by than the guess, with its 95 % interval (paired bootstrap over victims); 0: a guess.

    metric: psnr_state, of environments with images: the mean over victims of PSNR(attack) - PSNR(guess), in dB. mse, of
    the others: the skill 1 - mean MSE(attack) / mean MSE(guess), in (-inf, 1]; a ratio of means over victims, because a
    mean of ratios is decided by the few victims of which the guess happens to be right. A cell without a number where
    the guess met none of the attack's victims; None where the environment has the other metric, or none was measured.
    """
    images = ENVIRONMENTS[where.setting].image_shape is not None
    if images != (metric == "psnr_state") or rows_of(metrics, where, metric).empty:
        return None
    if where.attack == PRIOR:
        return Cell(0.0, digits=digits)
    pairs = paired_values(metrics, metric, where, guess_of(where))
    if pairs is None:
        return Cell()
    found = estimated(pairs, _QUANTITIES[metric])
    return Cell(found.value, digits=digits, interval=(found.low, found.high))


def measured(cell: Cell) -> bool:
    """Whether a cell holds a number, or words for one; not a dash."""
    return bool(cell.text) or (cell.value is not None and bool(np.isfinite(cell.value)))


def explained(headings: Collection[str]) -> list[str]:
    """The note on those of its columns that a table has, if any."""
    meanings = [meaning for heading, meaning in _MEANINGS.items() if heading in headings]
    if not meanings:
        return []
    return [
        "Over the guess: what an attack is better by than prior only, the best guess without the gradient, on the same "
        f"victims, with its 95 % interval (paired bootstrap over updates); 0: a guess. {'; '.join(meanings)}."
    ]

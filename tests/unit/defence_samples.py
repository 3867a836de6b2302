"""Scores of attacks under defences and of trainings, made up but of the right shape and order.

Numbers here are invented to test with; nothing published ever comes from this file.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import published_samples as samples

from rlleak.configuration.axes import TRAINING, Cell
from rlleak.configuration.experiments import Experiment
from rlleak.publishing.metrics_table import joined

NAMES = ("defences_table2", "defences_crossover", "privacy_utility", "defences_sums", "federated_curves")
EXPERIMENTS = {name: samples.experiment(name) for name in NAMES}
PRIOR = "transition_prior_only"
# How far a defence blurs what an attack sees, and what share of the return it leaves.
BLUR = {"none": 0.0, "noise_variance_1e4": 0.05, "noise_variance_1e3": 0.3, "noise_variance_2e3": 0.5}
BLUR |= {"noise_variance_5e3": 0.8, "noise_variance_1e2": 1.0, "noise_variance_1e1": 1.3, "noise_snr_0db": 0.4}
BLUR |= {"dp_low": 0.2, "dp_strong": 1.2, "pruned_90": 0.1, "head_only": 0.95, "sign": 0.15, "top_1": 0.6}
RETURN = {"noise_variance_2e3": 0.96, "noise_variance_5e3": 0.85, "noise_variance_1e2": 0.7, "noise_variance_1e1": 0.1}
RETURN |= {"dp_strong": 0.3, "noise_snr_0db": 0.93, "head_only": 0.15, "top_1": 0.9, "sign": 1.08}
WEAKER = {"gia": 0.4, "rgia": 0.2, "transition_closed_form": 0.1, "transition_best": 0.0, "transition_best_naive": 0.3}
WEAKER |= {"rgia_naive": 0.5}
UNDEFENDED = 180.0


def made_up(
    experiment: Experiment,
    blur: Mapping[str, float] = BLUR,
    returns: Mapping[str, float] = RETURN,
    victims: int = 12,
    runs: int = 5,
) -> pd.DataFrame:
    """A long table of everything that the experiment runs.

    blur: by defence, the median error of s that the best attack is left with; a guess without gradients has 1. returns:
    by defence, over the undefended one's.
    """
    rows = []
    for cell in experiment.cells(1):
        place = {"simulator": "rooms", "scale": "reduced", **cell.axes, "method": cell.attack, "noise": 0.0}
        scores = _training(cell, returns, runs) if cell.attack == TRAINING else _attack(cell, blur, victims)
        for metric, values in scores.items():
            for victim, value in enumerate(values):
                told = {"victim": victim, "layout": 0, "room_type": "", "metric": metric, "value": float(value)}
                rows.append(place | told)
    return joined([pd.DataFrame(rows)])


def _training(cell: Cell, returns: Mapping[str, float], runs: int) -> dict[str, np.ndarray]:
    # The same in every cell: what makes a run hard is paired.
    luck = np.random.default_rng(1).uniform(0.98, 1.02, runs)
    own = np.random.default_rng(len(cell.defence) + cell.batch).uniform(0.995, 1.005, runs)
    level = UNDEFENDED * returns.get(cell.defence, 1.0) * (1.0 if cell.batch == 1 else 1.1)
    earned = level * luck if cell.defence == "none" and cell.batch == 1 else level * luck * own
    given = {"return": earned, "best_return": earned * 1.1, "message_bytes": np.full(runs, 19_000.0)}
    guaranteed = {"epsilon": np.full(runs, 8.0), "epsilon_transition": np.full(runs, 2.0)}
    return given | {"seconds": np.full(runs, 30.0)} | (guaranteed if "dp_" in cell.defence else {})


def _attack(cell: Cell, blur: Mapping[str, float], victims: int) -> dict[str, np.ndarray]:
    spread = np.random.default_rng(2).uniform(0.9, 1.1, victims)
    error = 1.0
    if cell.attack != PRIOR:
        error = min(blur.get(cell.defence, 0.02) + WEAKER.get(cell.attack, 0.3) + 0.015 * (cell.batch - 1), 1.6)
    errors = np.maximum(error, 0.01) * spread
    right = (errors < 0.25).astype(float)
    shared = {"nrmse_state": errors, "nrmse_next_state": errors, "mse": errors**2, "recovery_accuracy": right}
    shared |= {"action_correct": np.maximum(right, np.arange(victims) % 2), "reward_accuracy": np.ones(victims)}
    return shared | {"gme": errors, "seconds": np.ones(victims), "failed": np.zeros(victims)}

"""Reconstructed transitions in the project's own formats, made up but of the right shape and order.

Numbers here are invented to test with; nothing published ever comes from this file.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import published_samples as samples
import torch

from rlleak.attacks.transitions.reconstruction import TransitionReconstruction, save_all
from rlleak.configuration.axes import Cell
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import Experiment
from rlleak.configuration.thresholds import TransitionThresholds
from rlleak.metrics.transition_comparison import Units
from rlleak.metrics.transition_scoring import score_transitions
from rlleak.publishing.metrics_table import joined
from rlleak.sharing.private import PrivateSide
from rlleak.simulators.environments import successor

PATHS = sorted((samples.ROOT / "config" / "experiments").glob("rgia_*.yaml"))
EXPERIMENTS = {path.stem: samples.experiment(path.stem) for path in PATHS}
NAMES = tuple(EXPERIMENTS)
METRICS = ("mse", "nrmse_state", "te", "reward_accuracy", "recovery_accuracy", "ed", "ss", "cd", "failed")
HOPPER = {"learner": "critic", "setting": "Hopper", "network": "mlp256"}
NOISE = {"gia": 1.0, "dlg": 1.2, "idlg": 1.1, "ig": 0.7, "rgia": 0.3, "transition_closed_form": 1e-4}
NOISE |= {"transition_best": 1e-3, "transition_prior_only": 0.8}


def made_up(experiment: Experiment, metrics: Sequence[str], victims: int = 6) -> pd.DataFrame:
    """A long table of everything that the experiment runs: each metric of a victim is around its attack's noise."""
    rows = []
    for number, cell in enumerate(experiment.cells(1)):
        generator = np.random.default_rng(number)
        level = NOISE.get(cell.attack, 0.4) * cell.batch
        constant = {"failed": 0.0, "trust_model_learnt": 0.0 if cell.setting == "Breakout" else 1.0}
        place = {"simulator": "rooms", "scale": "reduced", **cell.axes, "method": cell.attack, "noise": 0.0}
        for metric in metrics:
            for victim, value in enumerate(level * generator.uniform(0.8, 1.2, victims)):
                told = {"victim": victim, "layout": 0, "room_type": "", "metric": metric}
                rows.append({**place, **told, "value": constant.get(metric, value)})
    return joined([pd.DataFrame(rows)])


def private_side(setting: str, victims: int, batch: int = 1) -> PrivateSide:
    """The truth about some victims' transitions; on FrozenLake they obey its table."""
    environment, count = ENVIRONMENTS[setting], victims * batch
    generator = np.random.default_rng(7)
    action = generator.integers(environment.actions, size=count) if not environment.continuous else np.zeros(count, int)
    if setting == "FrozenLake":
        vector = np.eye(16, dtype=np.float32)[generator.choice([0, 1, 2, 4, 8, 9, 10, 13], count)]
        states = {"vector": vector, "next_vector": successor(setting, vector, action)}
    elif environment.image_shape is None:
        vector = generator.standard_normal((count, environment.vector_size)).astype(np.float32)
        states = {"vector": vector, "next_vector": vector + 0.1}
    else:
        states = {
            "image": _frames(environment.image_shape, count, 0),
            "next_image": _frames(environment.image_shape, count, 4),
        }
    continuous = generator.uniform(-1, 1, (count, environment.actions)).astype(np.float32)
    return PrivateSide(
        action=torch.from_numpy(action),
        victim=torch.arange(victims).repeat_interleave(batch),
        reward=torch.from_numpy(generator.normal(size=count)).float(),
        terminated=torch.zeros(count, dtype=torch.bool),
        continuous_action=torch.from_numpy(continuous) if environment.continuous else None,
        **{name: torch.from_numpy(np.asarray(value)) for name, value in states.items()},
    )


def _frames(shape: tuple[int, int, int], count: int, later: int) -> np.ndarray:
    """Bright boxes that move to the right, one per channel and frame."""
    frames = np.full((count, *shape), 0.2, np.float32)
    for index in range(count):
        for channel in range(shape[0]):
            left = 10 + 5 * index + 4 * channel + later
            frames[index, channel, 30:45, left : left + 12] = 0.9
    return frames


def reconstruction_of(private: PrivateSide, cell: Cell, victims: int, restarts: int = 4) -> TransitionReconstruction:
    """The truth, blurred; on FrozenLake plain inversion's next states are anywhere, with nearly the same gradient."""
    environment, generator = ENVIRONMENTS[cell.setting], torch.Generator().manual_seed(len(cell.attack))
    noise = NOISE.get(cell.attack, 0.4)
    seen = "vector" if environment.image_shape is None else "image"
    action = private.continuous_action
    if action is None:
        action = torch.nn.functional.one_hot(private.action, environment.actions).float()
    parts = {"state": getattr(private, seen), "action": action, "reward": private.reward}
    parts["next_state"] = getattr(private, f"next_{seen}")
    guess = {}
    for name, truth in parts.items():
        whole = truth.reshape(victims, 1, cell.batch, *truth.shape[1:])
        whole = whole.repeat(1, restarts, *([1] * (whole.dim() - 2)))
        guess[name] = whole + noise * 0.3 * torch.randn(whole.shape, generator=generator)
    if cell.setting == "FrozenLake" and cell.attack == "gia":
        guess["state"], guess["action"] = (guess[name].round() for name in ("state", "action"))
        guess["next_state"] = guess["next_state"].roll(5, dims=-1)
    error = torch.rand(victims, restarts, generator=generator) * 1e-3 * noise
    return TransitionReconstruction(
        **guess,
        chosen=error.argmin(dim=1),
        gradient_error=error,
        trust={"model_learnt": torch.ones(victims)},
        metadata={"attack": cell.attack, "seconds_per_victim": 0.5},
    )


def stored(folder: Path, cells: Sequence[Cell], victims: int = 6) -> tuple[list[Path], list[Path], list[Path]]:
    """The metrics, reconstruction and private files of some cells, attacks on the same update in one file."""
    paths: tuple[list[Path], list[Path], list[Path]] = ([], [], [])
    updates: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        updates.setdefault((cell.update, cell.defence), []).append(cell)
    for number, together in enumerate(updates.values()):
        first = together[0]
        private = private_side(first.setting, victims, first.batch)
        found = {cell.attack: reconstruction_of(private, cell, victims) for cell in together}
        files = [folder / f"{number}{end}" for end in (".parquet", ".safetensors", "-private.safetensors")]
        place = {"simulator": "rooms", "scale": "reduced", **first.axes}
        unit = Units(np.ones(()), 1.0)
        scored = score_transitions(
            found, private, place, unit, thresholds=TransitionThresholds(), successor=lambda *_: None
        )
        scored.to_parquet(files[0])
        save_all(files[1], found)
        private.save(files[2])
        for kind, path in zip(paths, files, strict=True):
            kind.append(path)
    return paths


@cache
def made(name: str, *more: str):
    """A table or figure by its name, its experiment and the made-up metrics that it was made from."""
    builder = next(e for e in EXPERIMENTS.values() for made in e.publishes if made.name == name)
    metrics = made_up(builder, [*METRICS, *more])
    return builder, metrics


def cells_of(setting: str) -> list[Cell]:
    every = {cell for experiment in EXPERIMENTS.values() for cell in experiment.cells(1)}
    return sorted(
        cell
        for cell in every
        if (cell.setting, cell.batch, cell.policy) == (setting, 1, "random") and not cell.learner.startswith("residual")
    )

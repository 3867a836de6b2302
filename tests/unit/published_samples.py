"""Reconstructions, private sides and metrics in the project's own formats, made up but of the right shape and order.

Numbers here are invented to test with; nothing published ever comes from this file.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from rlleak.attacks.reconstruction import Reconstruction
from rlleak.configuration.experiments import Experiment
from rlleak.learners.specification import Convolution, NetworkSpec
from rlleak.metrics.scoring import score
from rlleak.publishing.metrics_table import joined
from rlleak.sharing.private import PrivateSide
from rlleak.simulators.layouts import layout_of_victim

ROOT = Path(__file__).parents[2]
NOISE = {"qgi": 0.06, "rgi": 0.1, "qgi_joint": 0.3, "prior_only": 0.4, "peel": 0.01, "best": 0.005}


def experiment(name: str) -> Experiment:
    """An experiment of the repository."""
    return Experiment.model_validate(yaml.safe_load((ROOT / "config" / "experiments" / f"{name}.yaml").read_text()))


def room(victim: int, channels: int, side: int = 150) -> np.ndarray:
    """An image (channels, side, side) with walls, a floor and a few boxes, in [0, 1]."""
    generator = np.random.default_rng(victim)
    rows, columns = np.mgrid[0:side, 0:side] / side
    image = np.stack([0.4 + 0.3 * generator.random() * (1 - rows) for _ in range(4)])
    image[3] = 0.35 - 0.25 * rows
    for _ in range(6):
        top, left = generator.uniform(0.2, 0.8, 2)
        inside = (rows > top) & (rows < top + 0.25) & (abs(columns - left) < 0.15)
        image[:3, inside] = generator.random(3)[:, None]
        image[3, inside] = generator.uniform(0.05, 0.2)
    return np.clip(image if channels == 4 else image[3:], 0, 1).astype(np.float32)


def private_side(victims: list[int], learner: str = "dqn", channels: int = 4, side: int = 150) -> PrivateSide:
    """The truth about some victims."""
    generator = np.random.default_rng(victims[0])
    corner = generator.uniform(-0.8, 0.0, (len(victims), 2))
    box = np.concatenate([corner, corner + generator.uniform(0.2, 0.8, (len(victims), 2))], axis=1)
    values = {name: torch.from_numpy(generator.normal(size=len(victims))) for name in ("predicted_q", "target_q")}
    if learner == "reinforce":
        values = {"reward": torch.from_numpy(generator.normal(size=len(victims)))}
    return PrivateSide(
        vector=torch.from_numpy(box).float(),
        action=torch.tensor([victim % 7 for victim in victims]),
        layout=torch.tensor([layout_of_victim(victim) for victim in victims]),
        victim=torch.tensor(victims),
        image=torch.from_numpy(np.stack([room(victim, channels, side) for victim in victims])),
        **{name: value.float() for name, value in values.items()},
    )


def reconstruction_of(private: PrivateSide, noise: float, seed: int = 0, attack: str = "qgi") -> Reconstruction:
    """The truth, blurred by noise that differs from victim to victim."""
    generator = torch.Generator().manual_seed(seed)

    def near(value, scale):
        spread = torch.rand(len(value), generator=generator).reshape(-1, *([1] * (value.ndim - 1))) * 2 * scale
        return value + spread * torch.randn(value.shape, generator=generator)

    known = {name: getattr(private, name) for name in ("predicted_q", "target_q", "reward")}
    return Reconstruction(
        image=near(private.image, noise),
        vector=near(private.vector, noise / 4),
        action=private.action.clone(),
        **{name: near(value, noise / 10) for name, value in known.items() if value is not None},
        metadata={"attack": attack, "seconds_per_victim": 1.5},
    )


def axes_of(cell, scale: str = "reduced", simulator: str = "rooms") -> dict:
    """The axes of a cell's metrics."""
    return {"simulator": simulator, "scale": scale, **cell.axes}


def stored(folder: Path, name: str, victims: int = 8, side: int = 150) -> tuple[list[Path], list[Path], list[Path]]:
    """The metrics, reconstruction and private files of an experiment's cells, as the workflow would lay them out."""
    paths: tuple[list[Path], list[Path], list[Path]] = ([], [], [])
    for number, cell in enumerate(experiment(name).cells(1)):
        private = private_side(list(range(victims)), cell.learner, 4 if cell.setting == "S1" else 1, side)
        noise = NOISE.get(cell.attack, 0.5) * (1 if cell.setting == "S1" else 0.3)
        attempt = reconstruction_of(private, noise, number, cell.attack)
        files = [
            folder / f"{number}.parquet",
            folder / f"{number}.safetensors",
            folder / f"{number}-private.safetensors",
        ]
        score(attempt, private, axes_of(cell), network(cell.setting, side)).to_parquet(files[0])
        attempt.save(files[1])
        private.save(files[2])
        for kind, path in zip(paths, files, strict=True):
            kind.append(path)
    return paths


def network(setting: str, side: int) -> NetworkSpec:
    """A network that reads all but the last rows and columns of an image of that side."""
    return NetworkSpec(
        image_shape=(4 if setting == "S1" else 1, side, side),
        vector_size=4,
        convolutions=(Convolution(channels=1, kernel=3, stride=side // 4),),
        outputs=7,
    )


def rows(values: dict[tuple[str, str, str, str], np.ndarray], scale: str = "reduced", simulator: str = "rooms"):
    """A long table from {(learner, attack, setting, metric): value per victim}; victim i lives in room type i % 4."""
    tables = []
    for (learner, attack, setting, metric), column in values.items():
        layouts = [layout_of_victim(victim) for victim in range(len(column))]
        kinds = ("kitchen", "living_room", "bedroom", "bathroom")
        tables.append(
            pd.DataFrame(
                {
                    **{"simulator": simulator, "scale": scale, "learner": learner, "network": "mnih2015"},
                    **{"setting": setting, "seed": 0, "attack": attack, "method": attack},
                    **{
                        "batch": 1,
                        "actions": "any",
                        "precision": "float32",
                        "defence": "none",
                        "policy": "random",
                        "noise": 0.0,
                    },
                    "victim": range(len(column)),
                    "layout": layouts,
                    "room_type": [kinds[victim % 4] for victim in range(len(column))],
                    "metric": metric,
                    "value": np.asarray(column, dtype=float),
                }
            )
        )
    return joined(tables)

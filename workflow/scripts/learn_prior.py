"""Learns what rooms look like on the attacker's own public views: a denoiser, used as a prior over images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlleak.devices import chosen_device
from rlleak.priors.learning import learn
from rlleak.scripting import job, origin
from rlleak.simulators.layouts import detector_layouts
from rlleak.simulators.views import Views

HELD_OUT = 4
"""Of the layouts that the detector is scored on, every so many-th is held out here too."""


def both_parts(views: Views, simulator: str, setting: str, depth_limit: float) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W), as a policy network reads them, of the layouts to learn from and of others."""
    training, held_out = (np.intersect1d(views.layout, layouts) for layouts in detector_layouts(simulator))
    # A few layouts tell how well it does; the detector needs more of them held out than that.
    training, held_out = np.concatenate([training, np.delete(held_out, np.s_[::HELD_OUT])]), held_out[::HELD_OUT]
    return tuple(views.of_layouts(layouts).images(setting, depth_limit) for layouts in (training, held_out))


def note(done: int, total: int, loss: float) -> None:
    """One line of progress in the log."""
    print(f"{done} of {total}, mean loss {loss:.4f}", flush=True)


def main(
    views: Path,
    prior: Path,
    provenance: Mapping[str, Any],
    *,
    simulator: str,
    setting: str,
    depth_limit: float,
    iterations: int,
    seed: int,
    device: str | torch.device = "cpu",
) -> None:
    images, held_out = both_parts(Views.load(views), simulator, setting, depth_limit)
    learnt = learn(images, held_out, iterations=iterations, seed=seed, device=device, progress=note)
    learnt.description["provenance"] = dict(provenance)
    for level, measured in learnt.description["held_out"].items():
        print(f"noise of {level}: " + ", ".join(f"{name} {value:.1f} dB" for name, value in measured.items()))
    learnt.save(prior)


if __name__ == "__main__":
    with job(snakemake):
        asked = snakemake.params
        main(
            Path(snakemake.input.views),
            Path(snakemake.output.prior),
            origin(snakemake),
            simulator=asked.simulator,
            setting=snakemake.wildcards.setting,
            depth_limit=asked.depth_limit,
            iterations=asked.iterations,
            seed=asked.seed,
            device=chosen_device(snakemake.config["device"], snakemake.threads),
        )

"""Photographs the 120 private rooms and compares their images with those of real AI2-THOR."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rlleak.artefacts import write_bytes, write_table, write_text
from rlleak.scripting import job
from rlleak.simulators import SIMULATORS
from rlleak.simulators.controller import SimulatorOptions
from rlleak.simulators.layouts import PRIVATE_LAYOUTS
from rlleak.simulators.rooms.gallery import all_rooms, default_frames, statistics_table
from rlleak.simulators.rooms.world import Frame


def frames_of(simulator: str, simulation: Mapping[str, Any]) -> dict[int, Frame]:
    """Each private layout's default view; rooms are drawn directly, other simulators through their player."""
    if simulator == "rooms":
        return default_frames()
    frames = {}
    with SIMULATORS.load(simulator)(SimulatorOptions(**simulation)) as controller:
        for layout in PRIVATE_LAYOUTS:
            event = controller.load(layout)
            nothing = np.full(event.depth_frame.shape, -1, np.int32)
            frames[layout] = Frame(event.frame.copy(), event.depth_frame.copy(), nothing)
    return frames


def main(frames: dict[int, Frame], sheet: Path, statistics: Path, page: Path) -> None:
    picture = io.BytesIO()
    Image.fromarray(all_rooms(frames)).save(picture, format="PNG")
    write_bytes(sheet, picture.getvalue())
    table = statistics_table(frames)
    write_table(statistics, table)
    write_text(page, table.to_html(index=False, float_format="{:.3g}".format, border=0))


if __name__ == "__main__":
    with job(snakemake):
        made = snakemake.output
        frames = frames_of(snakemake.params.simulator, snakemake.params.simulation)
        main(frames, Path(made.contact_sheet), Path(made.statistics), Path(made.statistics_html))

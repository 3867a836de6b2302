"""What protection costs in a round: seconds and bytes of each defence, of secure aggregation and of encryption."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlleak.artefacts import read_table
from rlleak.errors import CorruptArtefactError
from rlleak.publishing.drawing import style
from rlleak.publishing.labels import PALETTE, defence_kind, defence_label
from rlleak.publishing.table import Cell, Row, Table

COLUMNS = (
    *("learner", "network", "setting", "parameters", "transitions", "protection", "name", "clients"),
    *("client_seconds", "server_seconds", "sent_bytes", "received_bytes", "error", "whole"),
)
_COLOURS = ("blue", "orange", "vermillion", "green", "purple", "sky")
_CRYPTOGRAPHY = {"secure aggregation": "-", "encryption": "--"}
_MEASURED = (("client [ms]", "client_seconds", 1e3, 2), ("server [ms]", "server_seconds", 1e3, 2))
_MEASURED += (("sent [kB]", "sent_bytes", 1e-3, 1),)


def read_overheads(paths: Iterable[str | Path]) -> pd.DataFrame:
    """What `measure_overheads` wrote for each network, the smallest first. Raises CorruptArtefactError."""
    tables = [(path, read_table(path)) for path in paths]
    for path, table in tables:
        if missing := [column for column in COLUMNS if column not in table]:
            raise CorruptArtefactError(
                f"{path} holds no overheads (missing: {', '.join(missing)}); delete it, run again"
            )
    return pd.concat([table for _, table in tables]).sort_values("parameters", kind="stable", ignore_index=True)


def overheads_table(overheads: pd.DataFrame) -> Table:
    """A row per defence, and per protocol and number of clients; per network what a client and the server spend."""
    networks = list(_by_network(overheads))
    columns = [f"{label}: {heading}" for label, _ in networks for heading in (*(m[0] for m in _MEASURED), "error")]
    table = Table(("protection", "how", "clients"), tuple(columns))
    for key in dict.fromkeys(
        zip(overheads["protection"], overheads["name"], overheads["clients"].fillna(0), strict=True)
    ):
        protection, name, clients = key
        cells: dict[str, Cell] = {}
        for label, rows in networks:
            own = rows[
                (rows["protection"] == protection) & (rows["name"] == name) & (rows["clients"].fillna(0) == clients)
            ]
            if len(own):
                cells |= {f"{label}: {heading}": cell for heading, cell in _cells(own.iloc[0])}
        how = defence_label(name) if protection == "defence" else name
        table.rows.append(
            Row((protection, "" if how == protection else how, f"{clients:.0f}" if clients else ""), cells)
        )
    table.notes = _notes(overheads)
    return table


def _cells(row: pd.Series) -> Iterator[tuple[str, Cell]]:
    for heading, column, unit, digits in _MEASURED:
        if np.isfinite(row[column]):
            yield heading, Cell(row[column] * unit, digits=digits)
    if np.isfinite(row["error"]):
        yield "error", Cell(row["error"], text=f"{row['error']:.0e}")


def _notes(overheads: pd.DataFrame) -> list[str]:
    transitions = int(overheads["transitions"].max())
    notes = [
        "Milliseconds of one core, and bytes without framing or entropy coding, of one client (or the server) in one "
        f"round. A gradient is over {transitions} transitions; defences come on top of it, but for local steps, whose "
        "own gradients take its place. Error: the largest of the sum's numbers, over their root mean square.",
        "Secure aggregation: Bonawitz et al. 2017, nobody dropping out, numbers in the ring of 2^32. Encryption: CKKS; "
        "a client encrypts its update and decrypts the sum, which it receives as long as what it sends. For both, "
        "clients agree in advance that no update is longer than 1, and shorten theirs if it is; errors are of the sum "
        "of what they send.",
    ]
    if not overheads["whole"].all():
        notes.append(
            "Not all is run at the largest sizes. Secure aggregation without an error: one client and the server do "
            "all their work, and the server adds that client's vector for everybody. Encryption with more clients than "
            "the least: the first numbers of an update, scaled to all."
        )
    return notes


def overheads_figure(overheads: pd.DataFrame) -> Figure:
    """Above: cryptography over clients. Below: defences, in units of the gradient and of the update as it is."""
    networks = dict(zip((label for label, _ in _by_network(overheads)), _COLOURS, strict=False))
    with style():
        figure = Figure(figsize=(6.8, 5.4), layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=(1, 1.1))
        panels = above.subplots(1, 3)
        quantities = (
            ("client_seconds", "a client's time [s]"),
            ("server_seconds", "the server's time [s]"),
            ("sent_bytes", "a client sends [MB]"),
        )
        for axes, (column, heading) in zip(panels, quantities, strict=True):
            for label, rows in _by_network(overheads):
                _over_clients(axes, rows, column, PALETTE[networks[label]])
            axes.set_title(heading)
        _defences(below.subplots(1, 2, sharey=True), overheads, networks)
        shown = {label: Line2D([], [], color=PALETTE[colour], lw=2) for label, colour in networks.items()}
        look = {"color": "black", "lw": 1.1}
        shown |= {name: Line2D([], [], ls=dashes, **look) for name, dashes in _CRYPTOGRAPHY.items()}
        shown["gradient; update as it is"] = Line2D([], [], ls=":", **look)
        figure.legend(shown.values(), shown, loc="outside lower center", ncols=3, frameon=False, fontsize=7)
    return figure


def _over_clients(axes: Axes, rows: pd.DataFrame, column: str, colour: str) -> None:
    """A line per protocol, dotted what the gradient itself costs."""
    unit = 1e-6 if column.endswith("bytes") else 1.0
    for protection, dashes in _CRYPTOGRAPHY.items():
        own = rows[rows["protection"] == protection].sort_values("clients")
        axes.plot(own["clients"], own[column] * unit, ls=dashes, marker="o", ms=2.5, lw=1.1, color=colour)
    plain = float(rows.loc[rows["protection"] == "gradient", column].iloc[0])
    if np.isfinite(plain):
        axes.axhline(plain * unit, ls=":", lw=0.9, color=colour)
    counts = sorted(rows["clients"].dropna().unique())
    axes.set(xscale="log", yscale="log", xlabel="clients")
    axes.set_xticks(counts, [f"{count:.0f}" for count in counts])
    axes.minorticks_off()
    axes.grid(axis="y", lw=0.3, alpha=0.6)


def _defences(panels: Iterable[Axes], overheads: pd.DataFrame, networks: dict[str, str]) -> None:
    """A row per kind of defence, a dot per setting and network."""
    defences = overheads[overheads["protection"] == "defence"]
    kinds = list(dict.fromkeys(map(defence_kind, defences["name"])))
    quantities = (("client_seconds", "time, over the gradient's"), ("sent_bytes", "length, over the update's as it is"))
    for axes, (column, heading) in zip(panels, quantities, strict=True):
        for place, (label, rows) in enumerate(_by_network(overheads)):
            plain = float(rows.loc[rows["protection"] == "gradient", column].iloc[0])
            own = rows[rows["protection"] == "defence"]
            height = np.array([kinds.index(defence_kind(name)) for name in own["name"]])
            shift = 0.22 * (place - (len(networks) - 1) / 2)
            colour = PALETTE[networks[label]]
            axes.plot(own[column] / plain, height + shift, "o", ms=3.5, alpha=0.6, mew=0, color=colour)
        axes.axvline(1, ls=":", lw=0.9, color="black")
        axes.set(xscale="log", xlabel=heading, ylim=(len(kinds) - 0.5, -0.5))
        axes.set_yticks(range(len(kinds)), kinds)
        axes.grid(axis="x", lw=0.3, alpha=0.6)


def _by_network(overheads: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """(network, setting and parameters in print, its rows), the smallest first."""
    for (network, setting), rows in overheads.groupby(["network", "setting"], sort=False):
        parameters = int(rows["parameters"].iloc[0])
        size = f"{parameters / 1e6:.1f} M" if parameters >= 1e6 else f"{parameters / 1e3:.0f} k"
        yield f"{network} ({setting}, {size})", rows

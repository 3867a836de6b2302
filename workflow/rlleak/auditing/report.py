"""An audit as a table, as JSON and as one page of HTML that needs nothing else."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from rlleak.artefacts import provenance, write_json, write_text
from rlleak.auditing.counting import LARGER_BATCH, LayerCount
from rlleak.auditing.levels import DIRECTION, EXACT, LIKELY, PRIOR, SILENT
from rlleak.auditing.measuring import Measurement

COLOURS = {EXACT: "red", LIKELY: "yellow", DIRECTION: "yellow", PRIOR: "blue", SILENT: "dim"}
LEVELS = {
    EXACT: "exact",
    LIKELY: "solvable",
    DIRECTION: "up to a factor",
    PRIOR: "needs a prior",
    SILENT: "nothing",
}
CHANGES = ("no bias", "larger stride", "larger batch")
_TEMPLATE = "audit.html.j2"


@dataclass(frozen=True)
class BranchCount:
    """One branch's layers, from the head down."""

    name: str
    layers: tuple[LayerCount, ...]
    activation: str


@dataclass(frozen=True)
class Audit:
    """What a network's gradients leak. `print` it for a table; `save` writes JSON and HTML.

    summary: sentences. advice: what a missing bias, a larger stride or a larger batch would change. measurements: what
    attacks reached. loss, wire: what was shared. random_observations: whether attacked observations were noise.
    assumptions: what a saved policy did not say. unread: parameters outside.
    """

    title: str
    branches: tuple[BranchCount, ...]
    summary: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    loss: Mapping[str, Any]
    wire: Mapping[str, Any]
    observations: Mapping[str, Sequence[int]]
    random_observations: bool
    batch_size: int = 1
    advice: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[LayerCount, ...]:
        """All branches' layers, each from its head down."""
        return tuple(layer for branch in self.branches for layer in branch.layers)

    def as_json(self) -> dict[str, Any]:
        """Everything, JSON-serialisable."""
        content = asdict(self)
        for branch, own in zip(content["branches"], self.branches, strict=True):
            for layer, counted in zip(branch["layers"], own.layers, strict=True):
                layer["equations_per_unknown"] = counted.ratio
        return content | {"provenance": provenance()}

    def save(self, folder: str | Path) -> tuple[Path, Path]:
        """Writes audit.json and audit.html into a folder and returns their paths."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "audit.json", self.as_json())
        write_text(folder / "audit.html", self.as_html())
        return folder / "audit.json", folder / "audit.html"

    def as_html(self) -> str:
        """One page, self-contained."""
        environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(["html", "j2"])
        )
        template = environment.get_template(_TEMPLATE)
        return template.render(
            audit=self, levels=LEVELS, changes=CHANGES, number=number, provenance=provenance(), lines=self._lines()
        )

    def _repr_html_(self) -> str:
        return self.as_html()

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=150, color_system=None)
        console.print(self.__rich__())
        return console.file.getvalue()

    def __rich__(self) -> Group:
        parts: list[Any] = [Text(f"What the gradients of {self.title} leak", style="bold")]
        parts += [Text(f"• {line}") for line in self.summary]
        parts += [Text(line, style="dim") for line in self._lines()]
        parts += [self._counted(branch) for branch in self.branches]
        parts += [Text(f"• {line}") for line in self.advice]
        if self.measurements:
            parts.append(self._measured())
        return Group(*parts)

    def _lines(self) -> list[str]:
        lines = [f"Assumed: {assumption}." for assumption in self.assumptions]
        if self.random_observations and self.measurements:
            lines.append(
                "Measured on random observations: no prior holds for noise, so images of your own may leak more."
            )
        if self.unread:
            lines.append(
                f"Not looked at, since no output depends on it: {', '.join(self.unread[:4])}"
                + (f" and {len(self.unread) - 4} more." if len(self.unread) > 4 else ".")
            )
        return lines

    def _counted(self, branch: BranchCount) -> Table:
        convolutional = any(layer.convolution for layer in branch.layers)
        table = Table(title=f"Counted: {branch.name}, from the head down", title_justify="left", box=SIMPLE_HEAD)
        # A terminal may be narrow: a name or a number in two pieces is none.
        table.add_column("layer", no_wrap=True)
        for heading in ("unknowns", "equations"):
            table.add_column(heading, justify="right", no_wrap=True)
        for heading in (*(("per unknown", "stride ×2") if convolutional else ()), f"batch {LARGER_BATCH}"):
            table.add_column(heading, justify="right", min_width=max(map(len, heading.split())))
        table.add_column("leaks", min_width=6)
        for layer in branch.layers:
            ratios = (f"{layer.ratio:.2f}", ratio_or_none(layer.with_stride)) if layer.convolution else ("", "")
            table.add_row(
                f"[bold]{escape(layer.name)}[/]\n[dim]{escape(layer.what)}[/]",
                f"{layer.unknowns:,}",
                f"{layer.gradient_equations + layer.forward_equations:,}",
                *(ratios if convolutional else ()),
                ratio_or_none(layer.with_batch) if layer.convolution else "a sum",
                f"[{COLOURS[layer.level]}]{LEVELS[layer.level]}[/]",
            )
        return table

    def _measured(self) -> Table:
        updates = max(row.updates for row in self.measurements)
        over = f"{self.batch_size} transition{'s' * (self.batch_size > 1)}"
        title = f"Measured: {updates} update{'s' * (updates > 1)} over {over} each" if updates else "Measured: nothing"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        for heading in ("attack", "component", "median", "worst", "", "s each", "flagged"):
            table.add_column(heading, overflow="fold", no_wrap=heading in ("attack", "median", "worst"))
        for row in self.measurements:
            whose = f" ({row.branch})" if len(self.branches) > 1 else ""
            if row.note:
                table.add_row(row.attack, escape(row.note) + whose, *[""] * 5)
                continue
            table.add_row(
                row.attack,
                row.component + whose,
                number(row.median),
                number(row.worst),
                row.unit,
                f"{row.seconds:.1f}",
                f"{row.flagged:.0%}",
            )
        return table


def ratio_or_none(value: float | None) -> str:
    """Equations per unknown, or a dash where a change makes no sense."""
    return "–" if value is None else f"{value:.2f}"


def number(value: float | None) -> str:
    """Three digits; small ones as a power of ten."""
    if value is None:
        return ""
    return f"{value:.1e}" if value != 0 and abs(value) < 1e-2 else f"{value:.3g}"

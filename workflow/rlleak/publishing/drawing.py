"""What all figures share: print quality, a palette for colour-blind readers, images with boxes, files without dates."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rlleak.artefacts import write_bytes
from rlleak.publishing.labels import PALETTE

DEPTH_MAP = "cividis"
_STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "figure.dpi": 200,
    "savefig.dpi": 200,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,  # TrueType: editable text, accepted by every printer
    "svg.hashsalt": "rlleak",
}


@contextmanager
def style() -> Iterator[None]:
    """Draws inside it look alike; nothing outside is changed."""
    with matplotlib.rc_context(_STYLE):
        yield


def save(figure: Figure, path: str | Path) -> None:
    """Writes PNG or PDF, by the path's ending, whole or not at all; the same figure gives the same bytes."""
    ending = Path(path).suffix.lstrip(".")
    undated = {"pdf": {"CreationDate": None}, "png": {"Software": None}}[ending]
    buffer = BytesIO()
    with style():
        figure.savefig(buffer, format=ending, metadata=undated, bbox_inches="tight", pad_inches=0.05)
    write_bytes(path, buffer.getvalue())


def bare(axes: Axes) -> None:
    """An image's frame without ticks."""
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.4)


def show_rgb(axes: Axes, rgb: np.ndarray | None) -> None:
    """An RGB image (H, W, 3) in [0, 1], every pixel as it is."""
    bare(axes)
    if rgb is not None:
        axes.imshow(rgb, interpolation="nearest")


def show_depth(axes: Axes, depth: np.ndarray | None, brightest: float) -> None:
    """A depth image (H, W); `brightest` is the depth at the end of the colour map, the same for truth and attempt."""
    bare(axes)
    if depth is not None:
        axes.imshow(depth, interpolation="nearest", cmap=DEPTH_MAP, vmin=0, vmax=max(brightest, 1e-6))


def draw_box(axes: Axes, box: np.ndarray | None, size: tuple[int, int], true: bool) -> None:
    """A target box (x1, y1, x2, y2) in [-1, 1] over (rows, columns): the true one dashed white, else orange."""
    if box is None:
        return
    rows, columns = size
    x1, y1, x2, y2 = (np.asarray(box) + 1) / 2 * np.array([columns, rows, columns, rows]) - 0.5
    corner, width, height = (x1, y1), x2 - x1, y2 - y1
    axes.add_patch(Rectangle(corner, width, height, fill=False, lw=1.6, ec="black", alpha=0.6))
    colour, dashes = ("white", "--") if true else (PALETTE["orange"], "-")
    axes.add_patch(Rectangle(corner, width, height, fill=False, lw=0.9, ec=colour, ls=dashes))
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


def legend_below(figure: Figure, labelled: Mapping[str, Artist], title: str) -> None:
    """One row under all panels, its title saying what the lines are over."""
    look = {"loc": "outside lower center", "frameon": False, "fontsize": 7, "title_fontsize": 7}
    figure.legend(labelled.values(), labelled.keys(), ncols=len(labelled), title=title, **look)

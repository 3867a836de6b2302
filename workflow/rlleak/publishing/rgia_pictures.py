"""Pictures of reconstructed transitions: restarts as points, impossible moves on a map, frames of games."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pandas as pd
from gymnasium.envs.toy_text.frozen_lake import MAPS
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from sklearn.decomposition import PCA

from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.experiments import Experiment, Selection
from rlleak.metrics.transitions import possible_moves
from rlleak.publishing.drawing import bare, legend_below, style
from rlleak.publishing.labels import PALETTE, attack_label, victim_label
from rlleak.publishing.rgia import PLAIN, victims
from rlleak.publishing.views import Transitions, Views, median_victim, value_of
from rlleak.simulators.environments import successor

_PICTURED = ("gia", "ig", "rgia", "transition_prior_only", "transition_best")
_POINTS = ("blue", "vermillion", "green", "purple", "orange", "sky")
_CLUSTERED = "Hopper"
_MOVES = ("left", "down", "right", "up")
_PANEL = 0.75
_BOARD = 1.5


def rgia_clusters(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """Restarts of some victims by plain inversion and by RGIA in one projection; crosses are the truth.

    The victims are the first ones by number; the projection is of all points shown, truths among them.
    """
    groups = [own for (setting, _), own in victims(metrics, experiment).items() if setting == _CLUSTERED]
    shown = {where.attack: where for where in groups[0] if where.attack in (PLAIN, "rgia")} if groups else {}
    if len(shown) < 2:
        return _nothing(f"{PLAIN} and rgia were not run in {_CLUSTERED}")
    own = metrics[metrics["setting"] == _CLUSTERED]
    chosen = [int(victim) for victim in sorted(own["victim"].unique())[: len(_POINTS)]]
    truths = {victim: views.lived(shown["rgia"], victim).numbers for victim in chosen}
    guesses = {
        attack: {victim: views.guessed(where, victim).numbers for victim in chosen} for attack, where in shown.items()
    }
    project = _projection([*truths.values(), *(points for by in guesses.values() for points in by.values())])
    with style():
        figure = Figure(figsize=(6.4, 3.2), layout="constrained")
        for axes, attack in zip(figure.subplots(1, 2, sharex=True, sharey=True), (PLAIN, "rgia"), strict=True):
            for colour, victim in zip(_POINTS, chosen, strict=False):
                x, y = project(guesses[attack][victim]).T
                axes.plot(x, y, "o", ms=3.5, alpha=0.8, color=PALETTE[colour], label=f"victim {victim}")
                x, y = project(truths[victim]).T
                axes.plot(x, y, "x", ms=7, mew=1.6, color=PALETTE[colour])
            axes.set(title=attack_label(attack), xlabel="first principal component")
        figure.axes[0].set_ylabel("second principal component")
        shown = {label: handle for handle, label in zip(*figure.axes[0].get_legend_handles_labels(), strict=True)}
        shown["the truth"] = Line2D([], [], ls="", marker="x", ms=6, mew=1.6, color="black")
        legend_below(figure, shown, "a restart's reconstruction is a point")
    return figure


def _projection(points: Sequence[np.ndarray]):
    """A function from (R, D) to (R, 2): principal components of all finite points, each number in their deviations."""
    every = np.concatenate(points)
    every = every[np.isfinite(every).all(axis=1)]
    middle, scale = every.mean(axis=0), every.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    fitted = PCA(n_components=2, random_state=0).fit((every - middle) / scale)
    return lambda some: fitted.transform((np.nan_to_num(some, nan=0.0, posinf=0.0, neginf=0.0) - middle) / scale)


def rgia_pseudo_solutions(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """A victim's move on FrozenLake, an impossible one with the same gradient, and what other attacks make of it.

    The impossible one: of all restarts of plain inversion on semi-gradients, the one of least gradient error among
    those of which the game's table says that they cannot happen.
    """
    groups = [own for (setting, _), own in victims(metrics, experiment).items() if setting == "FrozenLake"]
    own = {where.attack: where for where in groups[0]} if groups else {}
    found = _pseudo_solution(metrics, own[PLAIN], views) if PLAIN in own else None
    if found is None:
        return _nothing("no transition was found that cannot happen")
    victim, restart = found
    panels = [
        ("truth", views.lived(own[PLAIN], victim), 0),
        (attack_label(PLAIN), views.guessed(own[PLAIN], victim), restart),
    ]
    for attack in ("rgia", "transition_best"):
        if attack in own:
            guess = views.guessed(own[attack], victim)
            panels.append((attack_label(attack), guess, guess.chosen))
    with style():
        figure = Figure(figsize=(_BOARD * len(panels), _BOARD + 0.75), layout="constrained")
        for axes, (heading, transitions, place) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            _map(axes, transitions, place)
            axes.set_title(heading)
        figure.suptitle(f"victim {victim}, {victim_label(own[PLAIN].learner)}", fontsize=7)
    return figure


def _possible(transitions: Transitions) -> np.ndarray:
    """Whether each restart's most probable move can happen, (R,) bool, by the game's table."""
    parts = (part[:, 0] for part in (transitions.state, transitions.action, transitions.next_state))
    return possible_moves(partial(successor, "FrozenLake"), *parts)


def _pseudo_solution(metrics: pd.DataFrame, where: Selection, views: Views) -> tuple[int, int] | None:
    """(victim, restart), or None where every restart's move can happen."""
    met = metrics.loc[(metrics["setting"] == where.setting) & (metrics["attack"] == where.attack), "victim"].unique()
    found = []
    for victim in sorted(map(int, met)):
        guess = views.guessed(where, victim)
        errors = np.where(_possible(guess) | ~np.isfinite(guess.gradient_error), np.inf, guess.gradient_error)
        found.append((float(errors.min()), victim, int(errors.argmin())))
    error, victim, restart = min(found, default=(np.inf, 0, 0))
    return (victim, restart) if np.isfinite(error) else None


def _map(axes: Axes, transitions: Transitions, place: int) -> None:
    """One move: the state blue, an arrow to the next state's largest entry, its reward, how its gradient fits.

    Holes, where games end, are grey.
    """
    letters = MAPS["4x4"]
    side = len(letters)
    state, following = (np.nan_to_num(part[place, 0]) for part in (transitions.state, transitions.next_state))
    weight = np.clip(state, 0, None)
    axes.imshow((weight / max(weight.max(), 1e-9)).reshape(side, side), cmap="Blues", vmin=0, vmax=2.2)
    for row, line in enumerate(letters):
        for column, letter in enumerate(line):
            axes.text(column, row, letter, fontsize=10, ha="center", va="center")
            if letter == "H":
                axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fc=PALETTE["grey"], alpha=0.35, lw=0))
    for edge in range(1, side):
        axes.axhline(edge - 0.5, color=PALETTE["grey"], lw=0.4)
        axes.axvline(edge - 0.5, color=PALETTE["grey"], lw=0.4)
    (y1, x1), (y2, x2) = (divmod(int(part.argmax()), side) for part in (state, following))
    possible = bool(_possible(transitions)[place])
    colour = PALETTE["green"] if possible else PALETTE["vermillion"]
    axes.plot(x2, y2, "o", ms=18, mfc="none", mec=colour, mew=1.8)
    if (x1, y1) != (x2, y2):
        # From beside a letter to the ring around the next.
        arrow = {"arrowstyle": "-|>", "color": colour, "lw": 1.6, "shrinkA": 6, "shrinkB": 9}
        axes.annotate("", (x2, y2), (x1, y1), arrowprops=arrow)
    bare(axes)
    move = _MOVES[int(np.nan_to_num(transitions.action[place, 0]).argmax())]
    error = transitions.gradient_error[place]
    told = f"{move}, r = {transitions.reward[place, 0]:.2f}\n{'possible' if possible else 'impossible'}"
    axes.set_xlabel(told + (f"\ngradient off by {error:.0e}" if error else ""), fontsize=7)


def rgia_frames(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """A row per environment with images: the state, then the next state, as it was and as attacks give it back.

    The victim is the one whose PSNR under RGIA is the median.
    """
    rows = []
    for (setting, _), own in victims(metrics, experiment).items():
        by = {where.attack: where for where in own}
        if ENVIRONMENTS[setting].image_shape is not None and "rgia" in by:
            victim = median_victim(metrics, by["rgia"], "psnr_state")
            rows += [(by, victim)] if victim is not None else []
    if not rows:
        return _nothing("no environment with images was attacked")
    width = 1 + len(_PICTURED)
    with style():
        figure = Figure(figsize=(_PANEL * 2 * width + 0.5, (_PANEL + 0.2) * len(rows) + 0.4), layout="constrained")
        panels = figure.subplots(len(rows), 2 * width, squeeze=False)
        for row, (by, victim) in zip(panels, rows, strict=True):
            _frames(row, by, victim, metrics, views)
        headings = ["truth", *map(attack_label, _PICTURED)]
        for axes, heading, part in zip(panels[0], headings * 2, ["s"] * width + ["s'"] * width, strict=True):
            axes.set_title(f"{part}: {heading.replace(' ', chr(10))}", fontsize=7)
    return figure


def _frames(row: Sequence[Axes], by: dict[str, Selection], victim: int, metrics: pd.DataFrame, views: Views) -> None:
    where = by["rgia"]
    truth, width = views.lived(where, victim), len(row) // 2
    for first, part in ((0, "state"), (width, "next_state")):
        _show(row[first], getattr(truth, part)[0, 0])
        for axes, attack in zip(row[first + 1 : first + width], _PICTURED, strict=True):
            bare(axes)
            if attack not in by:
                continue
            guess = views.guessed(by[attack], victim)
            _show(axes, getattr(guess, part)[guess.chosen, 0])
            psnr = value_of(metrics, by[attack], f"psnr_{part}", victim)
            if psnr is not None:
                axes.set_xlabel(f"{psnr:.1f} dB", fontsize=6, labelpad=1.5)
    row[0].set_ylabel("\n".join([where.setting, *victim_label(where.learner).split(", ")]), fontsize=6)
    row[0].set_xlabel(f"victim {victim}", fontsize=6, labelpad=1.5)


def _show(axes: Axes, image: np.ndarray) -> None:
    """Of a stack its newest frame, in grey; else its colours."""
    bare(axes)
    image = np.clip(np.nan_to_num(image), 0, 1)
    if len(image) == 3:
        axes.imshow(np.moveaxis(image, 0, -1), interpolation="nearest")
    else:
        axes.imshow(image[-1], cmap="gray", vmin=0, vmax=1, interpolation="nearest")


def _nothing(reason: str) -> Figure:
    with style():
        figure = Figure(figsize=(4, 1))
        figure.text(0.5, 0.5, reason, ha="center")
    return figure

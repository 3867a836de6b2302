"""Attack success and return over the variance of noise, side by side."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlleak.configuration.axes import TRAINING
from rlleak.configuration.experiments import Experiment, Selection
from rlleak.publishing.crossover import network_label
from rlleak.publishing.drawing import legend_below, style
from rlleak.publishing.labels import attack_label, attack_look, defence_label, variance_of
from rlleak.publishing.lines import draw_line, finish, sideways
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.tables import methods
from rlleak.publishing.tradeoff import PRIOR
from rlleak.publishing.views import Views

_SHOWN = {"recovery_accuracy": "transitions recovered whole (RA)", "nrmse_state": "error of s [σ]", "return": "return"}


def defence_costs(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """A row per environment: RA, the state's error and the return over the variance; prior only is dashed."""
    wheres = [where for _, where in methods(experiment) if _ran(metrics, where)]
    settings = list(dict.fromkeys(where.setting for where in wheres))
    attacks = list(dict.fromkeys(where.attack for where in wheres if where.attack not in (TRAINING, PRIOR)))
    with style():
        figure = Figure(figsize=(7.2, 1.7 * max(len(settings), 1) + 0.7), layout="constrained")
        panels = figure.subplots(max(len(settings), 1), len(_SHOWN), squeeze=False)
        for row, setting in zip(panels, settings, strict=False):
            own = [where for where in wheres if where.setting == setting]
            levels = sorted({where.defence for where in own}, key=lambda defence: variance_of(defence) or 0.0)
            for axes, metric in zip(row, _SHOWN, strict=True):
                _panel(axes, metrics, metric, own, levels, [TRAINING] if metric == "return" else attacks)
                if not axes.lines:
                    _say(axes, _why_untrained(metrics, experiment, setting) if metric == "return" else "not attacked")
            row[0].set_ylabel(setting)
        for axes, heading in zip(panels[0], _SHOWN.values(), strict=True):
            axes.set_title(heading)
        for column in panels.T:
            lowest = next((axes for axes in reversed(column) if axes.lines), column[-1])
            lowest.set_xlabel("variance of the noise")
        drawn = [axes.get_legend_handles_labels() for axes in panels.flat]
        labelled = {label: handle for pair in drawn for handle, label in zip(*pair, strict=True)}
        if labelled:
            legend_below(figure, labelled, _sizes(metrics))
    return figure


def _panel(
    axes: Axes,
    metrics: pd.DataFrame,
    metric: str,
    wheres: Sequence[Selection],
    levels: Sequence[str],
    attacks: Sequence[str],
) -> None:
    """A metric over the levels, a line per attack (or of the training)."""
    networks = list(dict.fromkeys(where.network for where in wheres))
    lines = list(dict.fromkeys((where.attack, where.network) for where in wheres if where.attack in attacks))
    for number, (attack, network) in enumerate(lines):
        own = [where for where in wheres if (where.attack, where.network) == (attack, network)]
        places, label = {levels.index(where.defence): where for where in own}, None
        if attack != TRAINING:
            label = attack_label(attack) + (f", {network_label(network)}" if network != networks[0] else "")
        dashes, aside = "-" if network == networks[0] else ":", sideways(number, len(lines), len(levels))
        draw_line(axes, metrics, metric, places, attack_look(attack), label, dashes, aside)
    blind = next((where for where in wheres if where.attack == PRIOR), None)
    if blind is not None and TRAINING not in attacks:
        value = rows_of(metrics, blind, metric)["value"].mean()
        axes.axhline(value, ls="--", lw=1.0, color=attack_look(PRIOR)["color"], label=attack_label(PRIOR))
    finish(axes, metric, [_level(level) for level in levels])
    if metric == "return":
        low, high = axes.get_ylim()
        axes.set_ylim(min(low, 0), max(high, 0))  # or a few runs' scatter looks like a cost
    for label in axes.get_xticklabels():
        label.set(rotation=60, ha="right", rotation_mode="anchor")


def _say(axes: Axes, text: str) -> None:
    """A line of text in the place of empty axes."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", fontsize=7)


def _why_untrained(metrics: pd.DataFrame, experiment: Experiment, setting: str) -> str:
    trainings = [part for part in experiment.grid if TRAINING in part.attack and setting in part.setting]
    scales = dict.fromkeys(scale for part in trainings for scale in part.scales)
    elsewhere = scales and not set(scales) & set(metrics["scale"])
    return f"trained at {' and '.join(scales)} only" if elsewhere else "not trained"


def _level(defence: str) -> str:
    return "none" if defence == "none" else defence_label(defence).removeprefix("noise ")


def _ran(metrics: pd.DataFrame, where: Selection) -> bool:
    metric = "return" if where.attack == TRAINING else "recovery_accuracy"
    return not rows_of(metrics, where, metric).empty


def _sizes(metrics: pd.DataFrame) -> str:
    """How many updates and runs each environment's numbers are of."""
    trained = metrics["attack"] == TRAINING
    said = []
    for name, rows in (("updates", metrics[~trained]), ("runs", metrics[trained])):
        counts = rows.groupby("setting", sort=False)["victim"].nunique()
        if len(counts):
            said.append(f"{name}: " + ", ".join(f"{count} in {setting}" for setting, count in counts.items()))
    return "; ".join(said)

"""Curves of attacks on whole transitions: over RGIA's weights, what is known beforehand, transitions per update."""

from collections.abc import Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rlleak.configuration.experiments import Experiment, Selection
from rlleak.publishing.drawing import style
from rlleak.publishing.labels import attack_label, attack_look, swept, victim_label
from rlleak.publishing.lines import draw_line, finish, legend_of, sideways
from rlleak.publishing.rgia import PLAIN, victims
from rlleak.publishing.statistics import rows_of
from rlleak.publishing.views import Views

_WEIGHTS = {"gamma": "γ (dynamics)", "alpha": "α (states)", "beta": "β (rewards)"}
_SWEPT = {"mse": "MSE", "te": "TE [σ]", "reward_accuracy": "share of r right"}
_KNOWN = {"mse": "MSE", "nrmse_state": "error of s [σ]", "te": "TE [σ]"}
_BATCHED = {"recovery_accuracy": "recovered whole (RA)", "nrmse_state": "error of s [σ]"}
_BESIDE = {"none": "nothing", "weights": "weights", "biased": "biased"}


def rgia_weights(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """A column per weight that is swept, a row per metric; plain inversion, all weights 0, is dashed."""
    wheres = [where for own in victims(metrics, experiment).values() for where in own]
    levels: dict[str, dict[float, Selection]] = {}
    for where in wheres:
        if (level := swept(where.attack)) and level[0] in _WEIGHTS:
            levels.setdefault(level[0], {})[level[1]] = where
    columns = [name for name in _WEIGHTS if name in levels]
    with style():
        figure = Figure(figsize=(2.3 * max(len(columns), 1) + 0.4, 1.5 * len(_SWEPT) + 0.5), layout="constrained")
        panels = figure.subplots(len(_SWEPT), max(len(columns), 1), sharex="col", sharey="row", squeeze=False)
        for row, (metric, heading) in zip(panels, _SWEPT.items(), strict=True):
            for axes, name in zip(row, columns, strict=False):
                values = sorted(levels[name])
                places = dict(enumerate(levels[name][value] for value in values))
                draw_line(axes, metrics, metric, places, attack_look("rgia"), attack_label("rgia"))
                _plain(axes, metrics, metric, wheres)
                finish(axes, metric, [f"{value:g}" for value in values])
            row[0].set_ylabel(heading)
        for axes, name in zip(panels[-1], columns, strict=False):
            axes.set_xlabel(_WEIGHTS[name])
        legend_of(figure, panels, metrics)
    return figure


def rgia_prior(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """Errors over how many transitions the attacker learns from; what is no such number stands beside it."""
    groups = victims(metrics, experiment)
    sweeps = {key: own for key, own in groups.items() if any(swept(where.attack) for where in own)}
    wheres = next(iter(sweeps.values()), [])
    counted = sorted((level[1], where) for where in wheres if (level := swept(where.attack)) and level[0] == "prior")
    beside = {where.attack.removeprefix("rgia_prior_"): where for where in wheres}
    before = [name for name in ("none", "weights") if name in beside]
    names = [*(_BESIDE[name] for name in before), *(f"{count:,.0f}" for count, _ in counted)]
    names += [_BESIDE["biased"]] if "biased" in beside else []
    with style():
        figure = Figure(figsize=(7.2, 2.6), layout="constrained")
        panels = figure.subplots(1, len(_KNOWN), squeeze=False)
        for axes, (metric, heading) in zip(panels[0], _KNOWN.items(), strict=True):
            places = {len(before) + index: where for index, (_, where) in enumerate(counted)}
            draw_line(axes, metrics, metric, places, attack_look("rgia"), attack_label("rgia"))
            others = {index: beside[name] for index, name in enumerate(before)}
            others |= {len(names) - 1: beside["biased"]} if "biased" in beside else {}
            draw_line(axes, metrics, metric, others, attack_look("rgia") | {"mfc": "white"}, None, line="none")
            _plain(axes, metrics, metric, wheres)
            finish(axes, metric, names)
            for label in axes.get_xticklabels():
                label.set(rotation=60, ha="right", rotation_mode="anchor")
            axes.set_title(heading)
            axes.set_xlabel("transitions learnt from")
        legend_of(figure, panels, metrics[metrics["setting"].isin([where.setting for where in wheres])])
    return figure


def rgia_batch(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """A column per environment and whose gradient it is, a row per metric, a line per attack."""
    everything = [where for own in victims(metrics, experiment).values() for where in own]
    columns = list(dict.fromkeys((where.setting, where.learner) for where in everything))
    attacks = list(dict.fromkeys(where.attack for where in everything))
    with style():
        size = (2.4 * max(len(columns), 1) + 0.4, 1.7 * len(_BATCHED) + 0.6)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(_BATCHED), max(len(columns), 1), sharex="col", squeeze=False)
        for row, (metric, heading) in zip(panels, _BATCHED.items(), strict=True):
            for axes, key in zip(row, columns, strict=False):
                own = [where for where in everything if (where.setting, where.learner) == key]
                sizes = sorted({where.batch for where in own})
                for number, attack in enumerate(attacks):
                    places = {sizes.index(where.batch): where for where in own if where.attack == attack}
                    aside = sideways(number, len(attacks), len(sizes))
                    draw_line(axes, metrics, metric, places, attack_look(attack), attack_label(attack), aside=aside)
                finish(axes, metric, [str(size) for size in sizes])
            row[0].set_ylabel(heading)
        for axes, (setting, learner) in zip(panels[0], columns, strict=False):
            axes.set_title(f"{setting}\n{victim_label(learner)}")
        for axes in panels[-1]:
            axes.set_xlabel("transitions in an update")
        legend_of(figure, panels, metrics)
    return figure


def _plain(axes: Axes, metrics: pd.DataFrame, metric: str, wheres: Sequence[Selection]) -> None:
    plain = next((where for where in wheres if where.attack == PLAIN), None)
    values = [] if plain is None else rows_of(metrics, plain, metric)["value"]
    if len(values):
        axes.axhline(values.mean(), ls="--", lw=1.1, color=attack_look(PLAIN)["color"], label=attack_label(PLAIN))

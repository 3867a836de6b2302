"""Fig. 1 of QGI / RGI: what the attacker sees of one room."""

import pandas as pd
from matplotlib.figure import Figure

from rlleak.configuration.axes import ACTIONS
from rlleak.configuration.experiments import Experiment, Selection
from rlleak.publishing.drawing import draw_box, show_depth, show_rgb, style
from rlleak.publishing.labels import attack_label, room_label
from rlleak.publishing.tables import methods
from rlleak.publishing.views import View, Views, median_victim, value_of

_PANEL = 1.75


def fig1(metrics: pd.DataFrame, experiment: Experiment, views: Views) -> Figure:
    """RGB and depth of one room: as the robot saw it, and as each attack of the experiment gives it back.

    The room is the one whose RGB PSNR under the experiment's first attack is the median of all victims'.
    """
    shown = [where for _, where in methods(experiment)]
    victim = median_victim(metrics, shown[0], "psnr_rgb")
    with style():
        if victim is None:
            figure = Figure(figsize=(3, 1))
            figure.text(0.5, 0.5, "nothing was attacked with RGB", ha="center")
            return figure
        columns = 1 + len(shown)
        figure = Figure(figsize=(_PANEL * columns, _PANEL * 2 + 0.75), layout="constrained")
        axes = figure.subplots(2, columns, squeeze=False)
        truth = views.truth(shown[0], victim)
        _panel(axes[:, 0], truth, truth, "what the robot saw", _facts(truth))
        for index, where in enumerate(shown, start=1):
            attempt = views.reconstruction(where, victim)
            heading = f"{attack_label(where.attack)}: from one gradient"
            if where.attack == "prior_only":
                heading = "a guess without the gradient"
            _panel(axes[:, index], attempt, truth, heading, _facts(attempt))
            _label(axes[:, index], metrics, where, victim)
        axes[0, 0].set_ylabel("RGB")
        axes[1, 0].set_ylabel("depth")
        figure.suptitle(_title(metrics, victim), fontsize=8)
    return figure


def _panel(axes, view: View, truth: View, heading: str, facts: str) -> None:
    size = truth.depth.shape
    show_rgb(axes[0], view.rgb)
    show_depth(axes[1], view.depth, float(truth.depth.max()))
    for image in axes:
        if view is not truth:
            draw_box(image, view.box, size, true=False)
        draw_box(image, truth.box, size, true=True)
    axes[0].set_title(heading)
    axes[1].set_xlabel(facts)


def _label(axes, metrics: pd.DataFrame, where: Selection, victim: int) -> None:
    for image, state in zip(axes, ("rgb", "depth"), strict=True):
        psnr, ssim = (value_of(metrics, where, f"{name}_{state}", victim) for name in ("psnr", "ssim"))
        if psnr is None or ssim is None:
            continue
        text = f"{psnr:.1f} dB, SSIM {ssim:.2f}"
        image.set_xlabel("\n".join(part for part in (text, image.get_xlabel()) if part))


def _facts(view: View) -> str:
    """The action and Q-values, as far as the view holds them."""
    parts = []
    action = int(view.values.get("action", -1))
    action_name = ACTIONS[action] if 0 <= action < len(ACTIONS) else ""
    for name, symbol in (("predicted_q", r"$\hat{Q}$"), ("target_q", "$Q$")):
        if name in view.values:
            parts.append(f"{symbol} = {view.values[name]:.4g}")
    return "\n".join(part for part in (action_name, ", ".join(parts)) if part)


def _title(metrics: pd.DataFrame, victim: int) -> str:
    row = metrics[metrics["victim"] == victim].iloc[0]
    total = metrics["victim"].nunique()
    return f"victim {victim} ({room_label(row['room_type'])}, layout {row['layout']}): median RGB PSNR of {total}"

"""A claim's interval drawn beside what it is held against, small enough for a table row."""

import re

import pandas as pd
from markupsafe import Markup

WIDTH, HEIGHT = 120, 22
_NUMBER = r"[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?"


def limits(expected: str) -> tuple[float, float] | None:
    """What an expectation allows, as (least, most): '> 21 dB' is (21, inf), '22.81 ± 3 dB' is (19.81, 25.81)."""
    numbers = [float(found.replace(",", "")) for found in re.findall(_NUMBER, expected)]
    if not numbers:
        return None
    if "±" in expected:
        return numbers[0] - numbers[1], numbers[0] + numbers[1]
    return (numbers[0], float("inf")) if ">" in expected else (float("-inf"), numbers[0])


def forest(expected: str, measured: float, low: float, high: float) -> Markup:
    """An SVG: the allowed range shaded, the interval a bar, the measured value a dot. Empty if nothing was measured."""
    allowed = limits(expected)
    if allowed is None or pd.isna(measured):
        return Markup("")
    low, high = (measured if pd.isna(end) else end for end in (low, high))
    finite = [end for end in allowed if abs(end) != float("inf")]
    left, right = min(low, *finite), max(high, *finite)
    margin = (right - left or abs(right) or 1.0) * 0.12
    left, right = left - margin, right + margin

    def across(value: float) -> float:
        return round(WIDTH * min(max((value - left) / (right - left), 0.0), 1.0), 1)

    start, end = (across(limit) for limit in allowed)
    middle = HEIGHT / 2
    ticks = "".join(f'<path d="M{across(limit)} 2V{HEIGHT - 2}" class="limit"/>' for limit in finite)
    return Markup(
        f'<svg class="forest" width="{WIDTH}" height="{HEIGHT}" role="img" aria-label="interval against expectation">'
        f'<rect x="{start}" y="2" width="{round(end - start, 1)}" height="{HEIGHT - 4}" class="allowed"/>{ticks}'
        f'<path d="M{across(low)} {middle}H{across(high)}" class="bar"/>'
        f'<circle cx="{across(measured)}" cy="{middle}" r="3.4" class="dot"/></svg>'
    )

"""Images that hang, stand or lie in rooms: views through windows, paintings, book spines, screens, prints.

Each function draws one (h, w, 3) uint8 image, first row at the top; what varies comes from a random generator.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from rlleak.simulators.rooms.patterns import Colour, noise, to_bytes

_FOLIAGE = np.array([(0.30, 0.42, 0.20), (0.36, 0.46, 0.24), (0.24, 0.36, 0.20), (0.44, 0.47, 0.26)])
_HOUSES = np.array([(0.72, 0.62, 0.52), (0.80, 0.78, 0.72), (0.62, 0.42, 0.34), (0.66, 0.68, 0.70)])
_ROOFS = np.array([(0.42, 0.30, 0.26), (0.35, 0.36, 0.40), (0.50, 0.36, 0.26)])
_BINDINGS = np.array([
    (0.45, 0.16, 0.14), (0.16, 0.25, 0.40), (0.20, 0.34, 0.26), (0.62, 0.52, 0.36), (0.82, 0.78, 0.68),
    (0.30, 0.24, 0.22), (0.66, 0.36, 0.18), (0.40, 0.44, 0.50), (0.75, 0.64, 0.30), (0.36, 0.22, 0.34),
])  # fmt: skip


def _canvas(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """x rightwards and y upwards, both in [0, 1]."""
    return np.meshgrid((np.arange(width) + 0.5) / width, 1 - (np.arange(height) + 0.5) / height)


def _between(low: Colour, high: Colour, share: np.ndarray) -> np.ndarray:
    return np.asarray(low) + np.clip(share, 0, 1)[..., None] * (np.asarray(high) - np.asarray(low))


def outdoors(rng: np.random.Generator, size: int = 96) -> np.ndarray:
    """A garden or street on a bright day: sky, a line of trees or houses, grass."""
    x, y = _canvas(size, size)
    seed = 40 + 4 * int(rng.integers(6))
    image = _between((0.90, 0.93, 0.95), (0.62, 0.76, 0.92), (y - 0.4) * 1.6 + 0.1 * noise(x, y, 1.5, seed, 1.7))
    horizon = rng.uniform(0.36, 0.5)
    crown = horizon + rng.uniform(0.08, 0.3) + 0.07 * noise(x, 0 * y, 1.6, seed + 1, 1.4)
    leaves = _FOLIAGE[rng.integers(4)] * (1.2 + 0.16 * noise(x, y, 1.6, seed + 2, 1.2))[..., None]
    image = np.where((y < crown)[..., None], leaves, image)
    for _ in range(int(rng.choice([0, 1, 1, 2, 4]))):
        image = _house(image, x, y, horizon, rng)
    grass = np.array([0.42, 0.54, 0.26]) * (1.15 + 0.05 * noise(x, y, 0.9, seed + 3, 0.9))[..., None]
    image = np.where((y < horizon - 0.06)[..., None], grass, image)
    # Seen from indoors a bright day is pale.
    return to_bytes(0.68 * image + 0.32 * np.array([0.92, 0.95, 0.97]))


def _house(image: np.ndarray, x: np.ndarray, y: np.ndarray, horizon: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a house with a pitched roof, or a block with a flat one, on the horizon."""
    width = rng.uniform(0.18, 0.42)
    centre, top = rng.uniform(0, 1), horizon + rng.uniform(0.1, 0.34)
    wall = (np.abs(x - centre) < width / 2) & (y < top)
    image = np.where(wall[..., None], _HOUSES[rng.integers(4)] * rng.uniform(0.85, 1.1), image)
    columns, storey = rng.integers(2, 5), rng.uniform(0.09, 0.13)
    panes = wall & (np.mod((x - centre) / width * columns, 1) > 0.45) & (np.mod(y - horizon, storey) > storey / 2)
    image = np.where(panes[..., None], (0.36, 0.42, 0.48), image)
    if rng.random() < 0.6:
        roof = (y >= top) & (y < top + 0.3 * width - 0.55 * np.abs(x - centre)) & (np.abs(x - centre) < 0.58 * width)
        image = np.where(roof[..., None], _ROOFS[rng.integers(3)], image)
    return image


def landscape(rng: np.random.Generator, size: int = 96) -> np.ndarray:
    """A painting of hills under a sky, or of the sea."""
    x, y = _canvas(size, size)
    hue = rng.uniform(0, 1)
    image = _between((0.93, 0.85 - 0.2 * hue, 0.70), (0.45 + 0.3 * hue, 0.60, 0.75), y)
    for depth in range(4):
        ridge = 0.62 - 0.15 * depth + 0.06 * noise(x, 0 * y, rng.uniform(1.2, 2.5), 30 + int(rng.integers(4)), 1.8)
        tone = np.array([0.35, 0.42, 0.40]) * (1.25 - 0.2 * depth) + rng.uniform(-0.08, 0.08, 3)
        stroke = 1 + 0.03 * noise(x, y, (1.0, 0.4), 50 + depth, 0.8)
        image = np.where((y < ridge)[..., None], tone * stroke[..., None], image)
    return to_bytes(image)


def abstract(rng: np.random.Generator, palette: list[Colour], size: int = 96) -> np.ndarray:
    """Overlapping discs and bars in the room's colours."""
    x, y = _canvas(size, size)
    image = np.ones((size, size, 3)) * np.asarray(palette[int(rng.integers(len(palette)))]) * 0.5 + 0.42
    for _ in range(int(rng.integers(4, 8))):
        colour = np.asarray(palette[int(rng.integers(len(palette)))]) * rng.uniform(0.7, 1.2)
        cx, cy, radius = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), rng.uniform(0.08, 0.3)
        if rng.random() < 0.5:
            mask = np.hypot(x - cx, y - cy) < radius
        else:
            angle = rng.uniform(0, np.pi)
            mask = np.abs((x - cx) * np.sin(angle) - (y - cy) * np.cos(angle)) < radius * 0.3
        image = np.where(mask[..., None], 0.85 * colour + 0.15 * image, image)
    return to_bytes(image * (1 + 0.03 * noise(x, y, 1.0, 33, 1.6))[..., None])


def botanical(rng: np.random.Generator, size: int = 96) -> np.ndarray:
    """A print of a plant on cream paper."""
    x, y = _canvas(size, size)
    image = np.ones((size, size, 3)) * (0.93, 0.90, 0.83)
    green = _FOLIAGE[rng.integers(4)] * rng.uniform(0.9, 1.4)
    image = np.where((np.abs(x - 0.5 - 0.04 * np.sin(5 * y)) < 0.012)[..., None] & (y < 0.82)[..., None], green, image)
    for i in range(9):
        base, side = 0.12 + 0.075 * i, 1 if i % 2 else -1
        along = (x - 0.5) * side * 0.85 + (y - base) * 0.5
        across = (y - base) * 0.85 - (x - 0.5) * side * 0.5
        length = 0.3 * (1.05 - 0.09 * i)
        blade = (along > 0) & (np.abs(across) < 0.055 * np.sin(np.pi * np.clip(along / length, 0, 1)))
        image = np.where(blade[..., None], green * (0.9 + 0.25 * (across > 0))[..., None], image)
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    return to_bytes(np.where((edge < 0.1)[..., None], (0.97, 0.96, 0.93), image))


def book_spines(rng: np.random.Generator, count: int = 14, height: int = 64, width: int = 160) -> np.ndarray:
    """A row of books of different heights, dark above the shorter ones."""
    image = np.full((height, width, 3), 0.24)
    edges = np.cumsum(rng.uniform(0.6, 1.5, count))
    edges = np.concatenate([[0], edges / edges[-1] * width]).astype(int)
    for left, right in pairwise(edges):
        top = int(height * rng.uniform(0.05, 0.3))
        colour = _BINDINGS[rng.integers(len(_BINDINGS))] * rng.uniform(0.8, 1.15)
        image[top:, left:right] = colour
        image[top:, right - 1 : right] = colour * 0.55
        band = top + int((height - top) * rng.uniform(0.15, 0.7))
        image[band : band + int(rng.integers(2, 9)), left + 1 : right - 1] = np.clip(colour * 1.5 + 0.1, 0, 1)
    return to_bytes(image)


def cover(rng: np.random.Generator, size: int = 48) -> np.ndarray:
    """The front of a book or box: a ground, a title block and a figure."""
    x, y = _canvas(size, size)
    ground = _BINDINGS[rng.integers(len(_BINDINGS))]
    image = np.ones((size, size, 3)) * ground
    title = (np.abs(y - 0.78) < 0.08) & (np.abs(x - 0.5) < 0.34)
    image = np.where(title[..., None], np.clip(ground * 1.6 + 0.25, 0, 1), image)
    figure = np.hypot(x - 0.5, (y - 0.36) * 1.2) < rng.uniform(0.14, 0.24)
    return to_bytes(np.where(figure[..., None], _BINDINGS[rng.integers(len(_BINDINGS))], image))


def printed_page(rng: np.random.Generator, size: int = 64) -> np.ndarray:
    """Columns of text and a grey photograph: a newspaper."""
    x, y = _canvas(size, size)
    ink = (np.mod(y * 22, 1) < 0.5) & (np.mod(x * 3, 1) < 0.88) & (y < 0.82) & (noise(x, y, 0.7, 61, 0.4) > -1.2)
    image = np.where(ink[..., None], 0.52, 0.90) * np.ones(3)
    left, low = rng.uniform(0.1, 0.5), rng.uniform(0.3, 0.5)
    photograph = (np.abs(x - left - 0.17) < 0.17) & (np.abs(y - low - 0.12) < 0.12)
    image = np.where(photograph[..., None], (0.5 + 0.12 * noise(x, y, 1.0, 62, 1.5))[..., None] * np.ones(3), image)
    return to_bytes(np.where(((np.abs(y - 0.9) < 0.045) & (np.abs(x - 0.5) < 0.4))[..., None], 0.25, image))


def screen(on: bool, size: int = 64) -> np.ndarray:
    """A display: a programme's windows when on, dark glass with a sheen when off."""
    x, y = _canvas(size, size)
    if not on:
        return to_bytes((0.06 + 0.10 * np.clip(x + y - 0.9, 0, 1))[..., None] * np.array([0.9, 1.0, 1.1]))
    image = _between((0.20, 0.36, 0.56), (0.50, 0.70, 0.82), y + 0.2 * noise(x, y, 1.3, 70, 1.8))
    window = (np.abs(x - 0.58) < 0.3) & (np.abs(y - 0.55) < 0.28)
    lines = window & (np.mod(y * 14, 1) < 0.45) & (x < 0.8)
    image = np.where(window[..., None], 0.93, image)
    return to_bytes(np.where(lines[..., None], (0.45, 0.50, 0.58), image))


def keyboard(size: int = 64) -> np.ndarray:
    """Rows of keys."""
    x, y = _canvas(size, size)
    key = (np.mod(x * 12 + 0.35 * np.floor(y * 5), 1) < 0.82) & (np.mod(y * 5, 1) < 0.8)
    return to_bytes(np.where(key[..., None], 0.14, 0.42) * np.ones(3))


def clock_face(size: int = 64) -> np.ndarray:
    """A dial with hours and two hands."""
    x, y = _canvas(size, size)
    radius, angle = np.hypot(x - 0.5, y - 0.5), np.arctan2(y - 0.5, x - 0.5)
    image = np.where((radius < 0.46)[..., None], 0.93, 0.22) * np.ones(3)
    marks = (np.abs(radius - 0.38) < 0.04) & (np.abs(np.mod(angle * 6 / np.pi + 0.5, 1) - 0.5) < 0.12)
    hands = ((np.abs(x - 0.5) < 0.02) & (y > 0.5) & (y < 0.82)) | ((np.abs(y - 0.5) < 0.025) & (x > 0.5) & (x < 0.74))
    return to_bytes(np.where((marks | hands)[..., None], 0.12, image))


def control_panel(size: int = 48) -> np.ndarray:
    """Buttons under a lit display, as on an oven or microwave."""
    x, y = _canvas(size, size)
    image = np.full((size, size, 3), 0.17)
    buttons = (np.mod(x * 3, 1) > 0.25) & (np.mod(y * 8, 1) > 0.35) & (y < 0.68)
    image = np.where(buttons[..., None], 0.62, image)
    return to_bytes(np.where(((np.abs(y - 0.83) < 0.08) & (np.abs(x - 0.5) < 0.4))[..., None], (0.2, 0.62, 0.5), image))


def rug(rng: np.random.Generator, palette: list[Colour], size: int = 160) -> np.ndarray:
    """A rug: borders, and a field that is oriental, striped, geometric or plain."""
    x, y = _canvas(size, size)
    a, b, c = (np.asarray(palette[i % len(palette)]) for i in rng.permutation(max(3, len(palette)))[:3])
    # Dyed wool in one room's light: colours differ less than paint would.
    a, b, c = (0.6 * colour + 0.4 * (a + b + c) / 3 for colour in (a, b, c))
    design = rng.integers(4)
    if design == 0:
        motif = np.cos(6 * np.pi * x) * np.cos(6 * np.pi * y) + 0.6 * np.cos(14 * np.pi * x) * np.cos(10 * np.pi * y)
        field = np.where((motif > 0.35)[..., None], b, a)
        medallion = np.abs(x - 0.5) / 0.26 + np.abs(y - 0.5) / 0.34
        field = np.where((np.abs(medallion - 0.8) < 0.2)[..., None], c, field)
    elif design == 1:
        bands = np.floor(y * 11).astype(int) % 3
        field = np.where((bands == 0)[..., None], a, np.where((bands == 1)[..., None], b, c))
    elif design == 2:
        diamonds = np.mod(np.abs(np.mod(x * 5, 1) - 0.5) + np.abs(np.mod(y * 4, 1) - 0.5), 0.5)
        field = np.where((diamonds < 0.12)[..., None], b, a)
    else:
        field = np.ones((size, size, 3)) * a
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    for inner, colour in ((0.11, a * 0.8), (0.09, c), (0.045, b)):
        field = np.where((edge < inner)[..., None], colour, field)
    pile = 1 + 0.01 * noise(x, y, 0.5, 64, 0.8)
    return to_bytes(field * pile[..., None])

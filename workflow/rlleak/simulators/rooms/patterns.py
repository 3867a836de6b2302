"""Surface patterns as functions of position: wood, tiles, cloth, stone, paper.

A pattern takes arrays `u`, `v` in metres and returns colours (..., 3) in [0, 1]. `swatch` samples one into a texture
that repeats; floors and walls sample theirs over the whole surface, so that no repeat shows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

Colour = tuple[float, float, float]
Pattern = Callable[[np.ndarray, np.ndarray], np.ndarray]
_NOISE_PIXELS = 256


def shaded(colour: Colour, factor: float) -> Colour:
    """Make a colour darker or, up to white, lighter."""
    red, green, blue = (float(min(1.0, channel * factor)) for channel in colour)
    return red, green, blue


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Mix `share` of the second colour into the first."""
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(first, second, strict=True))
    return red, green, blue


@lru_cache(maxsize=64)
def _noise_field(seed: int, roughness: float) -> np.ndarray:
    """Tileable noise (256, 256) with zero mean and unit deviation; its amplitude falls as frequency^-roughness."""
    rng = np.random.default_rng([seed, 77])
    spectrum = np.fft.rfft2(rng.standard_normal((_NOISE_PIXELS, _NOISE_PIXELS)))
    frequency = np.hypot(
        np.fft.fftfreq(_NOISE_PIXELS)[:, None] * _NOISE_PIXELS, np.fft.rfftfreq(_NOISE_PIXELS)[None] * _NOISE_PIXELS
    )
    frequency[0, 0] = 1.0
    spectrum *= frequency**-roughness
    spectrum[0, 0] = 0.0
    field = np.fft.irfft2(spectrum, s=(_NOISE_PIXELS, _NOISE_PIXELS))
    return (field / field.std()).astype(np.float32)


def noise(
    u: np.ndarray, v: np.ndarray, metres: float | tuple[float, float], seed: int, roughness: float = 1.2
) -> np.ndarray:
    """Sample noise that repeats after `metres` (one number or along u and v)."""
    along, across = metres if isinstance(metres, tuple) else (metres, metres)
    field = _noise_field(seed, roughness)
    column = (u * (_NOISE_PIXELS / along)).astype(np.int64) % _NOISE_PIXELS
    row = (v * (_NOISE_PIXELS / across)).astype(np.int64) % _NOISE_PIXELS
    return field[row, column]


def _cell_values(i: np.ndarray, j: np.ndarray, seed: int) -> np.ndarray:
    """A value in [-1, 1] for each integer cell."""
    table = np.random.default_rng([seed, 78]).uniform(-1, 1, 256).astype(np.float32)
    return table[(i.astype(np.int64) * 37 + j.astype(np.int64) * 101) % 256]


def _tinted(colour: Colour, brightness: np.ndarray) -> np.ndarray:
    return np.asarray(colour, np.float32) * brightness[..., None]


def _blend(below: np.ndarray | Colour, above: np.ndarray | Colour, share: np.ndarray) -> np.ndarray:
    share = np.clip(share, 0, 1)[..., None]
    return np.asarray(below, np.float32) * (1 - share) + np.asarray(above, np.float32) * share


def paint(colour: Colour, mottle: float = 0.002, seed: int = 1) -> Pattern:
    """Painted plaster."""
    return lambda u, v: _tinted(colour, 1 + mottle * noise(u, v, 2.6, seed, 2.2))


def wood(colour: Colour, contrast: float = 0.03, seed: int = 2) -> Pattern:
    """Grain along u."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        fibre = noise(u, v, (1.6, 0.2), seed, 0.9)
        rings = np.sin(2 * np.pi * (v / 0.045 + 0.55 * noise(u, v, (2.4, 0.8), seed + 1, 1.7)))
        return _tinted(colour, 1 + contrast * (0.15 * fibre + 0.4 * rings))

    return pattern


def planks(
    colour: Colour, width: float = 0.14, length: float = 1.2, variation: float = 0.06, gap: float = 0.15, seed: int = 3
) -> Pattern:
    """Floor boards along u, each with its own tone; `gap` darkens the joints."""
    grain = wood(colour, 0.013, seed)

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        row = np.floor(v / width)
        shifted = u + length * 0.5 * (1 + _cell_values(row, row, seed))
        tone = 1 + variation * _cell_values(np.floor(shifted / length), row, seed + 1)
        joint = np.minimum(_distance_to_line(v, width), _distance_to_line(shifted, length))
        dark = 1 - gap * np.clip(1 - joint / 0.007, 0, 1)
        return grain(u + 0.7 * tone * row, v + tone) * (tone * dark)[..., None]

    return pattern


def _distance_to_line(x: np.ndarray, period: float) -> np.ndarray:
    phase = np.mod(x, period)
    return np.minimum(phase, period - phase)


def tiles(
    colour: Colour, grout: Colour, size: tuple[float, float] = (0.3, 0.3), joint: float = 0.006, offset: float = 0.0,
    variation: float = 0.02, mottle: float = 0.005, seed: int = 4,
) -> Pattern:  # fmt: skip
    """Rectangular tiles; `offset` 0.5 lays them as bricks."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        row = np.floor(v / size[1])
        shifted = u + offset * size[0] * np.mod(row, 2)
        tone = 1 + variation * _cell_values(np.floor(shifted / size[0]), row, seed)
        face = _tinted(colour, tone + mottle * noise(u, v, 0.9, seed, 1.7))
        line = np.minimum(_distance_to_line(shifted, size[0]), _distance_to_line(v, size[1]))
        return _blend(face, grout, np.clip(1.5 - line / joint, 0, 1))

    return pattern


def checker(first: Colour, second: Colour, size: float = 0.3, mottle: float = 0.01, seed: int = 5) -> Pattern:
    """Two colours in turn."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        odd = np.mod(np.floor(u / size) + np.floor(v / size), 2)
        line = np.minimum(_distance_to_line(u, size), _distance_to_line(v, size))
        brightness = (1 + mottle * noise(u, v, 1.2, seed, 1.7)) * (1 - 0.1 * np.clip(1.5 - line / 0.005, 0, 1))
        return _blend(first, second, odd) * brightness[..., None]

    return pattern


def carpet(colour: Colour, fleck: float = 0.006, seed: int = 6) -> Pattern:
    """Pile with fine grain and a few trodden, paler places."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return _tinted(colour, 1 + fleck * noise(u, v, 0.8, seed, 0.8) + 0.012 * noise(u, v, 3.0, seed + 1, 2.2))

    return pattern


def stripes(first: Colour, second: Colour, period: float = 0.2, share: float = 0.5, soft: float = 0.004) -> Pattern:
    """Upright stripes, as on wallpaper or a bedspread."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        phase = np.abs(np.mod(u, period) - period / 2)
        return _blend(first, second, (share * period / 2 - phase) / soft + 0.5) * np.ones_like(v)[..., None]

    return pattern


def damask(ground: Colour, figure: Colour, period: float = 0.28) -> Pattern:
    """A woven or printed ornament of rosettes and leaves on a half-drop grid."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        x, y = 2 * np.pi * u / period, 2 * np.pi * v / (1.5 * period)
        motif = np.cos(x) * np.cos(y) + 0.5 * np.cos(2 * x) * np.cos(2 * y) - 0.45 * np.cos(3 * x) * np.cos(3 * y)
        motif += 0.3 * np.cos(4 * x) + 0.2 * np.cos(4 * y)
        return _blend(ground, figure, 3.0 * motif - 0.7)

    return pattern


def floral(ground: Colour, flower: Colour, foliage: Colour, period: float = 0.16, seed: int = 7) -> Pattern:
    """Flowers and leaves scattered over a cloth or paper."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        cloth = np.broadcast_to(np.asarray(ground, np.float32), (*np.broadcast(u, v).shape, 3))
        for shift, colour, petals, radius in ((0.0, flower, 5, 0.24), (0.5, foliage, 3, 0.2)):
            i, j = np.floor(u / period + shift), np.floor(v / period + shift)
            x = np.mod(u / period + shift, 1) - 0.5 - 0.18 * _cell_values(i, j, seed)
            y = np.mod(v / period + shift, 1) - 0.5 - 0.18 * _cell_values(j, i, seed + 1)
            angle = np.arctan2(y, x) + 3 * _cell_values(i, j, seed + 2)
            edge = radius * (0.7 + 0.3 * np.cos(petals * angle))
            cloth = _blend(cloth, colour, (edge - np.hypot(x, y)) / 0.04 + 0.5)
        return cloth

    return pattern


def plaid(ground: Colour, band: Colour, line: Colour, period: float = 0.24) -> Pattern:
    """Tartan: bands and thin lines crossing."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        cloth = np.broadcast_to(np.asarray(ground, np.float32), (*np.broadcast(u, v).shape, 3))
        for x in (u, v):
            phase = np.mod(x, period) / period
            cloth = _blend(cloth, band, 0.5 * (phase < 0.4))
            cloth = _blend(cloth, line, 0.6 * (np.abs(phase - 0.7) < 0.035))
        return cloth

    return pattern


def dots(ground: Colour, dot: Colour, period: float = 0.09, radius: float = 0.25) -> Pattern:
    """Polka dots on a half-drop grid."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        column = np.floor(u / period)
        x, y = np.mod(u / period, 1) - 0.5, np.mod(v / period + 0.5 * np.mod(column, 2), 1) - 0.5
        return _blend(ground, dot, (radius - np.hypot(x, y)) / 0.06 + 0.5)

    return pattern


def fabric(colour: Colour, weave: float = 0.008, seed: int = 8) -> Pattern:
    """Upholstery: a fine weave and a slight unevenness."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        return _tinted(colour, 1 + weave * noise(u, v, 0.5, seed, 0.8) + 0.02 * noise(u, v, 1.3, seed + 1, 1.9))

    return pattern


def leather(colour: Colour, seed: int = 9) -> Pattern:
    """Creased hide."""
    return lambda u, v: _tinted(colour, 1 + 0.09 * np.abs(noise(u, v, 0.7, seed, 1.0)) - 0.05)


def stone(ground: Colour, vein: Colour, amount: float = 0.5, speckle: float = 0.0, seed: int = 10) -> Pattern:
    """Marble (veins) or granite (speckle)."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        warp = noise(u, v, 1.4, seed, 2.2)
        line = np.exp(-np.abs(np.sin(3.1 * (u + 0.6 * v) + 1.3 * warp)) / 0.07)
        face = _blend(ground, vein, amount * line * np.clip(0.6 + 0.5 * noise(u, v, 1.1, seed + 1, 1.3), 0, 1))
        return face * (1 + speckle * noise(u, v, 0.6, seed + 2, 0.3) + 0.02 * warp)[..., None]

    return pattern


def brushed(colour: Colour, seed: int = 11) -> Pattern:
    """Brushed metal, along u."""
    return lambda u, v: _tinted(colour, 1 + 0.025 * noise(u, v, (3.0, 0.25), seed, 0.7))


def wicker(colour: Colour, period: float = 0.04) -> Pattern:
    """Basket weave."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        x, y = np.sin(2 * np.pi * u / period), np.sin(2 * np.pi * v / period)
        return _tinted(colour, 0.85 + 0.22 * x * y)

    return pattern


def split(lower: Pattern, upper: Pattern, height: float, line: Colour, thickness: float = 0.04) -> Pattern:
    """Two patterns on one wall, a rail between them at `height`."""

    def pattern(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        whole = np.where((v < height)[..., None], lower(u, v), upper(u, v))
        return _blend(whole, line, (np.abs(v - height) < thickness / 2).astype(np.float32))

    return pattern


def to_bytes(colours: np.ndarray) -> np.ndarray:
    """Round [0, 1] to uint8."""
    return (np.clip(colours, 0, 1) * 255 + 0.5).astype(np.uint8)


def swatch(pattern: Pattern, metres: tuple[float, float] = (1.0, 1.0), pixels: int = 128) -> np.ndarray:
    """Sample a pattern into a texture (pixels, pixels, 3) uint8; its first row is at the top (largest v)."""
    u = (np.arange(pixels) + 0.5) / pixels * metres[0]
    v = (np.arange(pixels)[::-1] + 0.5) / pixels * metres[1]
    return to_bytes(pattern(*np.meshgrid(u, v)))

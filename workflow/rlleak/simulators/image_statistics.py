"""Statistics that tell rooms from coloured boxes: of RGB frames and of depth, and what real AI2-THOR frames have.

The reference values were measured on one default view of each of AI2-THOR's 120 layouts (depth: 60 views of one house
of the same engine), resized to 150x150.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

#: Brightness of (R, G, B), ITU-R BT.601.
LUMA = np.array([0.299, 0.587, 0.114])
#: Metres between neighbouring pixels that count as a jump in depth.
DEPTH_JUMP = 0.1
_EDGE = 0.05
_FREQUENCIES = (3, 60)

#: (median, 10th percentile, 90th percentile) of real AI2-THOR frames.
THOR_IMAGES: dict[str, dict[str, tuple[float, float, float]]] = {
    "kitchen": {
        "tv": (0.027, 0.013, 0.035), "png_kb": (24, 18, 27), "saturation": (0.30, 0.14, 0.49),
        "mean_luma": (0.42, 0.33, 0.58), "contrast": (0.14, 0.08, 0.19), "slope": (-2.7, -2.9, -2.6),
        "edges": (0.11, 0.04, 0.16),
    },
    "living_room": {
        "tv": (0.030, 0.022, 0.049), "png_kb": (27, 22, 31), "saturation": (0.31, 0.13, 0.48),
        "mean_luma": (0.54, 0.44, 0.67), "contrast": (0.18, 0.13, 0.21), "slope": (-2.8, -2.9, -2.5),
        "edges": (0.12, 0.09, 0.19),
    },
    "bedroom": {
        "tv": (0.024, 0.014, 0.038), "png_kb": (23, 18, 28), "saturation": (0.29, 0.14, 0.47),
        "mean_luma": (0.60, 0.50, 0.72), "contrast": (0.15, 0.10, 0.23), "slope": (-2.8, -2.9, -2.4),
        "edges": (0.09, 0.05, 0.16),
    },
    "bathroom": {
        "tv": (0.016, 0.010, 0.025), "png_kb": (21, 17, 25), "saturation": (0.20, 0.11, 0.39),
        "mean_luma": (0.53, 0.44, 0.63), "contrast": (0.11, 0.07, 0.19), "slope": (-2.8, -2.9, -2.6),
        "edges": (0.06, 0.02, 0.12),
    },
}  # fmt: skip
THOR_DEPTH: dict[str, tuple[float, float, float]] = {
    "depth_median": (1.4, 0.8, 2.1),
    "depth_p95": (2.7, 1.4, 4.4),
    "depth_jumps": (0.04, 0.005, 0.07),
}


def image_statistics(rgb: np.ndarray) -> dict[str, float]:
    """Measure one RGB frame.

    Args:
        rgb: (H, W, 3) uint8, or float in [0, 1]. H and W at least 121, so that frequency 60 exists.

    Returns:
        `tv` mean |dx| + mean |dy| of brightness; `png_kb` size as PNG in thousands of bytes; `saturation` mean of
        HSV; `mean_luma`; `contrast` standard deviation of brightness; `slope` of the radial power spectrum in
        log-log, frequencies 3-60; `edges` share of pixels whose brightness gradient exceeds 0.05.
    """
    byte = rgb if rgb.dtype == np.uint8 else np.round(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    image = byte / 255.0
    luma = image @ LUMA
    high, low = image.max(-1), image.min(-1)
    dx, dy = np.diff(luma, axis=1), np.diff(luma, axis=0)
    return {
        "tv": float(np.abs(dx).mean() + np.abs(dy).mean()),
        "png_kb": _png_bytes(byte) / 1000.0,
        "saturation": float(np.where(high > 0, (high - low) / np.maximum(high, 1e-9), 0.0).mean()),
        "mean_luma": float(luma.mean()),
        "contrast": float(luma.std()),
        "slope": spectral_slope(luma),
        "edges": float((np.hypot(dx[:-1], dy[:, :-1]) > _EDGE).mean()),
    }


def depth_statistics(depth: np.ndarray) -> dict[str, float]:
    """Measure one depth frame (H, W) in metres: median, 95th percentile, share of pixels with a jump over 0.1 m."""
    dx, dy = np.abs(np.diff(depth, axis=1)), np.abs(np.diff(depth, axis=0))
    return {
        "depth_median": float(np.median(depth)),
        "depth_p95": float(np.percentile(depth, 95)),
        "depth_jumps": float((np.maximum(dx[:-1], dy[:, :-1]) > DEPTH_JUMP).mean()),
    }


def spectral_slope(luma: np.ndarray) -> float:
    """Fit log(power) against log(frequency) over frequencies 3-60 cycles per image, power averaged on rings."""
    power = np.abs(np.fft.fft2(luma - luma.mean())) ** 2
    rows, columns = (np.fft.fftfreq(n) * n for n in luma.shape)
    ring = np.round(np.hypot(rows[:, None], columns[None])).astype(int)
    radial = np.bincount(ring.ravel(), power.ravel()) / np.maximum(np.bincount(ring.ravel()), 1)
    frequency = np.arange(_FREQUENCIES[0], _FREQUENCIES[1] + 1)
    return float(np.polyfit(np.log(frequency), np.log(np.maximum(radial[frequency], 1e-12)), 1)[0])


def _png_bytes(byte: np.ndarray) -> int:
    buffer = io.BytesIO()
    Image.fromarray(byte).save(buffer, format="PNG")
    return buffer.tell()

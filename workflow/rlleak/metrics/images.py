"""PSNR and SSIM of images, as QGI / RGI (section V) measure them, and without the paper's rescaling.

RGB is compared on Y of YCbCr (ITU-R BT.601) mapped to [0, 1], depth on its one channel. SSIM has the 11x11 Gaussian
window of Wang et al. 2004, which the paper cites [37]. Which Y range and which window the authors used, they do not
say: Y in [16, 235] with a range of 255 would give 1.3 dB more everywhere.

scikit-image is imported where an image is measured: it takes more than a second, and most scores are of no image.
"""

from functools import partial

import numpy as np

from rlleak.metrics.comparison import Comparison

PSNR_LIMIT = 100.0
_COLOURS = 3


def luma(rgb: np.ndarray) -> np.ndarray:
    """Y of YCbCr in [0, 1], (H, W), of an RGB image (3, H, W) in [0, 1]."""
    from skimage.color import rgb2ycbcr

    return (rgb2ycbcr(rgb, channel_axis=0)[0] - 16.0) / 219.0


def rescaled(image: np.ndarray) -> np.ndarray:
    """The paper's normalisation of an RGB or RGB + depth image (3 or 4, H, W).

    The brightest value of the three colours becomes 1 (255) and the depth is scaled by the same factor; "brightest
    pixel" is read as the largest colour value, not the largest luma. An image without a positive colour stays.
    """
    brightest = image[:_COLOURS].max()
    return image / brightest if brightest > 0 else image


def psnr(true: np.ndarray, attempt: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB for a data range of 1, at most 100."""
    from skimage.metrics import peak_signal_noise_ratio

    with np.errstate(divide="ignore"):
        return min(float(peak_signal_noise_ratio(true, attempt, data_range=1.0)), PSNR_LIMIT)


def ssim(true: np.ndarray, attempt: np.ndarray) -> float:
    """Structural similarity in [-1, 1] with Gaussian weights (sigma 1.5), for a data range of 1."""
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            true, attempt, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
    )


def _held(image: np.ndarray, channels: tuple[str, ...] | None) -> tuple[str, ...]:
    """What the channels of an image (C, H, W) hold: as said, or told from their number."""
    usual = {1: ("depth",), 3: ("red", "green", "blue"), 4: ("red", "green", "blue", "depth")}
    return channels or usual.get(len(image), ())


def _channel(image: np.ndarray, state: str, held: tuple[str, ...]) -> np.ndarray | None:
    """The channel compared, (H, W) in [0, 1], or None if the image (C, H, W) has no such state."""
    if state == "rgb":
        return luma(np.clip(image[:_COLOURS], 0, 1)) if "red" in held else None
    return np.clip(image[-1], 0, 1) if "depth" in held else None


def _measure(comparison: Comparison, *, similarity, state: str, variant: str = "") -> np.ndarray | None:
    """A similarity per victim, (N,). What a camera cannot give (below 0, above 1) is clipped after any rescaling."""
    pair = comparison.pair("image")
    if pair is None or (variant == "read" and comparison.reads is None):
        return None
    rows, columns = comparison.reads if variant == "read" else pair[1].shape[-2:]
    values = []
    for attempt, true in zip(*pair, strict=True):
        held = _held(true, comparison.channels)
        if variant == "" and "red" in held:
            attempt = rescaled(attempt)
        shown, truth = (_channel(side, state, held) for side in (attempt, true))
        if shown is None or truth is None:
            return None
        values.append(similarity(truth[:rows, :columns], shown[:rows, :columns]))
    return np.array(values)


psnr_rgb = partial(_measure, similarity=psnr, state="rgb")
ssim_rgb = partial(_measure, similarity=ssim, state="rgb")
psnr_depth = partial(_measure, similarity=psnr, state="depth")
ssim_depth = partial(_measure, similarity=ssim, state="depth")

psnr_rgb_raw = partial(psnr_rgb, variant="raw")
ssim_rgb_raw = partial(ssim_rgb, variant="raw")
psnr_depth_raw = partial(psnr_depth, variant="raw")
ssim_depth_raw = partial(ssim_depth, variant="raw")

psnr_rgb_read = partial(psnr_rgb, variant="read")
ssim_rgb_read = partial(ssim_rgb, variant="read")
psnr_depth_read = partial(psnr_depth, variant="read")
ssim_depth_read = partial(ssim_depth, variant="read")


def psnr_image_read(comparison: Comparison) -> np.ndarray | None:
    """PSNR over all channels together, (N,), without rescaling, on the pixels that the network reads."""
    pair = comparison.pair("image")
    if pair is None or comparison.reads is None:
        return None
    rows, columns = comparison.reads
    both = zip(*(np.clip(side[..., :rows, :columns], 0, 1) for side in pair), strict=True)
    return np.array([psnr(true, attempt) for attempt, true in both])


def _of_samples(comparison: Comparison, *, state: str) -> np.ndarray | None:
    """PSNR of the pixels that the network reads, without rescaling, mean over all of each update's samples, (N,).

    A sample that is not claimed is a black image: so who claims little gains nothing by it.
    """
    if comparison.samples is None or comparison.reads is None:
        return None
    rows, columns = comparison.reads
    means = []
    for pair in comparison.samples:
        values = []
        for attempt, true in zip(*pair, strict=True):
            held = _held(true, comparison.channels)
            shown, truth = (_channel(side, state, held) for side in (attempt, true))
            if shown is None or truth is None:
                return None
            values.append(psnr(truth[:rows, :columns], shown[:rows, :columns]))
        means.append(np.mean(values))
    return np.array(means)


batch_psnr_rgb = partial(_of_samples, state="rgb")
batch_psnr_depth = partial(_of_samples, state="depth")

"""Fewer bits a number: float16, int8, QSGD's random levels, the sign alone."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.errors import ConfigurationError
from rlleak.sharing.sending import Client, Sent

_LENGTH_BITS = 32
"""Of a scale or a length that goes with quantised numbers."""


def float16(sent: Sent, client: Client) -> Sent:
    """Rounded to IEEE half precision. Raises ConfigurationError where that overflows; NaN and Inf stay."""
    rounded = {}
    for name, gradient in sent.gradients.items():
        rounded[name] = gradient.half().to(gradient.dtype)
        if not bool((torch.isfinite(rounded[name]) | ~torch.isfinite(gradient)).all()):
            raise ConfigurationError(f"'{name}' overflows float16; clip the gradient before, or scale the loss")
    return sent.with_values(rounded, bits=16)


def int8(sent: Sent, client: Client) -> Sent:
    """Rounded to 255 levels of each tensor, evenly spaced from minus its largest magnitude to it."""
    rounded = {}
    for name, gradient in sent.gradients.items():
        step = gradient.abs().max() / 127
        rounded[name] = torch.where(step > 0, torch.round(gradient / step) * step, gradient)
    return sent.with_values(rounded, bits=8, beside=sent.beside + _LENGTH_BITS * len(rounded))


def qsgd(sent: Sent, client: Client, *, levels: int, bucket: int = 512) -> Sent:
    """QSGD (Alistarh et al. 2017, section 3.1): each number rounded at random to s levels of its bucket's length.

    Unbiased: |v| sign(v_i) l / s, where l is one of the two integers around s |v_i| / |v|, the nearer the likelier.
    levels: s. bucket: how many numbers share a length (the paper's 512). Bits: of sign and level, without Elias coding.
    """
    rounded, buckets = {}, 0
    for name, gradient in sorted(sent.gradients.items()):
        rounded[name] = _qsgd(gradient, levels, bucket, client.generator)
        buckets += math.ceil(gradient.numel() / bucket)
    bits = 1 + math.ceil(math.log2(levels + 1))
    return sent.with_values(
        {name: rounded[name] for name in sent.gradients}, bits=bits, beside=sent.beside + _LENGTH_BITS * buckets
    )


def _qsgd(gradient: Tensor, levels: int, bucket: int, generator: torch.Generator) -> Tensor:
    flat = F.pad(gradient.flatten(), (0, -gradient.numel() % bucket)).unflatten(0, (-1, bucket))
    length = flat.norm(dim=1, keepdim=True)
    place = levels * flat.abs() / length.clamp(min=torch.finfo(flat.dtype).tiny)
    drawn = torch.rand(place.shape, generator=generator, dtype=place.dtype).to(place.device)
    level = torch.floor(place + drawn).clamp(max=levels)
    return (length * flat.sign() * level / levels).flatten()[: gradient.numel()].view_as(gradient)


def sign(sent: Sent, client: Client) -> Sent:
    """The sign alone, times each tensor's mean magnitude (Bernstein et al. 2018, with Karimireddy et al. 2019's scale).

    0 stays 0, as torch.sign has it, so a number takes two bits. The mean is over what is sent.
    """
    counts = {
        name: sent.known[name].sum().clamp(min=1) if name in sent.known else g.numel()
        for name, g in sent.gradients.items()
    }
    reduced = {name: g.sign() * (g.abs().sum() / counts[name]) for name, g in sent.gradients.items()}
    return sent.with_values(reduced, bits=2, beside=sent.beside + _LENGTH_BITS * len(reduced))

"""Noise and clipping: what hides a gradient among others, and by how much it must be shortened for a guarantee."""

import torch
from torch import Tensor

from rlleak.configuration.defences import relative_of
from rlleak.sharing.sending import Client, Sent


def gaussian_noise(
    sent: Sent,
    client: Client,
    *,
    relative_deviation: float | None = None,
    variance: float | None = None,
    snr_db: float | None = None,
) -> Sent:
    """Independent Gaussian noise of one deviation on all numbers. One measure of it is given.

    relative_deviation: the noise's expected length over the gradient's; snr_db: the same as a signal-to-noise ratio,
    -20 log10 of it; variance: of each number (RGIA's table 2).
    """
    if variance is not None:
        return _with_noise(sent, client, variance**0.5)
    relative = relative_of({"relative_deviation": relative_deviation, "snr_db": snr_db})
    return _with_noise(sent, client, relative * sent.length / sent.count.clamp(min=1).double().sqrt())


def clipping(sent: Sent, client: Client, *, norm: float) -> Sent:
    """Shortened to `norm` over all parameters where it is longer (Abadi et al. 2016, algorithm 1)."""
    share = (norm / sent.length.clamp(min=torch.finfo(torch.float64).tiny)).clamp(max=1.0)
    return sent.with_values({name: gradient * share.to(gradient.dtype) for name, gradient in sent.gradients.items()})


def clipped_gaussian(sent: Sent, client: Client, *, norm: float, noise_multiplier: float, **accounting: float) -> Sent:
    """Clipping to `norm`, then noise of deviation noise_multiplier * norm on every number: the Gaussian mechanism.

    accounting: what `rlleak.sharing.privacy.epsilon` counts with; it changes nothing that is sent. Not covered: that
    floating-point noise leaves gaps in which numbers tell more (Mironov 2012), and that a study's seeded generator is
    no cryptographic one.
    """
    return _with_noise(clipping(sent, client, norm=norm), client, noise_multiplier * norm)


def _with_noise(sent: Sent, client: Client, deviation: float | Tensor) -> Sent:
    drawn = {}
    for name, gradient in sorted(sent.gradients.items()):
        noise = torch.randn(gradient.shape, generator=client.generator, dtype=gradient.dtype)
        drawn[name] = gradient + torch.as_tensor(deviation).to(gradient) * noise.to(gradient.device)
    # Noise is of full precision, whatever the numbers were rounded to before.
    return sent.with_values({name: drawn[name] for name in sent.gradients}, bits=32)

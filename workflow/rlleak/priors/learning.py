"""Learns a denoiser on public views: patches with Gaussian noise of all levels that an attack meets, and without."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rlleak.errors import ConfigurationError
from rlleak.priors.denoiser import DenoiserNetwork, LearntPrior
from rlleak.priors.prior import Prior
from rlleak.priors.variation import TotalVariation

NOISE = (0.002, 0.3)
"""Deviations that it learns to remove: from where a search begins to below what anybody sees."""
HELD_OUT_NOISE = (0.01, 0.03, 0.1)
HELD_OUT_IMAGES = 16
PATCH, BATCH = 64, 8
STEP_SIZE, WARM_UP = 2e-3, 50

Progress = Callable[[int, int, float], None]
"""Called with iterations done, iterations in all, and the mean loss since the last call."""


def learn(
    images: Tensor,
    held_out: Tensor,
    *,
    iterations: int,
    seed: int,
    widths: tuple[int, ...] = (32, 48, 64),
    blocks: int = 2,
    device: str | torch.device = "cpu",
    progress: Progress = lambda done, total, loss: None,
) -> LearntPrior:
    """A prior for images (N, C, H, W) in [0, 1] of public layouts; `held_out`, of others, only measure it.

    Its description's "held_out" gives, by deviation of the noise, the PSNR in dB of the noisy images, of the learnt
    prior and of total variation ("noisy", "learnt", "variation"). Raises ConfigurationError for images of different
    channels, for less than a batch of them, and for images smaller than a network can halve.
    """
    _check(images, held_out)
    device, generator = torch.device(device), torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DenoiserNetwork(images.shape[1], widths, blocks)
    network = network.to(device, memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters(), lr=STEP_SIZE, betas=(0.9, 0.99))
    told, every = 0.0, max(1, iterations // 20)
    for iteration in range(iterations):
        for group in optimiser.param_groups:
            group["lr"] = STEP_SIZE * _share(iteration, iterations)
        clean = _patches(images, generator).to(device)
        deviation = torch.exp(torch.empty(len(clean)).uniform_(*map(math.log, NOISE), generator=generator)).to(device)
        noise = torch.randn(clean.shape, generator=generator).to(device)
        noisy = (clean + deviation.view(-1, 1, 1, 1) * noise).contiguous(memory_format=torch.channels_last)
        errors = (network(noisy, deviation) - clean).abs().mean(dim=(1, 2, 3))
        # Small noise leaves small errors: without a weight, only large noise would be learnt.
        loss = (errors / deviation.sqrt()).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        told += float(loss.detach())
        if (iteration + 1) % every == 0:
            progress(iteration + 1, iterations, told / every)
            told = 0.0
    described = {"channels": images.shape[1], "widths": list(widths), "blocks": blocks, "iterations": iterations}
    prior = LearntPrior(network, described | {"images": len(images), "noise": list(NOISE)})
    prior.description["held_out"] = measure(prior, held_out.to(device), generator)
    return prior


def measure(prior: Prior, held_out: Tensor, generator: torch.Generator) -> dict[str, dict[str, float]]:
    """PSNR in dB on noisy images of layouts that were not learnt from; see `learn`."""
    measured: dict[str, dict[str, Any]] = {}
    # Evenly over all layouts.
    held_out = held_out[:: max(1, len(held_out) // HELD_OUT_IMAGES)][:HELD_OUT_IMAGES]
    noise = torch.randn(held_out.shape, generator=generator).to(held_out)
    for level in HELD_OUT_NOISE:
        noisy, deviation = held_out + level * noise, held_out.new_full((len(held_out),), level)
        measured[f"{level:g}"] = {
            "noisy": _psnr(noisy, held_out),
            "learnt": _psnr(prior(noisy, deviation), held_out),
            "variation": _psnr(TotalVariation(steps=50)(noisy, deviation), held_out),
        }
    return measured


def _check(images: Tensor, held_out: Tensor) -> None:
    if images.dim() != 4 or held_out.dim() != 4 or images.shape[1] != held_out.shape[1]:
        raise ConfigurationError(
            f"a prior is learnt on images (N, C, H, W) and measured on others of the same channels, not on "
            f"{tuple(images.shape)} and {tuple(held_out.shape)}"
        )
    if len(images) < BATCH or len(held_out) < 1:
        raise ConfigurationError(
            f"a prior needs at least {BATCH} public views and one of another layout; there are {len(images)} and "
            f"{len(held_out)}; raise detector.layouts, detector.held_out_layouts or detector.views_per_layout"
        )
    if min(images.shape[2:]) < 16:
        raise ConfigurationError(f"a prior needs images of at least 16 x 16 pixels, not {tuple(images.shape[2:])}")


def _share(iteration: int, iterations: int) -> float:
    """Of the step size: warmed up, then along a cosine to 1 %."""
    cosine = 0.5 * (1 + math.cos(math.pi * iteration / iterations))
    return min(1.0, (iteration + 1) / WARM_UP) * (cosine + 0.01)


def _patches(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random patches (BATCH, C, <= PATCH, <= PATCH), half of them mirrored: rooms have no left or right."""
    sides = [min(PATCH, side) for side in images.shape[2:]]
    chosen = torch.randint(len(images), (BATCH,), generator=generator).tolist()
    cut = []
    for index in chosen:
        row, column = (
            int(torch.randint(whole - part + 1, (), generator=generator))
            for whole, part in zip(images.shape[2:], sides, strict=True)
        )
        patch = images[index, :, row : row + sides[0], column : column + sides[1]]
        cut.append(patch.flip(-1) if torch.rand((), generator=generator) < 0.5 else patch)
    return torch.stack(cut)


def _psnr(image: Tensor, truth: Tensor) -> float:
    return -10 * math.log10(max(float((image.clamp(0, 1) - truth).square().mean()), 1e-10))

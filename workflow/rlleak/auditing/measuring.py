"""What a network's gradients leak, measured: updates are shared from observations, attacked, and compared with them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from rlleak.attacks.defaults import attack
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.configuration.attacks import AttackSettings
from rlleak.errors import ConfigurationError, ResourceError
from rlleak.learners.batch import Batch
from rlleak.learners.networks import load_network
from rlleak.learners.reading import Reading
from rlleak.metrics.batches import score_claims
from rlleak.metrics.images import psnr
from rlleak.sharing.modules import CapturedUpdate, capture_module
from rlleak.sharing.wire import Wire


@dataclass(frozen=True)
class Measurement:
    """One component of one attack on one branch: median over updates and the worst.

    features: the input of the first linear layer. image: PSNR over the pixels that the network reads. reward: for
    actor-critic the advantage. flagged: share of
    updates about which the attack itself says that an assumption failed. note: why there is no number."""

    branch: str
    attack: str
    component: str
    median: float | None = None
    worst: float | None = None
    unit: str = ""
    updates: int = 0
    seconds: float = 0.0
    flagged: float = 0.0
    note: str = ""


def measure(
    module: nn.Module,
    reading: Reading,
    loss: Any,
    batch: Batch,
    attacks: Sequence[AttackSettings],
    *,
    wire: Wire,
    batch_size: int = 1,
    target_network: nn.Module | None = None,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> list[Measurement]:
    """Errors of each attack's components on each branch. An attack that refuses says why, in `note`."""
    found = []
    for index, branch in enumerate(reading.branches):
        if loss.kind == "reinforce" and "policy" not in branch.outputs:
            continue
        title = " and ".join(branch.outputs)
        update = capture_module(
            module,
            loss,
            batch,
            reading=reading,
            output=branch.outputs[0],
            batch_size=batch_size,
            wire=wire,
            target_network=target_network,
        )
        for settings in attacks:
            name = settings.method
            if name in ("peel", "best") and branch.spec.image_shape is None:
                continue  # there is no image beyond what closed_form gives
            start = time.perf_counter()
            try:
                guess = attack(update, settings, seed=seed, device=device)
            except (ConfigurationError, ResourceError) as error:
                found.append(Measurement(title, name, "all", note=str(error)))
                continue
            seconds = (time.perf_counter() - start) / len(update)
            flagged = float(guess.trust["assumption_failed"].mean()) if "assumption_failed" in guess.trust else 0.0
            for made in _compared(module, update, reading, index, loss, batch, guess):
                found.append(
                    replace(made, branch=title, attack=name, updates=len(update), seconds=seconds, flagged=flagged)
                )
    return found


@torch.no_grad()
def _compared(
    module: nn.Module,
    update: CapturedUpdate,
    reading: Reading,
    index: int,
    loss: Any,
    batch: Batch,
    guess: Reconstruction,
) -> list[Measurement]:
    network = load_network(update.architecture, update.parameters)
    named = {name: value.to(next(iter(update.parameters.values()))) for name, value in batch.observation.items()}
    true = reading.network_input(named, index)
    own = true | {"linear_input": network.features(true)}
    found = []
    if update.batch_size > 1:
        return _claims(guess, own["linear_input"].cpu())
    for name, title in (("linear_input", "features"), ("vector", "vector")):
        value = getattr(guess, name)
        if value is not None and name in own:
            apart = (value - own[name].cpu()).norm(dim=1) / own[name].cpu().norm(dim=1).clamp(min=1e-12)
            found.append(_of(title, apart, "relative error"))
    if guess.image is not None and "image" in own:
        mask = _read_pixels(update)
        values = [
            psnr(truth[:, mask].double().numpy(), attempt[:, mask].double().clamp(0, 1).numpy())
            for truth, attempt in zip(own["image"].cpu(), guess.image, strict=True)
        ]
        found.append(_of("image", torch.tensor(values), "dB", high_is_good=True))
    if guess.action is not None and "policy" in reading.branches[index].outputs:
        right = (guess.action == batch.action.cpu()).float()
        found.append(Measurement("", "", "action", float(right.mean()), float(right.mean()), "right"))
    # A loss needs its targets to say what is private; the update was made from the same ones.
    for name, title in (("target_q", "target"), ("reward", "reward")):
        value = getattr(guess, name)
        truth = _private(module, reading, loss, batch, update.batch_size, name)
        if value is None or truth is None:
            continue
        # An attack claims nothing, and leaves a 0, where it says that the error's size is hidden.
        hidden = (guess.trust.get("error_unseen", torch.zeros(len(value))) > 0) & (value == 0)
        if hidden.any():
            of = "" if hidden.all() else f" in {int(hidden.sum())} of {len(hidden)} updates"
            found.append(Measurement("", "", title, note=f"{title}: hidden{of}, as is how large the error was"))
        if not hidden.all():
            apart = (value - truth.cpu()).abs() / truth.cpu().abs().clamp(min=1e-6)
            found.append(_of(title, apart[~hidden], "relative error"))
    return found


def _claims(guess: Reconstruction, truth: Tensor) -> list[Measurement]:
    """Of a batch's samples: how many are found, and how many of the claims are true (relative error below 1e-3)."""
    if guess.claimed is None:
        return [Measurement("", "", "all", note="does not tell the samples of a batch apart; batch_heads does")]
    scores = score_claims(guess.claimed.numpy(), guess.linear_input.numpy(), truth.numpy())
    found = []
    for name, title in (("recall", "samples found"), ("precision", "claims true")):
        known = torch.from_numpy(scores[name])
        known = known[~known.isnan()]
        if len(known):
            found.append(_of(title, known, "share", high_is_good=True))
    return found


def _private(module: nn.Module, reading: Reading, loss: Any, batch: Batch, size: int, name: str) -> Tensor | None:
    if name == "reward" and loss.kind == "dqn":
        return None
    if name == "target_q" and batch.target is None:
        return None
    if name == "target_q":
        return batch.target
    # Update by update, as they were made: what a loss takes over its batch (PPO's normalised advantage) is over one.
    parts = [batch.select(slice(start, start + size)) for start in range(0, len(batch), size)]
    found = [loss.private_values(reading.outputs(module, part.observation), part).get(name) for part in parts]
    return None if found[0] is None else torch.cat(found)


def _of(title: str, values: Tensor, unit: str, high_is_good: bool = False) -> Measurement:
    worst = values.min() if high_is_good else values.max()
    return Measurement("", "", title, float(values.double().quantile(0.5)), float(worst), unit)


def _read_pixels(update: CapturedUpdate) -> Tensor:
    """(H, W) bool: what the first convolution reads; everything where there is none."""
    spec = update.architecture
    mask = torch.ones(spec.image_shape[1:], dtype=torch.bool)
    if spec.convolutions:
        first = spec.convolutions[0]
        for axis, side in enumerate(spec.image_shape[1:]):
            places = (side + 2 * first.padding - first.kernel) // first.stride + 1
            touched = torch.zeros(side + 2 * first.padding, dtype=torch.bool)
            for place in range(places):
                touched[place * first.stride : place * first.stride + first.kernel] = True
            touched = touched[first.padding : first.padding + side]
            mask &= touched.view((-1, 1) if axis == 0 else (1, -1))
    return mask

"""The images of a batch's samples: what `batch_heads` leaves of each, taken back through the convolutions.

Of each sample the output of the last convolution is known, and its error; of all samples together the sum of their
contributions to each convolution's kernels. So, from the last convolution down:

1. The images that give these outputs and sums, and that a prior believes (`first_layer.solve` through the convolutions
   between: feature inversion, Mahendran and Vedaldi 2015, arXiv 1412.0035, with a denoiser for a prior).
2. The convolution's input by non-negative least squares, from what these images give. Where the next bias's gradient
   confirms its masks, the next convolution's outputs and errors are known too: again from 1, with these.

With the default network in S1 the last convolution leaves 7,200 equations of outputs per sample, 36,864 of kernels for
all, and as many inequalities, about 18,496 unknowns per sample of which half are 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlleak.attacks.batch_heads import batch_bytes, separate
from rlleak.attacks.batch_layers import BatchLayers, apart, behind_convolutions, stacked
from rlleak.attacks.first_layer import Schedule, solve
from rlleak.attacks.hidden_layers import Samples
from rlleak.attacks.known_convolution import KnownConvolution, NextLayer, equations
from rlleak.attacks.nonnegative import polish, solve_nonnegative
from rlleak.attacks.peel import layers_bytes
from rlleak.attacks.peeling import FINE_TOLERANCE, TOLERANCE, in_dtype
from rlleak.attacks.refining import select
from rlleak.attacks.running import Chunk, attack
from rlleak.configuration.attacks import AttackSettings
from rlleak.priors.prior import Prior
from rlleak.priors.variation import TotalVariation
from rlleak.sharing.update import SharedUpdate

SCHEDULE = Schedule(first=0.3, last=0.005, steps=8)
ROUNDS, DETERMINED_ROUNDS = 60, 30
"""From a grey image on; fewer where there are more equations than unknowns (with 40 instead of 60, images of a batch of
8 were 2 dB worse, and those of a batch of 4 did not lead on to the next convolution)."""
ENOUGH = 0.7
"""Equations per unknown of a convolution's input from which on it is sought. A generic system with half of its unknowns
0 and as many inequalities would need 0.56; samples of one client resemble each other."""
CONFIRMED = 5e-4
"""Share of a channel's error by which its bias may disagree with its masks: in batches of 4 a few of 74,000 masks were
wrong where the input was right, by 1e-4, and images were 4 dB better for going on; wrong inputs leave 1e-3 and more."""
DESCENT_STEPS = 200
POLISH_STEPS, POLISH_ROUNDS, FIRST_SUPPORT = 100, 12, 1e-2
FINAL_STEPS, FINAL_ROUNDS, FINAL_SUPPORT = 60, 3, 1e-4
"""A convolution's input: projected gradients from what the images give, conjugate gradients on its support in float32,
then in float64."""


def images_bytes(update: SharedUpdate, settings: AttackSettings) -> int:
    """Upper estimate of the memory that one victim takes, bytes (batch 2 in S1: 0.5 GB, a process held 0.65 in all).

    The first convolution's systems, which are the most that peeling one transition takes, are not reached in batches.
    """
    return batch_bytes(update, settings) + update.batch_size * layers_bytes(update)


@dataclass
class Each:
    """A prior over images as one over samples that stand below each other."""

    prior: Prior
    samples: int

    @property
    def unseen(self) -> Tensor | float:
        """See `Prior`."""
        one = self.prior.unseen
        return torch.cat([one] * self.samples, dim=1) if isinstance(one, Tensor) else one

    def __call__(self, image: Tensor, deviation: Tensor) -> Tensor:
        """See `Prior`."""
        return stacked(self.prior(apart(image, self.samples), deviation.repeat_interleave(self.samples)), len(image))

    def reset(self) -> None:
        """See `Prior`."""
        self.prior.reset()


@attack(weighs=images_bytes)
def batch_images(chunk: Chunk) -> Mapping[str, Tensor]:
    """As `batch_heads`, and the image of every sample of the batches that it claims whole; of others zeros.

    Its knowledge `prior`, if there is one that helps, is used in place of total variation, and says where the search
    begins. Of each sample that image is kept, of all convolutions', that explains best what is known of it: see
    `batch_layers.better`. Trust beside that of `batch_heads`: `convolutions_undone`, of how many convolutions the
    inputs' equations were used (1: the last alone); `mask_misfit`, by how much the last masks that were sought disagree
    with their bias's gradient; `residual_features` and `residual_gradients`, relative residuals of the last
    convolution's outputs and of all kernels' gradients at the images. Raises ConfigurationError as `batch_heads` does.
    """
    rows, separated = [], []
    for victim in range(chunk.victims):
        row, samples = separate(chunk, chunk.update.select(slice(victim, victim + 1)))
        chunk.progress(f"separation {chunk.key}", victim + 1, chunk.victims, float(row["trust/residual_separation"]))
        rows.append(row)
        separated.append(samples)
    found = {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
    spec = chunk.update.architecture
    if spec.image_shape is None or not spec.convolutions:
        return found
    names = ("convolutions_undone", "mask_misfit", "residual_features", "residual_gradients")
    trust = {f"trust/{name}": torch.zeros(chunk.victims, device=chunk.device) for name in names}
    shape = (chunk.victims, chunk.update.batch_size, *spec.image_shape)
    found |= {"image": next(iter(chunk.update.parameters.values())).new_zeros(shape)} | trust
    whole = [victim for victim, samples in enumerate(separated) if samples is not None]
    if whole:
        victims = torch.tensor(whole, device=chunk.device)
        images = seen(chunk, kernels_only(chunk.update).select(victims), [separated[victim] for victim in whole])
        for name, value in images.items():
            found[name] = found[name].index_copy(0, victims, value.to(found[name]))
    return found


def kernels_only(update: SharedUpdate) -> SharedUpdate:
    """Without the gradients of the linear layers, which are nearly all of its memory."""
    kernels = {name: value for name, value in update.gradients.items() if name.startswith("convolutions.")}
    return replace(update, gradients=kernels)


def seen(chunk: Chunk, update: SharedUpdate, separated: Sequence[Samples]) -> dict[str, Tensor]:
    """Images (V, B, C, H, W) and trust of updates whose samples are all told apart."""
    output, delta, error = behind_convolutions(update, separated)
    layers = BatchLayers(update, error)
    last = len(update.architecture.convolutions) - 1
    known, misfit = layers.describe(last, output, delta)
    top, every = known, torch.arange(len(update), device=chunk.device)
    learnt = chunk.knowledge.get("prior")
    prior = Each(learnt if learnt is not None and learnt.helps else TotalVariation(), update.batch_size)
    picture, undone, left = None, torch.zeros_like(misfit), every
    for index in range(last, -1, -1):
        own = BatchLayers(update.select(left), error[left])
        picture = believed(chunk, own, index, known, prior, picture)
        if index == last:
            kept = picture
        else:
            kept = kept.index_copy(0, left, own.best_of(picture, kept[left], select(top, left)))
        undone[left] += 1
        if index == 0 or equations_per_unknown(known) < ENOUGH:
            break
        inputs = inner(chunk, known, own.features(picture, index), index)
        below, off = own.describe(index - 1, inputs, own.error_below(known))
        misfit[left] = off
        confirmed = (off <= CONFIRMED).nonzero()[:, 0]
        if len(confirmed) == 0:
            break
        known, picture, left = select(below, confirmed), picture[confirmed], left[confirmed]
    found = layers.misfits(kept, top)
    return {
        "image": apart(kept, update.batch_size).unflatten(0, (len(update), -1)),
        "trust/convolutions_undone": undone,
        "trust/mask_misfit": misfit,
        "trust/residual_features": found.outputs,
        "trust/residual_gradients": found.gradients,
    }


def equations_per_unknown(known: KnownConvolution) -> float:
    """Of a convolution's input: active outputs, and the kernels' gradient, which all samples share."""
    equal = float(known.active.sum()) / known.victims + known.kernel_gradient[0].numel()
    return equal / torch.Size(known.image_shape).numel()


def believed(
    chunk: Chunk, layers: BatchLayers, index: int, known: KnownConvolution, prior: Prior, start: Tensor | None
) -> Tensor:
    """Images (V, C, samples * H, W) that fulfil a convolution's equations, through those before it, and the prior's.

    Right before the image, the first convolution's kernels say something too: its masks are taken from the image.
    """
    known = in_dtype(known, torch.float32)
    first, terms = known, []
    if index > 0:
        delta = layers.error_below(known).double() if index == 1 else None
        plain = layers.unknown(0) if delta is None else layers.unsure(0, delta)
        first, terms = in_dtype(plain, torch.float32), [*equations(known)]
        for between in range(index - 1, 0, -1):
            terms = [NextLayer(in_dtype(layers.unknown(between), torch.float32), terms)]
        terms = [NextLayer(first, terms)]
    schedule = replace(SCHEDULE, rounds=ROUNDS if equations_per_unknown(known) < 1 else DETERMINED_ROUNDS)
    if start is not None:
        schedule = replace(schedule, rounds=DETERMINED_ROUNDS, first=chunk.settings.peel.refining)
    report = chunk.report(f"images through convolution {index}", schedule.rounds)
    return solve(first, prior, schedule, start=start, extra=terms, report=report).image


def inner(chunk: Chunk, known: KnownConvolution, start: Tensor, index: int) -> Tensor:
    """A convolution's input (V, C, samples * H, W), not negative, from what is near it."""
    single = in_dtype(known, torch.float32)
    terms = equations(single)
    report = chunk.report(f"input of convolution {index}", DESCENT_STEPS)
    found = solve_nonnegative(terms, start.float(), DESCENT_STEPS, 0.0, TOLERANCE, report)
    found = polish(terms, found, POLISH_ROUNDS, POLISH_STEPS, FIRST_SUPPORT, FINE_TOLERANCE)
    return polish(equations(known), found.double(), FINAL_ROUNDS, FINAL_STEPS, FINAL_SUPPORT, FINE_TOLERANCE)

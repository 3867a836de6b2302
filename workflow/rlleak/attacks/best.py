"""Best: what a user gets who names no attack. Peeling, and matching where peeling says that its assumptions fail.

Where the certificate holds, or nothing but noise is against it, peeling's image stands: it fulfils every equation that
matching could ask for, as well as its noise allows. Where it does not (pruning, masks that no cut explains), algebra
still helps matching twice. The linear layers' gradients are projected on rank 1 first, which takes nearly all of the
noise on them away; and one of matching's starting points is the peeled image. All starting points get the same
iterations, the lowest matching loss wins, and the starts themselves are among the candidates: so the result is never
worse, in matching loss, than peeling or than matching from noise.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.attacks import peel as peeling
from rlleak.attacks import rules, stages
from rlleak.attacks.closed_form import read_linear_part
from rlleak.attacks.linear_algebra import LinearPart, solve_linear_part
from rlleak.attacks.optimisation import Variable
from rlleak.attacks.running import Chunk, attack, victim_bytes
from rlleak.attacks.signals import ErrorDirection
from rlleak.configuration.attacks import AttackSettings
from rlleak.sharing.update import SharedUpdate

UNCERTAIN = ("several_samples", "masks_disagree", "entries_unknown")
"""Failures after which a peeled image is a guess that matching may better. Noise alone is none: equations weighed by it
lose less than matching does (S1, two public rooms, Y: 33.0, 31.7 and 30.5 dB at 0.1, 1 and 10 % of noise)."""


def best_bytes(update: SharedUpdate, settings: AttackSettings) -> int:
    """Upper estimate of the memory that one victim takes, bytes."""
    return peeling.peel_bytes(update, settings) + victim_bytes(update, settings)


@attack(weighs=best_bytes)
def best(chunk: Chunk) -> Mapping[str, Tensor]:
    """Peeling; victims whose certificate fails are matched too, from the peeled image and from noise.

    `trust/matched`: 1 where matching had its say, and then `trust/matching_loss_image`, of the update with its linear
    layers' gradients projected on rank 1 (elsewhere 0). `restarts`: starting points, of which the first is the peeled
    image. Knowledge and errors as `peel`'s.
    """
    part = solve_linear_part(chunk.update)
    found, certificate = read_linear_part(chunk.update, part)
    matched = torch.zeros(chunk.victims, dtype=torch.bool, device=chunk.device)
    loss = torch.zeros(chunk.victims, device=chunk.device)
    if chunk.update.architecture.image_shape is not None:
        image = peeling.image(chunk, part, certificate)
        if chunk.update.architecture.convolutions:
            failures = [certificate.failures[reason] for reason in UNCERTAIN if reason in certificate.failures]
            matched = torch.stack(failures).any(dim=0) & part.first.alive
            uncertain = matched.nonzero()[:, 0]
            if len(uncertain):
                image[uncertain], loss[uncertain] = match_from(chunk, part, image, uncertain)
        found["image"] = image
    return {**found, **certificate.trust(), "trust/matched": matched.float(), "trust/matching_loss_image": loss}


def match_from(chunk: Chunk, part: LinearPart, image: Tensor, victims: Tensor) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) of some victims by matching, started from these and from noise, and their losses (N,)."""
    piece = cleaned(chunk.update, part, victims)
    settings = chunk.settings.model_copy(update={"restarts": max(2, chunk.settings.restarts)})
    some = Chunk(
        piece, settings, chunk.seed, f"{chunk.key} uncertain", chunk.checkpoint, chunk.progress, chunk.knowledge
    )
    start = stages.start_image(some).start
    start[:: settings.restarts] = image[victims].to(start)
    direction = ErrorDirection(output_error(piece, part, victims)[some.rows])
    vectors = vector_of(part, chunk.update)
    fixed = {} if vectors is None else {"vector": vectors[victims].to(start)}
    variables = {"image": Variable(start, bounds=(0.0, 1.0) if settings.bounded else None)}
    matched = stages.match(some, "image", "image", direction, variables, settings.image, fixed=fixed)
    return matched.values["image"].to(image), matched.loss.to(image)


def cleaned(update: SharedUpdate, part: LinearPart, victims: Tensor) -> SharedUpdate:
    """Some victims' updates with the linear layers' gradients of rank 1, as they would be without noise."""
    piece = update.select(victims)
    gradients = dict(piece.gradients)
    for name, layer in part.layers.items():
        delta, inputs = layer.delta[victims], layer.input[victims]
        if name == "head":
            delta = output_error(update, part, victims)
        like = gradients[f"{name}.weight"]
        gradients[f"{name}.weight"] = torch.einsum("vo,vi->voi", delta.to(like), inputs.to(like))
        gradients[f"{name}.bias"] = delta.to(like)
    known = {name: mask for name, mask in piece.known.items() if name.startswith("convolutions")}
    return replace(piece, gradients=gradients, known=known)


def output_error(update: SharedUpdate, part: LinearPart, victims: Tensor) -> Tensor:
    """The error at the output, (N, outputs): for Q-learning it stands at the action alone."""
    like = next(iter(update.parameters.values()))
    error = part.layers["head"].delta[victims]
    if update.loss["kind"] == "dqn":
        error = error * F.one_hot(rules.dqn_action(error), error.shape[1])
    return error.to(like)


def vector_of(part: LinearPart, update: SharedUpdate) -> Tensor | None:
    """The vector (V, D), kept in [-1, 1], or None."""
    spec = update.architecture
    if not spec.vector_size:
        return None
    found = part.layers["vector"].input if spec.vector_width else part.first.input[:, spec.image_features :]
    return found.clamp(-1, 1)

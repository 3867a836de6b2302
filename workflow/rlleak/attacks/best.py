"""Best: what a user gets who names no attack. Peeling, and matching where peeling says that its assumptions fail.

Where the certificate holds, or nothing but noise is against it, peeling's image stands: it fulfils every equation that
matching could ask for, as well as its noise allows. Where equations are many, matching's does under noise, unless it
got stuck: noise explains less than it left. Where the certificate fails (pruning, masks that no cut explains),
algebra still helps matching twice. The linear layers' gradients are projected on rank 1 first, which takes nearly all
of the noise on them away; and one of matching's starting points is the peeled image. All starting points get the same
iterations, the lowest matching loss wins, and the starts themselves are among the candidates: so the result is never
worse, in matching loss, than peeling. Where the last convolution has far fewer equations than an image has numbers, or
noise drowns them, many images match and the lowest loss says nothing: there the image is the likeliest one, given
public rooms and those equations (`likeliest`), and is not matched any further. Where too little arrived to peel at all,
matching starts from what is likely anyway; and where noise hides the linear layers too, that is the answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.attacks import peel as peeling
from rlleak.attacks import peeling as peeling_stages
from rlleak.attacks import prior_only, rules, stages
from rlleak.attacks.certificate import Certificate
from rlleak.attacks.closed_form import read_linear_part
from rlleak.attacks.linear_algebra import LinearPart, activation_of, solve_linear_part
from rlleak.attacks.optimisation import Variable
from rlleak.attacks.rounded import magnitudes_hidden, rounding_deviation
from rlleak.attacks.running import Chunk, attack, victim_bytes
from rlleak.attacks.signals import ErrorDirection
from rlleak.attacks.targets import reciprocal
from rlleak.configuration.attacks import AttackSettings, BestSettings
from rlleak.sharing.update import SharedUpdate

UNCERTAIN = ("several_samples", "masks_disagree", "masks_unchecked", "entries_unknown")
"""Failures after which a peeled image is a guess that matching may better. Noise alone is none: equations weighed by it
lose less than matching does (S1, two public rooms, Y: 33.0, 31.7 and 30.5 dB at 0.1, 1 and 10 % of noise)."""


FAINTEST = 1 / 16
"""Total variation's weight grows under noise as if the gradient had at least this cosine with the one behind it."""
CONTRADICTED = 0.1
"""Squared sine between what one completed layer says of its input and another of its output: too few arrived."""


def best_bytes(update: SharedUpdate, settings: AttackSettings) -> int:
    """Upper estimate of the memory that one victim takes, bytes."""
    return peeling.peel_bytes(update, settings) + victim_bytes(update, settings)


@attack(weighs=best_bytes)
def best(chunk: Chunk) -> Mapping[str, Tensor]:
    """Peeling; victims whose certificate fails are matched too, from the peeled image and from what is likely anyway.

    Where noise or signs hide most of the first linear layer's gradient (`trust/nothing_heard`) all that is left is what
    its knowledge `public` says, as `prior_only`; so it is with action and values where noise hides the head's.
    `trust/matched`: 1 where matching had its say, and then `trust/matching_loss_image`, of the update with its linear
    layers' gradients projected on rank 1 (elsewhere 0). Knowledge and errors as `peel`'s.
    """
    part = solve_linear_part(chunk.update)
    found, certificate = read_linear_part(chunk.update, part)
    hidden = magnitudes_hidden(chunk.update)
    heard = {"image": part.first.overlap >= chunk.settings.best.heard, "vector": part.first.heard}
    if part.unknown is not None:
        heard = {name: clear & (contradiction(chunk.update, part) <= CONTRADICTED) for name, clear in heard.items()}
    heard = {name: clear & (not hidden) for name, clear in heard.items()}
    certificate.failures["nothing_heard"] = ~heard["image"]
    matched = torch.zeros(chunk.victims, dtype=torch.bool, device=chunk.device)
    loss = torch.zeros(chunk.victims, device=chunk.device)
    spec = chunk.update.architecture
    if spec.image_shape is not None:
        worth = bool(heard["image"].any()) and worth_peeling(chunk.update, certificate, chunk.settings.best)
        peeled = worth or not spec.convolutions
        image = peeling.image(chunk, part, certificate) if peeled else likely(chunk)
        if spec.convolutions:
            matched = (uncertain_of(certificate) if peeled else ~matched) & heard["image"]
            uncertain = matched.nonzero()[:, 0]
            if len(uncertain):
                starts = [image, likely(chunk)] if peeled else [image]
                image[uncertain], loss[uncertain] = match_from(chunk, part, found.get("vector"), starts, uncertain)
                if not peeled and peelable(chunk.update):
                    image, stuck = peeled_instead(chunk, part, image, loss, uncertain)
                    matched[stuck], loss[stuck] = False, 0.0
        found["image"] = image
    if chunk.knowledge.get("public"):
        found = guessed(found, prior_only.guess(chunk.knowledge["public"]), heard, part.layers["head"].heard, hidden)
    return {**found, **certificate.trust(), "trust/matched": matched.float(), "trust/matching_loss_image": loss}


def worth_peeling(update: SharedUpdate, certificate: Certificate, settings: BestSettings) -> bool:
    """Whether algebra comes closer than matching, or as close at less cost.

    Not where too little arrived; nor under noise where the second convolution has more equations than the image has
    numbers: there matching against a gradient cleaned of noise does (S2, noise of a tenth of the gradient: 40.6 dB on
    three rooms after 100 iterations; peeling 39.9 on four).
    """
    spec = update.architecture
    quiet = not bool(certificate.failures["noise"].all())
    second = "convolutions.1.weight"
    enough = settings.matched * torch.Size(spec.image_shape).numel()
    many = second in update.gradients and update.gradients[second][0].numel() >= enough
    return peelable(update) and (quiet or not many)


def peelable(update: SharedUpdate) -> bool:
    """Whether enough arrived to peel."""
    return peeling_stages.complete(update) and not magnitudes_hidden(update)


def peeled_instead(
    chunk: Chunk, part: LinearPart, image: Tensor, loss: Tensor, victims: Tensor
) -> tuple[Tensor, Tensor]:
    """Images (V, C, H, W) with those of these victims peeled where matching got stuck; and of whom that is, (N,).

    Stuck is who has more matching loss left than noise explains. Such an image may be worse than a guess though it
    leaves less than the peeled one (two small layers on 16x16 pixels, noise of 0.02: matched 12.5 dB, peeled 15.5, grey
    13.5).
    """
    piece = cleaned(chunk.update, part, victims, chunk.settings.best.loud)
    stuck = victims[loss[victims] > chunk.settings.best.stuck * loss_of_noise(chunk.update, piece, part, victims)]
    if len(stuck) == 0:
        return image, stuck
    some = replace(chunk, update=chunk.update.select(stuck), key=f"{chunk.key} stuck", _targets={})
    own = solve_linear_part(some.update)
    return image.index_copy(0, stuck, peeling.image(some, own, own.certificate()).to(image)), stuck


def uncertain_of(certificate: Certificate) -> Tensor:
    """Of whom a peeled image is a guess that matching may better, (V,) bool.

    Not where few equations complete a guess: many images match them, and matching would choose a less likely one.
    """
    failed = torch.stack([certificate.failures[name] for name in UNCERTAIN if name in certificate.failures]).any(dim=0)
    return failed & ~certificate.notes.get("guess_completed", torch.zeros_like(failed)).bool()


def loss_of_noise(update: SharedUpdate, piece: SharedUpdate, part: LinearPart, victims: Tensor) -> Tensor:
    """The matching loss (N,) that the truth itself has in expectation, of some victims' cleaned updates.

    White noise of as many numbers as are matched; of a gradient of rank 1 as many as its factors have.
    """
    size = sum(gradient.double().flatten(1).square().sum(dim=1) for gradient in piece.gradients.values())
    noise = torch.zeros_like(size)
    for name, gradient in piece.gradients.items():
        told = rounding_deviation(update, name)[victims]
        variance = torch.where(told > 0, told, part.first.deviation[victims]).square()
        known = piece.known.get(name)
        numbers = gradient[0].numel() if known is None else known.flatten(1).sum(dim=1)
        noise += variance * (sum(gradient.shape[1:]) if name.rpartition(".")[0] in part.layers else numbers)
    return 1 - (1 - noise * reciprocal(size)).clamp(min=0).sqrt()


def contradiction(update: SharedUpdate, part: LinearPart) -> Tensor:
    """Squared sine between the first hidden layer's output and the next one's input, as far as that is known, (V,)."""
    if not update.architecture.hidden:
        return torch.zeros_like(part.first.residual)
    weight, bias = (update.parameters[f"hidden.0.{kind}"].double() for kind in ("weight", "bias"))
    found = part.layers["hidden.1" if "hidden.1" in part.layers else "head"].input
    expected = activation_of(update.architecture)(part.first.input @ weight.T + bias) * (found != 0)
    return 1 - F.cosine_similarity(expected, found, dim=1).square()


def likely(chunk: Chunk) -> Tensor:
    """The image (V, C, H, W) that is likely before anything is known of a victim: its public rooms' mean, or grey."""
    shape, public = chunk.update.architecture.image_shape, chunk.knowledge.get("public")
    like = next(iter(chunk.update.parameters.values()))
    image = prior_only.guess(public)["image"].to(like) if public else like.new_full(shape, 0.5)
    return image.expand(chunk.victims, *shape).clone()


def guessed(
    found: Mapping[str, Tensor],
    guess: Mapping[str, Tensor],
    heard: Mapping[str, Tensor],
    head: Tensor,
    signs_only: bool,
) -> dict[str, Tensor]:
    """What was found, and a guess without any gradient where noise or signs hide what it was read from.

    heard: whether a component is to be trusted, (V,) bool; head: those that the last layer tells. An error's place, the
    action, signs tell as well.
    """
    kept = {}
    for name, value in found.items():
        told = heard.get(name, head & (name == "action" or not signs_only)).view(-1, *(1,) * (value.dim() - 1))
        kept[name] = torch.where(told, value, guess[name].to(value)) if name in guess else value
    return kept


def match_from(
    chunk: Chunk,
    part: LinearPart,
    vector: Tensor | None,
    starts: Sequence[Tensor],
    victims: Tensor,
) -> tuple[Tensor, Tensor]:
    """Images (N, C, H, W) of some victims by matching, from each of these (V, C, H, W), and their losses (N,).

    vector: (V, D), which stays as it is.
    """
    piece = cleaned(chunk.update, part, victims, chunk.settings.best.loud)
    # As in the cosine to the gradient as it came, total variation counts the more the more of that was noise.
    signal = float((1 - part.first.beyond[victims].square()).clamp(min=FAINTEST**2).sqrt().mean())
    weight = chunk.settings.tv_weight * signal**-chunk.settings.best.variation_growth
    settings = chunk.settings.model_copy(update={"restarts": len(starts), "tv_weight": weight})
    some = replace(chunk, update=piece, settings=settings, key=f"{chunk.key} uncertain", _targets={})
    start = torch.stack([image[victims] for image in starts], dim=1).flatten(0, 1)
    start = start.to(next(iter(piece.parameters.values())))
    direction = ErrorDirection(output_error(piece, part, victims)[some.rows])
    fixed = {} if vector is None else {"vector": vector[victims].clamp(-1, 1).to(start)}
    variables = {"image": Variable(start, bounds=(0.0, 1.0) if settings.bounded else None)}
    matched = stages.match(some, "image", "image", direction, variables, settings.image, fixed=fixed)
    return matched.values["image"].to(starts[0]), matched.loss.to(starts[0])


def cleaned(update: SharedUpdate, part: LinearPart, victims: Tensor, loud: float) -> SharedUpdate:
    """Some victims' updates with the linear layers' gradients of rank 1, as they would be without noise.

    loud: share of noise from which a convolution's gradient counts as unknown.
    """
    piece = update.select(victims)
    gradients = dict(piece.gradients)
    for name, layer in part.layers.items():
        delta, inputs = layer.delta[victims], layer.input[victims]
        if name == "head":
            delta = output_error(update, part, victims)
        like = gradients[f"{name}.weight"]
        gradients[f"{name}.weight"] = torch.einsum("vo,vi->voi", delta.to(like), inputs.to(like))
        if f"{name}.bias" in gradients:
            gradients[f"{name}.bias"] = delta.to(like)
    known = {name: mask for name, mask in piece.known.items() if name.startswith("convolutions")}
    # What is mostly noise says less than it leads astray.
    noise = part.first.deviation[victims]
    for name in [name for name in gradients if name.startswith("convolutions") and name not in known]:
        drowned = noise.square() > loud * gradients[name].double().flatten(1).square().mean(dim=1)
        if bool(drowned.any()):
            known[name] = (~drowned).view(-1, *(1,) * (gradients[name].dim() - 1)).expand_as(gradients[name]).clone()
            gradients[name] = gradients[name] * known[name]
    return replace(piece, gradients=gradients, known=known)


def output_error(update: SharedUpdate, part: LinearPart, victims: Tensor) -> Tensor:
    """The error at the output, (N, outputs): for Q-learning it stands at the action alone."""
    like = next(iter(update.parameters.values()))
    error = part.layers["head"].delta[victims]
    if update.loss["kind"] == "dqn":
        error = error * F.one_hot(rules.dqn_action(error), error.shape[1])
    return error.to(like)

"""The optimisations that QGI, RGI and what they are compared with are composed of."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rlleak.attacks import rules
from rlleak.attacks.completion import complete_linear
from rlleak.attacks.optimisation import Variable, minimise
from rlleak.attacks.passes import Entry
from rlleak.attacks.running import Chunk
from rlleak.attacks.signals import ErrorDirection, ErrorSignal
from rlleak.attacks.targets import LossName
from rlleak.attacks.variation import VariationDerivative
from rlleak.configuration.attacks import StageSettings
from rlleak.errors import ConfigurationError
from rlleak.learners.networks import load_network
from rlleak.seeds import derive

TYPICAL_IMAGES = 8
"""Noise images that tell how large the network's activations are; the step size of activations is in that unit."""


@dataclass(frozen=True)
class Found:
    """Each victim's best candidate and its matching loss (V,)."""

    values: Mapping[str, Tensor]
    loss: Tensor


def last_bias(chunk: Chunk) -> Tensor:
    """The last bias's gradient (V, outputs): over one transition the error itself (section IV.B).

    Raises ConfigurationError if the last layer has no bias.
    """
    if "head.bias" not in chunk.update.gradients:
        raise ConfigurationError(
            f"attack '{chunk.settings.method}' reads the error off the last layer's bias and the network has none; "
            "set bias: true or choose an attack that optimises the error"
        )
    if "head.bias" not in chunk.update.known:
        return chunk.update.gradients["head.bias"]
    # What arrived of the last layer's gradient, of rank 1, tells the error; without its bias's up to a positive factor.
    given = (chunk.update.gradients, chunk.update.known)
    parts = [group.get(f"head.{kind}") for group in given for kind in ("weight", "bias")]
    return complete_linear(*parts)[0].to(parts[0])


def error_unseen(chunk: Chunk) -> dict[str, Tensor]:
    """What these attacks say of values that are read off the error's size, where it may not be the victim's."""
    update = chunk.update
    if not update.loss.get("shortened", False) and update.loss.get("error") != "huber":
        return {}
    if "head.bias" not in update.gradients:  # nothing says where Huber's error stands
        return {"trust/error_unseen": torch.ones(chunk.victims, device=chunk.device)}
    error = last_bias(chunk)
    return {"trust/error_unseen": rules.error_unseen(update.loss, error, error.dtype).float()}


def direction(chunk: Chunk) -> ErrorDirection:
    """Eq. 6's error for each candidate."""
    return ErrorDirection(last_bias(chunk)[chunk.rows])


def typical_activations(chunk: Chunk) -> tuple[float, float]:
    """Root mean square of the image features and of the last layer's input on noise: the network is public."""
    spec = chunk.update.architecture
    network = load_network(spec, chunk.update.parameters)
    generator = torch.Generator().manual_seed(derive(chunk.seed, "typical activations"))
    like = next(iter(chunk.update.parameters.values()))
    observation = {}
    if spec.image_shape is not None:
        observation["image"] = torch.rand(TYPICAL_IMAGES, *spec.image_shape, generator=generator).to(like)
    if spec.vector_size:
        observation["vector"] = (torch.rand(TYPICAL_IMAGES, spec.vector_size, generator=generator) * 2 - 1).to(like)
    activation = network.features(observation)
    features = activation[:, : spec.image_features].square().mean().sqrt() if spec.image_features else activation.mean()
    for layer in network.hidden:
        activation = torch.relu(layer(activation))
    floor = torch.finfo(like.dtype).eps
    return max(float(features), floor), max(float(activation.square().mean().sqrt()), floor)


def start_vector(chunk: Chunk) -> Variable:
    """The vector from Gaussian noise, kept in [-1, 1]."""
    noise = chunk.settings.initial_vector
    start = noise.mean + noise.deviation * chunk.noise("vector", chunk.update.architecture.vector_size)
    return Variable(start, bounds=(-1.0, 1.0) if chunk.settings.bounded else None)


def start_features(chunk: Chunk) -> Variable:
    """Convolutional features from Gaussian noise of the size that features have, kept above 0 as behind a ReLU."""
    unit, _ = typical_activations(chunk)
    start = unit * chunk.noise("features", chunk.update.architecture.image_features)
    behind_relu = chunk.settings.bounded and bool(chunk.update.architecture.convolutions)
    return Variable(start, unit, (0.0, None) if behind_relu else None)


def start_image(chunk: Chunk) -> Variable:
    """The image from Gaussian noise, kept in [0, 1]."""
    noise = chunk.settings.initial_image
    start = noise.mean + noise.deviation * chunk.noise("image", *chunk.update.architecture.image_shape)
    return Variable(start, bounds=(0.0, 1.0) if chunk.settings.bounded else None)


def match(
    chunk: Chunk,
    name: str,
    entry: Entry,
    signal: ErrorSignal,
    variables: Mapping[str, Variable],
    stage: StageSettings,
    loss: LossName = "cosine",
    fixed: Mapping[str, Tensor] | None = None,
) -> Found:
    """Eq. 2 over the given variables; with an image among them, + lambda (TV(s_i) + TV(s_d)).

    name: this optimisation's name. fixed: inputs (V, ...) that are known already.
    """
    matching = chunk.matching(entry, loss, chunk.rows)
    known = {key: value[chunk.rows] for key, value in (fixed or {}).items()}
    variation = VariationDerivative(chunk.settings.tv_weight)

    def evaluate(values: Mapping[str, Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        losses, gradients = matching({**known, **values}, signal)
        if "image" in values and chunk.settings.tv_weight > 0:
            variation.add(values["image"], gradients["image"])
        return losses, gradients

    report = chunk.report(name, stage.iterations)
    values, losses = minimise(
        evaluate, variables, stage, f"{name} {chunk.key}", chunk.checkpoint, report, replayable=True
    )
    return Found(*chunk.best(values, losses))


def linear_input_variables(chunk: Chunk) -> dict[str, Variable]:
    """What stage 1 optimises: the inputs of all linear layers."""
    variables = {}
    if chunk.update.architecture.image_shape is not None:
        variables["features"] = start_features(chunk)
    if chunk.update.architecture.vector_size:
        variables["vector"] = start_vector(chunk)
    return variables


def linear_inputs(chunk: Chunk) -> Found:
    """Step 2, stage 1: vector and convolutional features together, from the linear layers' gradients (Fig. 2)."""
    variables = linear_input_variables(chunk)
    return match(chunk, "vector", "features", direction(chunk), variables, chunk.settings.vector)


def last_activation(chunk: Chunk) -> Found:
    """RGI's step 1: the input of the last linear layer, from that layer's gradient."""
    _, unit = typical_activations(chunk)
    spec = chunk.update.architecture
    size = spec.hidden[-1] if spec.hidden else spec.linear_inputs
    start = unit * chunk.noise("activation", size)
    behind_relu = chunk.settings.bounded and bool(spec.hidden)
    variables = {"activation": Variable(start, unit, (0.0, None) if behind_relu else None)}
    return match(chunk, "last", "last", direction(chunk), variables, chunk.settings.vector)


def head_output(chunk: Chunk, activation: Tensor) -> Tensor:
    """The network's output (V, outputs) for inputs of its last linear layer."""
    return chunk.matching("last").output({"activation": activation})


def image(chunk: Chunk, vector: Tensor | None) -> Found:
    """Step 2, stage 2: the image with the vector fixed, from all gradients, with total variation."""
    fixed = {} if vector is None else {"vector": vector}
    variables = {"image": start_image(chunk)}
    return match(chunk, "image", "image", direction(chunk), variables, chunk.settings.image, fixed=fixed)


def observation(chunk: Chunk, inputs: Found) -> dict[str, Tensor]:
    """The observation, given stage 1's result: its vector, and the image by stage 2; matching loss of each stage."""
    found = {"trust/matching_loss_vector": inputs.loss}
    if "vector" in inputs.values:
        found["vector"] = inputs.values["vector"]
    if chunk.update.architecture.image_shape is not None:
        picture = image(chunk, inputs.values.get("vector"))
        found |= {"image": picture.values["image"], "trust/matching_loss_image": picture.loss}
    return found


def image_and_vector(chunk: Chunk) -> Found:
    """Fig. 4's joint optimisation: image and vector at once, from all gradients, with total variation."""
    settings = chunk.settings
    vector = start_vector(chunk)
    vector.unit = settings.vector.step_size / settings.image.step_size
    variables = {"image": start_image(chunk), "vector": vector}
    return match(chunk, "joint", "image", direction(chunk), variables, settings.image)

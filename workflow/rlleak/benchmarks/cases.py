"""What is measured: networks and victims of the papers' sizes, and one iteration of an attack on them, three ways."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor

from rlleak.attacks.optimisation import EPSILON, Descent, Variable
from rlleak.attacks.passes import GradientMatching
from rlleak.attacks.signals import ErrorDirection
from rlleak.attacks.targets import MatrixTarget
from rlleak.attacks.variation import VariationDerivative, total_variation
from rlleak.configuration.attacks import StageSettings
from rlleak.learners.batch import Batch
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import build_network, load_network
from rlleak.learners.specification import Convolution, NetworkSpec
from rlleak.sharing.update import SharedUpdate, capture

SCENES = {"S1": 4, "S2": 1}
"""Channels of the observation's image: RGB and depth, or depth."""
TV_WEIGHT = 0.1
ACTIONS = 7
_STAGE = StageSettings(step_size=0.1, iterations=10**6)


@dataclass(frozen=True)
class Case:
    """One measurement. target: "exact", or "noisy": every entry of every gradient with Gaussian noise on it, or
    "residual": a residual gradient (transitions, whose scene is an environment).
    """

    what: str
    scene: str
    victims: int
    threads: int
    target: str = "exact"
    batch: int = 1
    device: str = "cpu"
    quick: bool = False


def network(case: Case) -> NetworkSpec:
    """The study's default network for 150x150 pixels; a small one of the same kind for a quick case."""
    sizes = ((8, 6, 3), (8, 3, 1)) if case.quick else ((32, 8, 4), (64, 4, 2), (64, 3, 1))
    side = 24 if case.quick else 150
    return NetworkSpec(
        image_shape=(SCENES[case.scene], side, side),
        vector_size=4,
        convolutions=tuple(Convolution(channels=c, kernel=k, stride=s) for c, k, s in sizes),
        vector_width=8 if case.quick else 64,
        hidden=(32,) if case.quick else (512,),
        outputs=ACTIONS,
    )


def shared_update(case: Case) -> SharedUpdate:
    """What the victims of a case share: their observations are smooth noise, which costs what a room costs."""
    spec = network(case)
    policy, generator = build_network(spec, 0), torch.Generator().manual_seed(1)
    parts = []
    for _ in range(case.victims):  # one at a time, so that no more than the update itself is ever held
        coarse = torch.rand(case.batch, spec.image_shape[0], 12, 12, generator=generator)
        image = torch.nn.functional.interpolate(coarse, spec.image_shape[1:], mode="bilinear")
        batch = Batch(
            {"image": image, "vector": torch.rand(case.batch, 4, generator=generator) * 2 - 1},
            action=torch.randint(ACTIONS, (case.batch,), generator=generator),
            reward=torch.rand(case.batch, generator=generator),
            target=torch.rand(case.batch, generator=generator) + 0.5,
        )
        parts.append(capture(policy, DQNLoss(), batch, case.batch))
    first, gradients = parts[0], {}
    for name in list(first.gradients):
        gradients[name] = torch.cat([part.gradients.pop(name) for part in parts])
        if case.target == "noisy":
            size = 0.1 * float(gradients[name].std())
            for gradient in gradients[name]:
                gradient += size * torch.randn(gradient.shape, generator=generator)
    return SharedUpdate(**{**vars(first), "gradients": gradients}).to(torch.device(case.device))


def _start(update: SharedUpdate, victims: int) -> tuple[Tensor, Tensor]:
    """Where image and vector stand at the start, (victims, ...)."""
    generator = torch.Generator().manual_seed(3)
    like = update.parameters["head.weight"]
    image = torch.rand(victims, *update.architecture.image_shape, generator=generator)
    return image.to(like), (torch.rand(victims, 4, generator=generator) * 2 - 1).to(like)


def engine(update: SharedUpdate, case: Case) -> Callable[[], Tensor]:
    """One iteration of the project's own engine on all victims: matching loss, total variation, Adam, the box."""
    matching = GradientMatching(update, "image")
    noisy = isinstance(matching.loss.linear["hidden.0"], MatrixTarget)
    assert noisy == (case.target == "noisy"), "the target is not what it is said to be"
    signal, variation = ErrorDirection(update.gradients["head.bias"]), VariationDerivative(TV_WEIGHT)
    image, vector = _start(update, len(update))

    def evaluate(values: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        loss, gradients = matching({"vector": vector, **values}, signal)
        variation.add(values["image"], gradients["image"])
        return loss, gradients

    return Descent(evaluate, {"image": Variable(image, bounds=(0.0, 1.0))}, _STAGE).iterate


def reference(update: SharedUpdate) -> Callable[[], Tensor]:
    """The same iteration as one writes it down: torch.autograd.grad(create_graph=True), for the first victim alone."""
    model, parameters, shared, error = _plain(update)
    image, vector = _start(update, 1)
    image.requires_grad_()
    optimiser = torch.optim.Adam([image], lr=_STAGE.step_size, eps=EPSILON)

    def iterate() -> Tensor:
        objective = (model({"image": image, "vector": vector})[0] * error).sum()
        found = torch.autograd.grad(objective, parameters, create_graph=True)
        inner = sum((own * other).sum() for own, other in zip(found, shared, strict=True))
        norms = [sum(part.square().sum() for part in group).sqrt() for group in (found, shared)]
        loss = 1 - inner / (norms[0] * norms[1])
        (image.grad,) = torch.autograd.grad(loss + TV_WEIGHT * total_variation(image).sum(), image)
        optimiser.step()
        with torch.no_grad():
            image.clamp_(0, 1)
        return loss.detach()

    return iterate


def breaching(update: SharedUpdate) -> Callable[[], Tensor] | str:
    """The same iteration with `breaching`'s own objective (its CosineSimilarity), or why there is none.

    Without its total variation, which is written for three channels.
    """
    if importlib.util.find_spec("breaching") is None:
        return "breaching is not installed (pip install breaching)"
    try:
        from breaching.attacks.auxiliaries.objectives import CosineSimilarity
    except (ImportError, RuntimeError) as failure:
        return f"breaching cannot be imported: {str(failure).splitlines()[0]}"
    model, _, shared, error = _plain(update)
    image, vector = _start(update, 1)
    image.requires_grad_()
    optimiser = torch.optim.Adam([image], lr=_STAGE.step_size, eps=EPSILON)
    objective = CosineSimilarity()
    objective.initialize(lambda output, labels: (output[0] * labels).sum(), SimpleNamespace(mixed_precision=False))
    victim = _ImageOnly(model, vector)

    def iterate() -> Tensor:
        optimiser.zero_grad()
        loss, _ = objective(victim, shared, image, error)
        loss.backward(inputs=image, create_graph=False)
        optimiser.step()
        with torch.no_grad():
            image.clamp_(0, 1)
        return loss.detach()

    return iterate


class _ImageOnly(torch.nn.Module):
    """A network for one tensor, as breaching wants it: the vector is known."""

    def __init__(self, model: torch.nn.Module, vector: Tensor) -> None:
        super().__init__()
        self.model, self.vector = model, vector

    def forward(self, image: Tensor) -> Tensor:
        return self.model({"image": image, "vector": self.vector})


def _plain(update: SharedUpdate) -> tuple[torch.nn.Module, list[Tensor], list[Tensor], Tensor]:
    model = load_network(update.architecture, update.parameters).requires_grad_()
    names, parameters = zip(*model.named_parameters(), strict=True)
    return model, list(parameters), [update.gradients[name][0] for name in names], update.gradients["head.bias"][0]


def arithmetic(spec: NetworkSpec, target: str) -> float:
    """Floating-point operations that one iteration on one victim cannot do without (two per multiplication).

    Each linear layer's weight is met four times: forward, backward and the reverse of both. A convolution's also by its
    own gradient and by that gradient's derivative on both sides; the first one is spared what only its input would get.
    A dense target's matrices are met twice each.
    """
    total, channels = 0.0, spec.image_shape[0]
    for index, (layer, shape) in enumerate(zip(spec.convolutions, spec.feature_shapes, strict=True)):
        once = 2 * shape[1] * shape[2] * layer.kernel**2 * channels * layer.channels
        total += once * (5 if index == 0 else 7)
        channels = layer.channels
    for name, shape in spec.parameter_shapes.items():
        if len(shape) == 2:
            total += 2 * shape[0] * shape[1] * (6 if target == "noisy" and name != "vector.weight" else 4)
    return total

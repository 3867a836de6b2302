"""Small victims for the tests of attacks: networks that take milliseconds, updates captured as in the workflow."""

import torch

from rlleak.attacks import METHODS
from rlleak.configuration.attacks import AttackSettings, PeelSettings, StageSettings
from rlleak.learners.batch import Batch
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import PolicyNetwork, build_network
from rlleak.learners.reinforce import ReinforceLoss
from rlleak.learners.specification import Convolution, NetworkSpec
from rlleak.sharing.update import SharedUpdate, capture

torch.set_num_threads(1)  # operations this small only wait for each other's threads

SMALL = NetworkSpec(
    image_shape=(4, 16, 16),
    vector_size=4,
    convolutions=(Convolution(channels=16, kernel=6, stride=2), Convolution(channels=12, kernel=3, stride=1)),
    vector_width=12,
    hidden=(48,),
    outputs=7,
)


def victims(
    count: int, learner: str = "dqn", spec: NetworkSpec = SMALL, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[PolicyNetwork, Batch, SharedUpdate]:
    """A network, what its victims saw, and what they shared."""
    network = build_network(spec, seed).to(dtype)
    generator = torch.Generator().manual_seed(seed + 1)
    observation = {}
    if spec.image_shape is not None:
        coarse = torch.rand(count, spec.image_shape[0], 4, 4, generator=generator, dtype=dtype)
        observation["image"] = torch.nn.functional.interpolate(coarse, spec.image_shape[1:], mode="bilinear")
    if spec.vector_size:
        observation["vector"] = torch.rand(count, spec.vector_size, generator=generator, dtype=dtype) * 1.8 - 0.9
    batch = Batch(
        observation,
        action=torch.randint(spec.outputs, (count,), generator=generator),
        reward=torch.rand(count, generator=generator, dtype=dtype) * 4 - 2,
        target=torch.rand(count, generator=generator, dtype=dtype) + 0.5,
    )
    loss = DQNLoss() if learner == "dqn" else ReinforceLoss(entropy_weight=0.05)
    return network, batch, capture(network, loss, batch)


def settings(method: str, iterations: int = 30, **changes: object) -> AttackSettings:
    """Settings that an attack can run with as they are."""
    vector = StageSettings(step_size=0.3, iterations=iterations)
    image = StageSettings(step_size=0.3, iterations=iterations) if "image" in METHODS[method].stages else None
    peeling = PeelSettings(iterations=60, activation_iterations=60)
    return AttackSettings(**{"method": method, "vector": vector, "image": image, "peel": peeling, **changes})

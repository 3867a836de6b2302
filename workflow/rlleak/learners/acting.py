"""How a trained network behaves in its environment."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from rlleak.errors import CorruptArtefactError
from rlleak.learners.networks import load_network
from rlleak.learners.specification import NetworkSpec
from rlleak.simulators.behaviour import Behaviour
from rlleak.simulators.environments import Policy, environment_of


def policy_of(behaviour: Behaviour, exploration: float) -> Policy:
    """Acts as in training: TD3's action with Gaussian noise of that standard deviation, clipped to [-1, 1]; of DQN's
    actions the best, or with that probability any."""
    environment = environment_of(behaviour.environment)
    role = "actor" if environment.continuous else "critic"
    network = load_network(NetworkSpec.model_validate(behaviour.architectures[role]), behaviour.networks[role])

    @torch.no_grad()
    def act(state: np.ndarray, generator: np.random.Generator) -> Any:
        seen = torch.from_numpy(np.ascontiguousarray(state))[None]
        outputs = network({"vector": seen} if environment.image_shape is None else {"image": seen.float() / 255})[0]
        if environment.continuous:
            noise = exploration * generator.standard_normal(environment.actions)
            return np.clip(outputs.tanh().numpy() + noise, -1, 1).astype(np.float32)
        if generator.random() < exploration:
            return int(generator.integers(environment.actions))
        return int(outputs.argmax())

    return act


def trained_policy(setting: str, file: str | Path, exploration: float) -> Policy:
    """The policy that is kept in a file. Raises CorruptArtefactError if it is another environment's, or none."""
    behaviour = Behaviour.load(file)
    if behaviour.environment != setting:
        raise CorruptArtefactError(f"{file} holds a policy for {behaviour.environment}, not {setting}; delete it")
    return policy_of(behaviour, exploration)

"""Training of behaviour policies: TD3 (Fujimoto et al. 2018) or DQN (Mnih et al. 2015) of stable-baselines3."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3 import DQN, TD3
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from rlleak.artefacts import read_tensors, write_tensors
from rlleak.configuration.environments import Environment
from rlleak.errors import CorruptArtefactError
from rlleak.simulators.behaviour import Behaviour
from rlleak.simulators.environments import environment_of, make

_KIND = "training of a behaviour policy"
_SECONDS = 60.0
# Where stable-baselines3 keeps the layers of each network, in the order in which they are passed.
_LAYERS = {
    "TD3": {
        "actor": ("actor.features_extractor.", "actor.mu."),
        "critic": ("critic.features_extractor.", "critic.qf0."),
        "critic2": ("critic.features_extractor.", "critic.qf1."),
    },
    "DQN": {"critic": ("q_net.features_extractor.", "q_net.q_net.")},
}


def train(
    setting: str,
    *,
    convolutions: Sequence[Mapping[str, int]],
    hidden: Sequence[int],
    steps: int,
    seed: int,
    device: str = "cpu",
    checkpoint: Path | None = None,
) -> Behaviour:
    """A policy after so many steps of the environment; TD3 where actions are continuous, else DQN.

    convolutions, hidden: as in `NetworkSpec`; convolutions count where a state has an image. Says ten times on standard
    output how far it is. checkpoint: written every minute: a killed training goes on from there with its networks,
    target networks and count of steps, while replay buffer and optimiser start anew; whoever called removes it. Raises
    ConfigurationError for an unknown environment, SimulatorError where its package is not installed.
    """
    environment = environment_of(setting)
    layers = list(convolutions) if environment.image_shape else []
    simulator = make(setting)
    model = learner_of(environment, simulator, layers, hidden, steps, seed, device)
    words = json.dumps([setting, layers, list(hidden), steps, seed])
    keeper = _Keeper(setting, steps, checkpoint, hashlib.sha256(words.encode()).hexdigest())
    keeper.resume(model)
    try:
        if model.num_timesteps < steps:
            model.learn(steps - model.num_timesteps, callback=keeper, reset_num_timesteps=False)
    finally:
        simulator.close()
    networks = networks_of(model)
    architectures = {
        role: {
            "convolutions": layers,
            "hidden": list(hidden),
            **(environment.actor_inputs if role == "actor" else environment.value_inputs),
        }
        for role in networks
    }
    return Behaviour(setting, networks, architectures, {"algorithm": type(model).__name__, "steps": steps})


def learner_of(
    environment: Environment,
    simulator: gymnasium.Env,
    convolutions: Sequence[Mapping[str, int]],
    hidden: Sequence[int],
    steps: int,
    seed: int,
    device: str = "cpu",
) -> OffPolicyAlgorithm:
    """stable-baselines3's TD3 or DQN with networks of these layers, untrained."""
    policy: dict[str, Any] = {"net_arch": list(hidden)}
    if convolutions:
        policy |= {"features_extractor_class": Convolutions}
        policy |= {"features_extractor_kwargs": {"convolutions": list(convolutions)}}
    arguments = defaults(environment, steps)
    algorithm = TD3 if environment.continuous else DQN
    return algorithm("MlpPolicy", simulator, policy_kwargs=policy, seed=seed % 2**31, device=device, **arguments)


def defaults(environment: Environment, steps: int) -> dict[str, Any]:
    """Arguments of TD3 or DQN for a training of so many steps.

    TD3 as in Fujimoto et al. 2018 and DQN as in rl-baselines3-zoo, but with less of a short training spent on first
    random steps, and targets copied sooner. Replay buffers of images stay below 6 GB.
    """
    early = min(10_000, max(1, steps // 10))
    if environment.continuous:
        noise = NormalActionNoise(np.zeros(environment.actions), 0.1 * np.ones(environment.actions))
        arguments = {"learning_rate": 1e-3, "batch_size": 100, "learning_starts": early, "action_noise": noise}
        images = {"learning_rate": 1e-4, "batch_size": 32, "train_freq": 4}
    else:
        copied = {"target_update_interval": min(1_000, max(1, steps // 20))}
        arguments = {"learning_rate": 1e-3, "learning_starts": early, "exploration_fraction": 0.5, **copied}
        images = {"learning_rate": 1e-4, "exploration_fraction": 0.1, "exploration_final_eps": 0.01}
        arguments |= {"batch_size": 32, "train_freq": 1 if environment.kind == "grid" else 4}
    buffer = {"buffer_size": min(steps, 1_000_000 if environment.image_shape is None else 100_000)}
    return {**arguments, **(images if environment.image_shape else {}), **buffer}


class Convolutions(BaseFeaturesExtractor):
    """Convolutions with ReLU, flattened: what `NetworkSpec` has before its first linear layer, and before an action
    joins."""

    def __init__(self, space: gymnasium.spaces.Box, convolutions: Sequence[Mapping[str, int]]) -> None:
        channels, layers = space.shape[0], []
        for layer in convolutions:
            layers += [nn.Conv2d(channels, layer["channels"], layer["kernel"], layer["stride"]), nn.ReLU()]
            channels = layer["channels"]
        convolved = nn.Sequential(*layers, nn.Flatten())
        with torch.no_grad():
            features = convolved(torch.zeros(1, *space.shape)).shape[1]
        super().__init__(space, features)
        self.layers = convolved

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)


def networks_of(model: OffPolicyAlgorithm) -> dict[str, dict[str, Tensor]]:
    """The networks of a policy as `Behaviour` names them."""
    state = model.policy.state_dict()
    return {role: _renamed(state, places) for role, places in _LAYERS[type(model).__name__].items()}


def _renamed(state: Mapping[str, Tensor], places: Sequence[str]) -> dict[str, Tensor]:
    """Parameters under `NetworkSpec`'s names: convolutions, then linear layers, the last of which is the head."""
    own = [key for place in places for key in state if key.startswith(place)]
    layers = list(dict.fromkeys(key.rpartition(".")[0] for key in own))
    convolved = [layer for layer in layers if state[f"{layer}.weight"].dim() == 4]
    linear = [layer for layer in layers if layer not in convolved]
    names = {layer: f"convolutions.{index}" for index, layer in enumerate(convolved)}
    names |= {layer: f"hidden.{index}" for index, layer in enumerate(linear)} | {linear[-1]: "head"}
    split = [(key, *key.rpartition(".")[::2]) for key in own]
    return {f"{names[layer]}.{kind}": state[key].detach().cpu().clone() for key, layer, kind in split}


class _Keeper(BaseCallback):
    """Says how far training is, and keeps what a killed one goes on from."""

    def __init__(self, setting: str, steps: int, path: Path | None, belongs_to: str) -> None:
        super().__init__()
        self.setting, self.steps, self.path, self.belongs_to = setting, steps, path, belongs_to
        self._saved = time.monotonic()

    def resume(self, model: OffPolicyAlgorithm) -> None:
        """Goes on from the checkpoint if there is one of this very training; any other is ignored."""
        try:
            state, described = read_tensors(self.path, _KIND) if self.path else ({}, {})
        except CorruptArtefactError:
            return
        if described.get("belongs_to") == self.belongs_to:
            model.policy.load_state_dict(state)
            model.num_timesteps = described["steps"]
            print(f"{self.setting}: goes on after {model.num_timesteps:,} steps", flush=True)

    def _on_step(self) -> bool:
        if self.num_timesteps % max(1, self.steps // 10) == 0:
            earned = [episode["r"] for episode in self.model.ep_info_buffer]
            lately = f"; return {np.mean(earned):.1f} over the last {len(earned)} episodes" if earned else ""
            print(f"{self.setting}: {self.num_timesteps:,} of {self.steps:,} steps{lately}", flush=True)
        if time.monotonic() - self._saved > _SECONDS:
            self._save()
        return True

    def _on_training_end(self) -> None:
        self._save()

    def _save(self) -> None:
        if self.path is not None:
            state = self.model.policy.state_dict()
            write_tensors(self.path, _KIND, state, {"belongs_to": self.belongs_to, "steps": self.num_timesteps})
        self._saved = time.monotonic()

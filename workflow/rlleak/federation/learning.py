"""What is trained: the networks of a learner by role, what they do, and what each is trained on.

Parameters are named "role/name": `critic`, Q(s, .) or Q(s, a); `actor` where actions are continuous; and of each the
target network, `target_critic` and `target_actor`, which the server moves and clients only read.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from rlleak.configuration.axes import TRAINED_IN
from rlleak.configuration.federation import FederatedSettings
from rlleak.learners import LOSSES
from rlleak.learners.batch import Batch
from rlleak.learners.critic import actor_spec, policy, with_action
from rlleak.learners.networks import Observation, PolicyNetwork, build_network
from rlleak.learners.specification import NetworkSpec
from rlleak.seeds import derive

Parameters = Mapping[str, Tensor]
"""Of all networks, by "role/name"."""

Objective = Callable[[Parameters], Tensor]

T = TypeVar("T")

TARGET = "target_"


def of_role(parameters: Mapping[str, T], role: str) -> dict[str, T]:
    """One network's parameters, by their names in it; or one state's parts."""
    begin = f"{role}/"
    return {name.removeprefix(begin): value for name, value in parameters.items() if name.startswith(begin)}


def with_role(parameters: Mapping[str, T], role: str) -> dict[str, T]:
    """The same under the names that they have among those of all networks."""
    return {f"{role}/{name}": value for name, value in parameters.items()}


def in_runs(states: Mapping[str, np.ndarray], shape: tuple[int, int]) -> dict[str, Tensor]:
    """States (R * n, ...) of players side by side as (R, n, ...) = shape."""
    return {name: torch.from_numpy(part).unflatten(0, shape) for name, part in states.items()}


class Learner:
    """DQN where actions are discrete; where they are continuous, a critic and an actor as in TD3, with one critic.

    specs: the networks that clients send gradients of, by role. loss: of the critic, as it is attacked.
    """

    def __init__(self, settings: FederatedSettings) -> None:
        self.environment = TRAINED_IN[settings.environment]
        self.specs = {"critic": NetworkSpec.model_validate(settings.network.architecture(settings.environment))}
        if self.environment.continuous:
            self.specs["actor"] = actor_spec(self.specs["critic"], self.environment.actions)
        self.loss = LOSSES.load(settings.learner)(gamma=settings.gamma)
        self._policy_every = settings.policy_every
        # They have no parameters of their own: each call is told which.
        with torch.device("meta"):
            self._networks = {role: PolicyNetwork(spec) for role, spec in self.specs.items()}

    def trained_in(self, round: int) -> list[str]:
        """The roles whose gradients are shared in a round, counted from 0."""
        return [role for role in self.specs if role == "critic" or (round + 1) % self._policy_every == 0]

    def fresh(self, seed: int) -> dict[str, Tensor]:
        """Parameters to start from; target networks are copies (Mnih et al. 2015)."""
        started: dict[str, Tensor] = {}
        for role, spec in self.specs.items():
            own = {name: value.detach() for name, value in build_network(spec, derive(seed, role)).named_parameters()}
            started |= with_role(own, role) | with_role({n: v.clone() for n, v in own.items()}, TARGET + role)
        return started

    def called(self, parameters: Parameters, role: str) -> Callable[[Observation], Tensor]:
        """A network, or a target network, as a function of what it reads."""
        own, network = of_role(parameters, role), self._networks[role.removeprefix(TARGET)]
        return lambda observation: functional_call(network, own, (observation,))

    def read(self, states: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """States (N, ...), images in bytes, as networks read them."""
        return {name: part.float() / 255.0 if name == "image" else part for name, part in states.items()}

    def act(self, parameters: Parameters, states: Mapping[str, Tensor]) -> Tensor:
        """What is done without exploration: (N,) whole numbers, or (N, A) in [-1, 1]."""
        if self.environment.continuous:
            return policy(self.called(parameters, "actor"), self.read(states))
        return self.called(parameters, "critic")(self.read(states)).argmax(dim=1)

    def batch(self, parameters: Parameters, rows: Mapping[str, Tensor]) -> Batch:
        """The batch that the critic is trained on, with its target values, from transitions as a replay holds them."""
        following, action = self.read(of_role(rows, "next_observation")), rows["action"]
        if self.environment.continuous:
            following = with_action(following, policy(self.called(parameters, f"{TARGET}actor"), following))
            action = torch.zeros_like(rows["reward"], dtype=torch.int64)
        batch = Batch(self.seen_by("critic", rows), action, rows["reward"], following, rows["terminated"])
        online = self.called(parameters, "critic") if self.loss.double else None
        return self.loss.with_target(batch, self.called(parameters, f"{TARGET}critic"), online)

    def objective(self, role: str, parameters: Parameters, rows: Mapping[str, Tensor]) -> Objective:
        """What a role's network is trained to make small, on some transitions: of its parameters, by their names in it.

        The critic's: the learner's loss of `batch`. The actor's: -mean Q(s, pi(s)), the deterministic policy gradient
        (Silver et al. 2014; Fujimoto et al. 2018, algorithm 1), of the same states.
        """
        if role == "critic":
            batch = self.batch(parameters, rows)
            return lambda own: self.loss.objective(self.called(with_role(own, role), role), batch)
        state, critic = self.seen_by(role, rows), self.called(parameters, "critic")
        return lambda own: -critic(with_action(state, policy(self.called(with_role(own, role), role), state))).mean()

    def seen_by(self, role: str, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What a role's network reads of transitions: states, for a critic of continuous actions with the action."""
        seen = self.read(of_role(rows, "observation"))
        return with_action(seen, rows["action"]) if self.environment.continuous and role == "critic" else seen

"""The victims' loss as the server knows it: what a guess at transitions would have made of the network's outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rlleak.attacks.transitions.passes import Trace, ValueNetwork
from rlleak.errors import ConfigurationError
from rlleak.learners.batch import Batch
from rlleak.learners.critic import CriticLoss, with_action
from rlleak.learners.dqn import DQNLoss
from rlleak.learners.networks import load_network
from rlleak.learners.specification import NetworkSpec
from rlleak.sharing.local_steps import training_of
from rlleak.sharing.sending import Train
from rlleak.sharing.update import SharedUpdate, capture

Guess = Mapping[str, Tensor]
"""state, next_state (N, B, *S), action (N, B, A), reward (N, B); terminated (N, B), 0 or 1: if there is one."""


@dataclass(frozen=True)
class Errors:
    """Samples whose outer products a guess's gradient is a sum of, K = B or, residual, 2 B per row, one row after
    another: trace, and the error at the output (N * K, outputs).
    """

    trace: Trace
    error: Tensor


class TemporalDifference:
    """DQN's or a critic's loss over B transitions, semi-gradient or residual.

    Unless a guess says `terminated`, no episode ended: nothing in a semi-gradient tells an end from another reward.
    Raises ConfigurationError for other losses and for networks that see image and vector but no continuous action.
    """

    def __init__(self, update: SharedUpdate) -> None:
        loss, spec = update.loss, update.architecture
        if loss.get("kind") != "dqn":
            raise ConfigurationError(
                f"attacks on transitions take dqn and critic updates, not {loss.get('kind')}; choose another learner"
            )
        self.update, self.network = update, ValueNetwork(spec, update.parameters)
        self.gamma, self.residual = float(loss["gamma"]), bool(loss.get("residual", False))
        self.huber, self.batch_size = loss.get("error") == "huber", update.batch_size
        self.actor = None
        if "actor" in loss:
            own = {name.removeprefix("actor/"): value for name, value in update.others.items() if "actor/" in name}
            self.actor = ValueNetwork(NetworkSpec.model_validate(loss["actor"]), own)
        elif spec.image_shape is not None and spec.vector_size:
            raise ConfigurationError(
                "attacks on transitions know states that are an image or a vector, and this network reads both; "
                "choose an environment of theirs"
            )

    @property
    def continuous(self) -> bool:
        """Whether an action is numbers that the network reads, and not which output is meant."""
        return self.actor is not None

    @property
    def actions(self) -> int:
        """A: how many actions there are, or how many numbers one has."""
        return (self.actor or self.network).spec.outputs

    @property
    def state_shape(self) -> tuple[int, ...]:
        spec = (self.actor or self.network).spec
        return spec.image_shape or (spec.vector_size,)

    @property
    def samples(self) -> int:
        """K: outer products per row."""
        return self.batch_size * (2 if self.residual else 1)

    def state_of(self, state: Tensor) -> dict[str, Tensor]:
        """States (M, *S) as a network's observation."""
        return {"image" if state.dim() == 4 else "vector": state}

    def policy(self, state: Tensor) -> Tensor:
        """A critic's next action, (M, A)."""
        return torch.tanh(self.actor(self.state_of(state)))

    def observation(self, state: Tensor, action: Tensor) -> dict[str, Tensor]:
        """What the value network reads, of (M, *S) and (M, A)."""
        return with_action(self.state_of(state), action) if self.continuous else self.state_of(state)

    def value(self, state: Tensor) -> Tensor:
        """V(s) = max_a Q(s, a) or Q(s, pi(s)), (M,)."""
        action = self.policy(state) if self.continuous else state
        return self.network(self.observation(state, action)).amax(dim=1)

    def errors(self, guess: Guess, known: Tensor | None = None, given: Tensor | None = None) -> Errors:
        """known: (N,) bool, rows whose errors (N, K, outputs) are `given` instead of computed."""
        rows, size = guess["reward"].shape
        # Residual: a row's K = 2 B samples stand together. Else states first, and only they are differentiated.
        along = 1 if self.residual else 0
        states = [guess["state"], guess["next_state"]]
        if self.continuous:
            following = self.policy(guess["next_state"].flatten(0, 1)).unflatten(0, (rows, size))
            action = torch.cat([guess["action"], following], dim=along).flatten(0, 1)
        else:
            action = guess["action"]
        trace = self.network.forward(self.observation(torch.cat(states, dim=along).flatten(0, 1), action))
        output = trace.output.unflatten(0, (-1, 2 * size if self.residual else size))
        parts = output.split(size, dim=1) if self.residual else output.split(rows, dim=0)
        chosen = torch.ones_like(parts[0]) if self.continuous else guess["action"]
        best, place = parts[1].max(dim=2)
        discount = self.gamma * (1 - guess.get("terminated", torch.zeros_like(guess["reward"])))
        miss = (chosen * parts[0]).sum(dim=2) - guess["reward"] - discount * best
        slope = (miss.clamp(-1, 1) if self.huber else 2 * miss) / size
        error = slope[..., None] * chosen
        if self.residual:
            taken = torch.nn.functional.one_hot(place, parts[1].shape[2]).to(error.dtype)
            error = torch.cat([error, -(discount * slope)[..., None] * taken], dim=1)
        else:
            trace = trace.first(rows * size)
        if known is not None:
            error = torch.where(known[:, None, None], given, error)
        return Errors(trace, error.flatten(0, 1))

    def rebuilt(self) -> tuple[Any, Any]:
        """Network and loss as objects, to compute with as a victim would."""
        constants = {
            name: self.update.loss[name] for name in ("gamma", "error", "residual") if name in self.update.loss
        }
        network = load_network(self.network.spec, self.network.parameters)
        if self.actor is None:
            return network, DQNLoss(**constants)
        return network, CriticLoss(**constants, actor=load_network(self.actor.spec, self.actor.parameters))

    def share(self, transitions: Guess) -> SharedUpdate:
        """What somebody with these N transitions would share, N / B updates; terminated: (N,) bool, if there is one."""
        network, loss, batch = self._trained_on(transitions)
        with torch.enable_grad():
            return capture(network, loss, batch, self.batch_size)

    def training(self, transitions: Guess) -> Train:
        """How their device would go on training on them, for defences that do."""
        network, loss, batch = self._trained_on(transitions)
        return training_of(network, lambda moved, rows: loss.objective(moved, batch.select(rows)))

    def _trained_on(self, transitions: Guess) -> tuple[Any, Any, Batch]:
        """Network, loss and a batch with its targets."""
        like = next(iter(self.network.parameters.values()))
        state, following, action, reward = (
            transitions[name].to(like) for name in ("state", "next_state", "action", "reward")
        )
        over = transitions.get("terminated")
        with torch.no_grad():
            chosen = self.policy(following) if self.continuous else following
        whole = torch.zeros(len(reward), dtype=torch.int64, device=like.device)
        batch = Batch(
            observation=self.observation(state, action),
            action=whole if self.continuous else action.argmax(dim=1),
            reward=reward,
            next_observation=self.observation(following, chosen),
            terminated=torch.zeros_like(whole, dtype=torch.bool) if over is None else over.to(like.device).bool(),
        )
        network, loss = self.rebuilt()
        return network, loss, loss.with_target(batch, network)

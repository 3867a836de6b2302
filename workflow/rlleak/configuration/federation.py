"""How clients train one policy together: the entries of `config/federation.yaml`, one per environment."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from rlleak.configuration.axes import ROOMS, TRAINED_IN, Learner, Setting, Simulator
from rlleak.configuration.general import NetworkShape, Perception, SimulatorShape
from rlleak.configuration.scales import TrainingSize
from rlleak.configuration.strict import Strict


class TargetMoves(Strict):
    """How target networks follow: every so many rounds they move by a share of the way (1: a copy)."""

    every: int = Field(1, ge=1, description="rounds")
    share: float = Field(1.0, gt=0, le=1)


class FederatedConstants(Strict):
    """What an environment's training is made of, whatever its learner, network, defence and size."""

    clients: int = Field(ge=1)
    steps: int = Field(ge=1, description="of the environment, per client and round")
    warm_up: int = Field(ge=1, description="random steps of each client before its first update")
    replay: int = Field(ge=1, description="latest transitions that a client keeps and draws from")
    exploration: float = Field(ge=0, le=1, description="chance of any action, at last; of continuous ones deviation")
    exploration_share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="of the rounds, over which that chance falls from 1; discrete actions only",
    )
    gamma: float = Field(0.99, gt=0, le=1)
    learning_rate: float = Field(gt=0, description="of Adam, at the server")
    weight_differences: Literal["average", "adam"] = Field(
        "average", description="FedAvg: weights move by the mean difference, or Adam takes it for a gradient (FedAdam)"
    )
    target: TargetMoves = TargetMoves()
    policy_every: int = Field(1, ge=1, description="rounds in which the critic alone is trained, and the actor once")


class Homes(Strict):
    """Rooms in which clients perceive actively, and what rewards them there."""

    simulator: Simulator
    simulation: SimulatorShape
    perception: Perception
    detector: str | None = Field(None, description="file of the detector whose confidence is the reward")


class FederatedSettings(FederatedConstants):
    """One training: an environment's constants, what is trained, and for how long. Made by `federated`."""

    environment: Setting
    learner: Learner
    network: NetworkShape
    batch: int = Field(1, ge=1, description="transitions per client and update")
    size: TrainingSize
    homes: Homes | None = Field(None, description="of active perception alone")

    @model_validator(mode="after")
    def _fits(self) -> "FederatedSettings":
        continuous = TRAINED_IN[self.environment].continuous
        if continuous != (self.learner in ("critic", "residual_critic")) or self.learner == "reinforce":
            raise ValueError(
                f"learner '{self.learner}' does not fit the actions of {self.environment}; "
                f"take {'critic' if continuous else 'dqn'}"
            )
        if self.network.outputs is not None:
            raise ValueError("the network has outputs set; one per action (or one, if continuous) is needed")
        if self.replay < self.batch or self.warm_up < self.batch:
            raise ValueError(f"replay and warm_up must hold a batch of {self.batch}")
        if (self.environment in ROOMS) != (self.homes is not None):
            raise ValueError("homes must be given for S1 and S2, whose clients live in rooms, and for nothing else")
        return self

    def at_home(self, numbers: Sequence[int]) -> dict[str, Any]:
        """What `rlleak.simulators.side_by_side.side_by_side` is told of players in the homes of these clients."""
        return {} if self.homes is None else {"homes": self.homes, "numbers": numbers}


def federated(
    constants: FederatedConstants,
    size: TrainingSize,
    *,
    environment: str,
    learner: str,
    network: NetworkShape,
    batch: int = 1,
    homes: Homes | None = None,
) -> FederatedSettings:
    """One training's settings. Raises pydantic's ValidationError for what does not fit together."""
    chosen = {"environment": environment, "learner": learner, "network": network, "batch": batch, "size": size}
    return FederatedSettings.model_validate({**constants.model_dump(), **chosen, "homes": homes})

"""The main configuration file: which experiments, at which scale, on which simulator, and every choice they share."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rlleak.configuration.axes import ScaleName, Simulator, inputs_of
from rlleak.configuration.experiments import Name
from rlleak.configuration.loopback import Loopback
from rlleak.configuration.strict import Strict
from rlleak.configuration.thresholds import TransitionThresholds


class Seeds(Strict):
    """Two roots that share nothing: who knows the attacker's learns nothing about the victims."""

    private: int = Field(ge=0)
    attacker: int = Field(ge=0)

    @model_validator(mode="after")
    def _share_nothing(self) -> "Seeds":
        if self.private == self.attacker:
            raise ValueError("private and attacker are the same, so the attacker would live through what victims did")
        return self


class DQNConstants(Strict):
    """Of temporal differences."""

    gamma: float = Field(gt=0, le=1, description="discount per step")


class ReinforceConstants(Strict):
    """Of policy gradients."""

    gamma: float = Field(gt=0, le=1, description="discount per step")
    entropy_weight: float = Field(ge=0, description="of the policy's entropy, which is added to the objective")


class Losses(Strict):
    """Constants of the learners' losses; the server sets them, so the attacker knows them."""

    dqn: DQNConstants
    reinforce: ReinforceConstants
    critic: DQNConstants
    residual_dqn: DQNConstants
    residual_critic: DQNConstants


class ConvolutionShape(Strict):
    """A square convolution without padding."""

    channels: int = Field(gt=0, description="that it gives")
    kernel: int = Field(gt=0)
    stride: int = Field(gt=0)


class Training(Strict):
    """How a network is trained on public experience before it is attacked; how long, the scale says."""

    batch: int = Field(32, gt=0, description="transitions per update")
    learning_rate: float = Field(1e-4, gt=0, description="of Adam")
    target_every: int = Field(50, gt=0, description="updates after which DQN's target network is copied anew")


class FederatedFirst(Strict):
    """What clients left that trained together, undefended, with a transition per update: the first of their runs."""

    federation: Name = Field(description="the network that they started with, fresh, of the same layers")


class NetworkShape(Strict):
    """A policy network without its inputs, which the setting decides."""

    convolutions: tuple[ConvolutionShape, ...] = Field((), description="of a state's image, where it has one")
    vector_width: int = Field(ge=0, description="width of the linear layer for the target box; 0: straight in")
    hidden: tuple[Annotated[int, Field(gt=0)], ...] = Field(min_length=1)
    bias: bool = True
    outputs: int | None = Field(None, gt=0, description="null: one per action; 1: a state's value, whatever was done")
    trained: Training | FederatedFirst | None = Field(
        None, description="null: freshly initialised, as in QGI's section V"
    )
    normalise: Literal["shared", "home"] | None = Field(
        None, description="vectors are read as (s - mean) / deviation, by statistics of all clients or each its own"
    )

    def architecture(self, setting: str) -> dict[str, Any]:
        """Arguments of `rlleak.learners.specification.NetworkSpec` in a setting."""
        inputs = inputs_of(setting)
        shape = {**self.model_dump(mode="json", exclude={"trained", "normalise"}), **inputs}
        if inputs["image_shape"] is None:
            shape["convolutions"] = []
        return shape | {"outputs": self.outputs or inputs["outputs"]}


class SimulatorShape(Strict):
    """How a player is started; see `rlleak.simulators.controller.SimulatorOptions`."""

    field_of_view: float = Field(gt=0, lt=180, description="degrees, vertical")
    grid_size: float = Field(gt=0, description="metres per move")
    rotate_degrees: float = Field(gt=0, le=180, description="per rotation")
    server: Literal["fifo", "wsgi"]
    start_timeout: float = Field(gt=0, le=60, description="seconds until a player that does not start counts as hung")
    step_timeout: float = Field(gt=0, le=60, description="seconds until a silent player counts as hung")
    platform: Literal["CloudRendering", "Linux64"] = Field(description="thor only")


class Perception(Strict):
    """The task of active perception; see `rlleak.simulators.active_perception.TaskOptions`."""

    depth_limit: float = Field(gt=0, le=100, description="metres that depth 1.0 stands for")
    horizon: int = Field(gt=0, description="steps until an episode is cut off")
    minimal_pixels: int = Field(gt=0, description="of the target in a first view")
    distances: tuple[float, float] = Field(description="metres from agent to target in a first view")
    horizons: tuple[float, ...] = Field(min_length=1, description="camera tilts in degrees, positive down")
    warm_up: int = Field(ge=0, description="most random steps before the recorded one")

    @model_validator(mode="after")
    def _near_is_nearer_than_far(self) -> "Perception":
        near, far = self.distances
        if not 0 <= near < far:
            raise ValueError(f"distances must be from near to far, not {near:g} to {far:g}")
        return self


class Behaviour(Strict):
    """Trained policies of environments; how long they learn, the scale says."""

    network: Name = Field(description="of states with an image")
    vector_network: Name = Field(description="of states that are vectors")
    exploration: float = Field(ge=0, le=1, description="deviation of TD3's actions, chance of any action of DQN's")


class Configuration(Strict):
    """config/config.yaml."""

    scale: ScaleName
    simulator: Simulator
    experiments: tuple[Name, ...] = Field(min_length=1)
    device: Literal["auto", "cpu", "cuda"]
    seeds: Seeds
    simulation: SimulatorShape
    perception: Perception
    behaviour: Behaviour
    transition_thresholds: TransitionThresholds
    losses: Losses
    networks: dict[Name, NetworkShape] = Field(min_length=1)
    memory_limit_gb: float = Field(gt=0, description="what one attack job may hold at once")
    loopback: Loopback | None = Field(default=None, description="clients and a server that attacks, over loopback")

    @model_validator(mode="after")
    def _each_experiment_once(self) -> "Configuration":
        doubled = next((name for name in self.experiments if self.experiments.count(name) > 1), None)
        if doubled:
            raise ValueError(f"experiments name '{doubled}' twice; leave one out")
        return self

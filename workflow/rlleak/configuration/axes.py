"""The axes of a study: settings, cells of a grid, and the names that both files and tables use for them."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from rlleak.configuration.environments import ENVIRONMENTS, Environment, EnvironmentName

Setting = Literal["S1", "S2", EnvironmentName]
Learner = Literal["dqn", "reinforce", "critic", "residual_dqn", "residual_critic"]
Precision = Literal["float32", "float64"]
Actions = Literal["any", "shared"]
"""Of the transitions of one update: whatever the client did, or all the same action."""
Policy = Literal["random", "trained"]
"""Of an environment, what chose the actions; rooms are walked at random."""
Simulator = Literal["rooms", "thor"]
ScaleName = Literal["smoke", "reduced", "paper"]
RoomType = Literal["kitchen", "living_room", "bedroom", "bathroom"]
TRAINING = "training"
"""In the place of an attack: nobody attacks, the clients train together on what they share. Its victims are runs."""

# QGI, section V: S1 has an RGB and a depth camera, S2 a depth camera only; 150 x 150; the target's box has 4 numbers.
CHANNELS: dict[str, tuple[str, ...]] = {"S1": ("red", "green", "blue", "depth"), "S2": ("depth",)}
RESOLUTION = 150
VECTOR_SIZE = 4
# The seven movements of the Active Vision Dataset [23], which QGI cites for its task.
ACTIONS = ("MoveAhead", "MoveBack", "MoveLeft", "MoveRight", "RotateLeft", "RotateRight", "Stop")

# The same as environments that clients train in.
ROOMS: dict[str, Environment] = {
    name: Environment(
        name,
        "active perception",
        "rooms",
        (len(channels), RESOLUTION, RESOLUTION),
        VECTOR_SIZE,
        len(ACTIONS),
        continuous=False,
        channels=channels,
    )
    for name, channels in CHANNELS.items()
}
TRAINED_IN = ENVIRONMENTS | ROOMS


def channels_of(setting: str) -> tuple[str, ...]:
    """What an image's channels hold in a setting."""
    return ENVIRONMENTS[setting].channels if setting in ENVIRONMENTS else CHANNELS[setting]


def inputs_of(setting: str) -> dict[str, Any]:
    """Image shape, vector size and outputs of the network whose gradient is shared, named as `NetworkSpec`'s arguments.

    One output per action; where actions are continuous, one output, and the action is the end of the vector.
    """
    if setting in ENVIRONMENTS:
        return ENVIRONMENTS[setting].value_inputs
    shape = [len(CHANNELS[setting]), RESOLUTION, RESOLUTION]
    return {"image_shape": shape, "vector_size": VECTOR_SIZE, "outputs": len(ACTIONS)}


@dataclass(frozen=True, order=True)
class Cell:
    """One attack on one kind of update in one setting, or a training: what a row of a table averages over.

    attack: a name in config/attacks.yaml or config/transition_attacks.yaml, or `TRAINING`. batch: transitions per
    update. actions: see `Actions`. precision: in which the victim computes its gradient. defence: what it does to the
    gradient before it shares it, a name in config/defences.yaml. policy: see `Policy`.
    """

    learner: str
    network: str
    setting: str
    seed: int
    attack: str
    batch: int = 1
    actions: str = "any"
    precision: str = "float32"
    defence: str = "none"
    policy: str = "random"

    @property
    def update(self) -> str:
        """Path of what the gradients were made from, keyed by the axes that they depend on."""
        kind = f"{self.policy}/batch{self.batch}/{self.actions}/{self.precision}"
        return f"{self.learner}/{self.network}/{self.setting}/{kind}/seed{self.seed}"

    @property
    def axes(self) -> dict[str, str | int]:
        """The value on each axis, by its name in `AXES`."""
        return asdict(self)


AXES = tuple(field.name for field in fields(Cell))

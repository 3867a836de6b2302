"""The environments of the study of transitions (He, arXiv 2512.00303, section 5), by their name as setting.

Nothing heavy is imported here: `rlleak.simulators.environments` plays them. What is said of their spaces is compared
with the spaces themselves in the tests.
"""

import math
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["control", "classic", "atari", "driving", "grid", "rooms"]
EnvironmentName = Literal[
    "Hopper", "Walker2d", "Ant", "HalfCheetah", "Pong", "Qbert", "Breakout", "Seaquest", "CarRacing",
    "CarRacingContinuous", "FrozenLake", "CartPole",
]  # fmt: skip


@dataclass(frozen=True)
class Environment:
    """One environment as its victims see it.

    gym_id: its name in gymnasium; of an Atari game, the game's. image_shape: (channels, height, width) of a state's
    image, or None. vector_size: length of a state's vector; 0: none. actions: how many there are, or how many numbers
    one has where actions are `continuous` (in [-1, 1], scaled to the action space). channels: what an image's channels
    hold.
    """

    name: str
    gym_id: str
    kind: Kind
    image_shape: tuple[int, int, int] | None
    vector_size: int
    actions: int
    continuous: bool
    channels: tuple[str, ...] = ()

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each part of a state, by the name that networks know it under: `image` and `vector`."""
        image = {} if self.image_shape is None else {"image": self.image_shape}
        return image | ({"vector": (self.vector_size,)} if self.vector_size else {})

    @property
    def state_size(self) -> int:
        """How many numbers a state has."""
        return sum(math.prod(shape) for shape in self.state_shapes.values())

    @property
    def value_inputs(self) -> dict[str, Any]:
        """Arguments of `NetworkSpec` for the network whose gradient is shared.

        Q(s, .) with an output per action; Q(s, a) where actions are continuous: they join the vector, as in TD3.
        """
        joined = self.actions if self.continuous else 0
        return self._inputs(self.vector_size + joined, 1 if self.continuous else self.actions)

    @property
    def actor_inputs(self) -> dict[str, Any]:
        """The same for a network that gives an action for a state: its numbers before tanh, or one score each."""
        return self._inputs(self.vector_size, self.actions)

    def _inputs(self, vector_size: int, outputs: int) -> dict[str, Any]:
        shape = None if self.image_shape is None else list(self.image_shape)
        return {"image_shape": shape, "vector_size": vector_size, "vector_width": 0, "outputs": outputs}


def _control(name: str, vector_size: int, actions: int) -> Environment:
    return Environment(name, f"{name}-v5", "control", None, vector_size, actions, continuous=True)


def _game(name: str, actions: int) -> Environment:
    # A state is the last four grey frames at 84 x 84 (Mnih et al. 2015).
    frames = ("frame -3", "frame -2", "frame -1", "frame 0")
    return Environment(name, name, "atari", (4, 84, 84), 0, actions, continuous=False, channels=frames)


def _driving(name: str, actions: int, continuous: bool) -> Environment:
    colours = ("red", "green", "blue")
    return Environment(name, "CarRacing-v3", "driving", (3, 96, 96), 0, actions, continuous, channels=colours)


_ALL = (
    _control("Hopper", 11, 3),
    _control("Walker2d", 17, 6),
    _control("Ant", 105, 8),
    _control("HalfCheetah", 17, 6),
    _game("Pong", 6),
    _game("Qbert", 6),
    _game("Breakout", 4),
    _game("Seaquest", 18),
    _driving("CarRacing", 5, continuous=False),
    _driving("CarRacingContinuous", 3, continuous=True),
    # 4 x 4 and not slippery, so that every transition is possible or impossible. A state is its place, one-hot.
    Environment("FrozenLake", "FrozenLake-v1", "grid", None, 16, 4, continuous=False),
    # Not among the paper's: minutes suffice to learn it, so that what a defence costs shows in returns.
    Environment("CartPole", "CartPole-v1", "classic", None, 4, 2, continuous=False),
)
ENVIRONMENTS: dict[str, Environment] = {environment.name: environment for environment in _ALL}

"""The axes of a study: settings, cells of a grid, and the names that both files and tables use for them."""

from dataclasses import asdict, dataclass
from typing import Literal

Setting = Literal["S1", "S2"]
Learner = Literal["dqn", "reinforce"]
Simulator = Literal["rooms", "thor"]
ScaleName = Literal["smoke", "reduced", "paper"]
RoomType = Literal["kitchen", "living_room", "bedroom", "bathroom"]

# QGI, section V: S1 has an RGB and a depth camera, S2 a depth camera only; 150 x 150; the target's box has 4 numbers.
CHANNELS: dict[str, tuple[str, ...]] = {"S1": ("red", "green", "blue", "depth"), "S2": ("depth",)}
RESOLUTION = 150
VECTOR_SIZE = 4
# The seven movements of the Active Vision Dataset [23], which QGI cites for its task.
ACTIONS = ("MoveAhead", "MoveBack", "MoveLeft", "MoveRight", "RotateLeft", "RotateRight", "Stop")


@dataclass(frozen=True, order=True)
class Cell:
    """One attack on one victim network in one setting: what a row of a table averages over."""

    learner: str
    network: str
    setting: str
    seed: int
    attack: str

    @property
    def update(self) -> str:
        """Path of what was shared, keyed by the axes that sharing depends on."""
        return f"{self.learner}/{self.network}/{self.setting}/seed{self.seed}"

    @property
    def path(self) -> str:
        """Path of what an attack made of it."""
        return f"{self.update}/{self.attack}"

    @property
    def axes(self) -> dict[str, str | int]:
        return asdict(self)

"""Active perception for several players, each in a room of its own: what clients of a federation train in."""

from collections.abc import Sequence

import gymnasium
import numpy as np

from rlleak.configuration.environments import Environment
from rlleak.configuration.federation import Homes
from rlleak.errors import ConfigurationError
from rlleak.simulators import SIMULATORS
from rlleak.simulators.active_perception import ActivePerceptionEnv, TaskOptions
from rlleak.simulators.controller import SimulatorOptions
from rlleak.simulators.detector import Detector
from rlleak.simulators.layouts import layout_of_victim
from rlleak.simulators.side_by_side import OneByOne, States


class Home(gymnasium.ObservationWrapper):
    """`ActivePerceptionEnv` in one room, in a simulator of its own, which ends with it.

    Images are in bytes, as replays keep them: colours as the camera gives them, depth in 255ths of its limit.
    """

    def observation(self, observation: States) -> States:
        return {"image": np.rint(255 * observation["image"]).astype(np.uint8), "vector": observation["vector"]}

    def close(self) -> None:
        self.unwrapped.controller.stop()


def at_home(environment: Environment, seeds: Sequence[int], homes: Homes, numbers: Sequence[int]) -> OneByOne:
    """Players of S1 or S2, one per seed, the i-th in the private room of victim `numbers[i]`.

    A simulator holds one room, and reloading it for every step would take longer than the step: each player has a
    process of its own. Raises ConfigurationError where nothing says how sure a detector is, SimulatorError where a
    player does not start, CorruptArtefactError for a detector that cannot be read.
    """
    if homes.detector is None:
        raise ConfigurationError(f"{environment.name} is rewarded by a detector; say where it lies, homes.detector")
    detector = Detector.load(homes.detector)
    task = TaskOptions(**homes.perception.model_dump(exclude={"warm_up"}))
    players: list[Home] = []
    try:
        for number in numbers:
            layout = layout_of_victim(number, simulator=homes.simulator)
            options = SimulatorOptions(**homes.simulation.model_dump(), first_layout=layout)
            controller = SIMULATORS.load(homes.simulator)(options)
            players.append(Home(ActivePerceptionEnv(controller, detector, environment.name, (layout,), options=task)))
        return OneByOne(players, seeds)
    except BaseException:
        for player in players:
            player.close()
        raise

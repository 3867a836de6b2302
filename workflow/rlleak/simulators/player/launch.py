"""Starts the rooms player under the real ai2thor controller."""

import os
import shlex
import sys
from pathlib import Path

import rlleak
from rlleak.simulators.controller import SimulatorOptions, WatchedController, open_controller
from rlleak.simulators.player import serve


def player_command() -> str:
    """A shell line for ai2thor, which splits it again: so paths with spaces are quoted, and no launcher file is needed.

    `env` hands the way to this very rlleak to the process and then becomes it, so that ai2thor's kill meets the player.
    """
    ways = [str(Path(rlleak.__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return shlex.join(["env", f"PYTHONPATH={os.pathsep.join(ways)}", sys.executable, "-m", serve.__name__])


class RoomsController(WatchedController):
    """ai2thor's controller with the rooms player in Unity's place."""

    simulator = "rooms"
    player = "the rooms player"

    @property
    def base_dir(self) -> str:
        """Where ai2thor keeps what belongs to a player."""
        # No build is downloaded, so nothing need be writable in the user's home.
        return self._workspace.name

    def unity_command(self, width: int, height: int, headless: bool) -> list[str]:
        """What starts the player, as ai2thor asks for it."""
        # Rooms are rendered on the CPU; with a GPU chosen (CUDA_VISIBLE_DEVICES) ai2thor would ask for vulkaninfo.
        self.gpu_device = None
        return super().unity_command(width, height, headless)


def start_rooms(options: SimulatorOptions | None = None) -> RoomsController:
    """A controller whose player serves the project's rooms, layouts 1-99, 201-299, 301-399 and 401-499.

    Raises SimulatorError if the player cannot start (the message holds the player's own words).
    """
    options = options or SimulatorOptions()
    # With an executable of one's own, ai2thor assumes X11 and asks for a display; the player opens none.
    return open_controller(RoomsController, options, local_executable_path=player_command(), x_display=":0")

"""Runs the rooms player: started by ai2thor's controller as a process of its own, like Unity.

    python -m rlleak.simulators.player.serve -screen-width 150 -screen-height 150

where to answer comes in AI2THOR_* variables. What goes wrong is said on standard error, which the controller's side
reads.
"""

import argparse
import faulthandler
import os
import signal
import sys
import threading
import time

from rlleak.errors import RlleakError
from rlleak.simulators.player.agent import Agent, Outcome, World
from rlleak.simulators.player.events import EventWriter
from rlleak.simulators.player.transport import Transport, open_transport

_PARENT_POLL_SECONDS = 2.0


def build_room(layout: int, width: int, height: int, field_of_view: float) -> World:
    """Builds a room. MuJoCo is imported here, so that the process answers at once and a missing GL library is an error
    of the first Reset, with its own words."""
    from rlleak.simulators.rooms.world import RoomWorld

    return RoomWorld(layout, width=width, height=height, field_of_view=field_of_view)


def serve(transport: Transport, agent: Agent) -> None:
    """Answers actions until the controller goes."""
    events = EventWriter(agent)
    action = transport.answer(*events.write({}, Outcome(True)))
    while action is not None:
        outcome = agent.act(action)
        action = transport.answer(*events.write(action, outcome))
    agent.close()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os._exit(0)


def main(arguments: list[str] | None = None) -> int:
    """Serves one controller; returns the exit status: 0, or 2 with one line on standard error."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-screen-width", type=int, default=300)
    parser.add_argument("-screen-height", type=int, default=300)
    options, _ = parser.parse_known_args(arguments)  # Unity's other switches (-screen-quality ...) mean nothing here
    faulthandler.enable()
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the controller stops its player itself
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    try:
        serve(open_transport(), Agent(build_room, options.screen_width, options.screen_height))
    except RlleakError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

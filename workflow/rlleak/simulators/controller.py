"""The real ai2thor controller, made safe to leave alone: a player that dies, hangs or never starts is a SimulatorError.

As published, ai2thor 5.0.0 waits for ever for a player that dies before it opens its pipe, spins until its timeout when
one dies later, restarts a crashed Unity in the middle of an episode, and keeps the player's words in a log nobody
reads. `WatchedController` is that controller with these four mended, for whichever player.
"""

import logging
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ai2thor.controller import Controller
from ai2thor.fifo_server import FifoServer
from ai2thor.server import Event
from ai2thor.wsgi_server import WsgiServer

from rlleak.errors import ConfigurationError, SimulatorError
from rlleak.simulators.layouts import scene_of
from rlleak.simulators.servers import (
    EXIT_SECONDS,
    POLL_SECONDS,
    PlayerLostError,
    WatchedFifoServer,
    WatchedWsgiServer,
    close_server,
    kill,
)

logger = logging.getLogger(__name__)
_LOG_LINES = 3
_SERVERS = {"fifo": FifoServer, "wsgi": WsgiServer}


@dataclass(frozen=True)
class SimulatorOptions:
    """How a player is started and what the agent can do in it.

    width, height: pixels. field_of_view: degrees, vertical. grid_size: metres per move. rotate_degrees: per rotation.
    server: 'fifo' or 'wsgi', ai2thor's two ways to talk to a player. start_timeout, step_timeout: seconds until a
    silent player counts as hung. platform (thor only): 'CloudRendering' (GPU with Vulkan, no X) or 'Linux64' (X11,
    see x_display). first_layout: loaded at the start; no more than the first thing to look at.
    """

    width: int = 150
    height: int = 150
    field_of_view: float = 90.0
    grid_size: float = 0.25
    rotate_degrees: float = 30.0
    visibility_distance: float = 1.5
    server: str = "fifo"
    start_timeout: float = 50.0
    step_timeout: float = 40.0
    platform: str = "CloudRendering"
    x_display: str | None = None
    first_layout: int = 1

    def __post_init__(self) -> None:
        if self.server not in _SERVERS:
            raise ConfigurationError(f"unknown simulator server '{self.server}'; there is: {', '.join(_SERVERS)}")
        for name in (
            "width",
            "height",
            "field_of_view",
            "grid_size",
            "rotate_degrees",
            "start_timeout",
            "step_timeout",
        ):
            if getattr(self, name) <= 0:
                raise ConfigurationError(f"simulator option '{name}' is {getattr(self, name)}; it must be above 0")


class WatchedController(Controller):
    """ai2thor's Controller whose every failure to reach its player is a SimulatorError within the options' timeouts.

    A context manager. `step`, `reset` and `load` raise SimulatorError; an action unknown to the player stays ai2thor's
    ValueError, and a move that is blocked is an event with lastActionSuccess False, as ever.
    """

    simulator = ""
    player = "the player"

    def __init__(self, options: SimulatorOptions, **arguments: Any) -> None:
        self.options = options
        self._ready = False
        self._stopped = False
        self._workspace = tempfile.TemporaryDirectory(prefix="rlleak-player-", ignore_cleanup_errors=True)
        arguments = {
            "width": options.width,
            "height": options.height,
            "server_class": _SERVERS[options.server],
            "server_timeout": options.step_timeout,
            "server_start_timeout": options.start_timeout,
            "scene": scene_of(options.first_layout),
            "fieldOfView": options.field_of_view,
            "gridSize": options.grid_size,
            "rotateStepDegrees": options.rotate_degrees,
            "snapToGrid": options.rotate_degrees % 90 == 0,  # off-grid headings and snapping do not go together
            "visibilityDistance": options.visibility_distance,
            "renderDepthImage": True,
            "renderInstanceSegmentation": True,
            **arguments,
        }
        self._guard("starting", lambda: super(WatchedController, self).__init__(**arguments))
        self._ready = True

    @property
    def log_dir(self) -> str:
        return self._workspace.name

    def load(self, layout: int) -> Event:
        """Loads a layout by number and returns the first event. Raises ConfigurationError if the player has none
        such."""
        scene = scene_of(layout)
        if scene not in self.scenes_in_build:
            raise ConfigurationError(f"{self.player} has no layout {layout} ({scene})")
        return self.reset(scene)

    def reset(self, scene: Any = None, **init_params: Any) -> Event:
        return self._guard(
            f"loading {scene or self.scene}", lambda: super(WatchedController, self).reset(scene, **init_params)
        )

    def step(self, action: Any = None, **action_args: Any) -> Event:
        name = action.get("action") if isinstance(action, dict) else action
        return self._guard(f"performing {name}", lambda: super(WatchedController, self).step(action, **action_args))

    def stop(self) -> None:
        """Ends the player, whatever state it is in. May be called again."""
        if self._stopped:
            return
        self._stopped = True
        if self.server is not None:
            kill(self.server.unity_proc)
            close_server(self.server)
        build = getattr(self, "_build", None)
        if getattr(build, "_lock", None) is not None:
            build.unlock()
        self._workspace.cleanup()

    def _build_server(self, host: str, port: int, width: int, height: int) -> None:
        if self.server is not None:
            return
        common = {
            "width": width,
            "height": height,
            "timeout": self.server_timeout,
            "depth_format": self.depth_format,
            "add_depth_noise": self.add_depth_noise,
        }
        if self.server_class is FifoServer and "FIFO" in self._build.server_types:
            self.server = WatchedFifoServer(**common)
        else:
            self.server = WatchedWsgiServer(host=host, port=port, **common)

    def _guard(self, doing: str, call: Callable[[], Any]) -> Any:
        if self._stopped:
            raise SimulatorError(f"{self.player} is stopped; {doing} needs a new one")
        try:
            return call()
        except (SimulatorError, ConfigurationError):
            raise
        except (ValueError, KeyboardInterrupt) as error:
            if self._ready and isinstance(error, ValueError):
                raise  # ai2thor's word for an action that does not exist or lacks an argument: the caller's mistake
            self._give_up(doing, error)
        except Exception as error:  # ai2thor raises bare Exception, RuntimeError, TimeoutError, and requests' own
            self._give_up(doing, error)

    def _give_up(self, doing: str, error: BaseException) -> None:
        said = self._last_words()
        cause = _cause(error)
        status = self._exit_status(EXIT_SECONDS if isinstance(cause, PlayerLostError) else POLL_SECONDS)
        self.stop()
        if isinstance(error, KeyboardInterrupt):
            raise error
        raise SimulatorError(self.explain(doing, cause, status, said)) from error

    def explain(self, doing: str, error: BaseException, status: int | None, said: str) -> str:
        """One line on what went wrong: `status` is the player's exit status (None: it lives), `said` its last words."""
        words = f"; it said: {said}" if said else ""
        if isinstance(error, TimeoutError):
            return f"{self.player} hung while {doing}: no answer within start_timeout or step_timeout{words}"
        if status is not None:
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            return f"{self.player} {how} while {doing}{words}"
        return f"{self.player} failed while {doing}: {' '.join(str(error).split())[:500]}{words}"

    def _exit_status(self, within: float) -> int | None:
        process = None if self.server is None else self.server.unity_proc
        if process is None:
            return None
        try:
            return process.wait(within)
        except subprocess.TimeoutExpired:
            return None

    def _last_words(self) -> str:
        log = Path(self.log_dir, "unity.log")
        if not log.is_file():
            return ""
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if lines:
            logger.error("what %s said:\n%s", self.player, "\n".join(lines[-200:]))
        return " | ".join(lines[-_LOG_LINES:])[-600:]


_Controller = TypeVar("_Controller", bound=WatchedController)


def open_controller(kind: type[_Controller], options: SimulatorOptions, **arguments: Any) -> _Controller:
    """Starts a player and its controller, or raises SimulatorError with nothing left running."""
    return kind(options, **arguments)


def _cause(error: BaseException) -> BaseException:
    """What ai2thor's own error was raised over: the player's silence or loss if that is among it, else the first
    error."""
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    return next((link for link in chain if isinstance(link, TimeoutError | PlayerLostError)), chain[-1])

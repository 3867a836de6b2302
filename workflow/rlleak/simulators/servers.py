"""ai2thor's two servers, which talk to a player, made to notice that it is gone."""

import logging
import os
import queue
import select
import subprocess
import time
from typing import Any

from ai2thor.exceptions import UnityCrashException
from ai2thor.fifo_server import FifoServer
from ai2thor.server import Event
from ai2thor.wsgi_server import WsgiServer

logger = logging.getLogger(__name__)
POLL_SECONDS = 0.2
EXIT_SECONDS = 5.0  # a player closes its pipe at the end of its work; a busy machine takes its time to end its process


class PlayerLostError(Exception):
    """The player's process ended, or closed its pipe."""


class WatchedFifoServer(FifoServer):
    """ai2thor's FIFO server that never blocks without looking whether the player is alive and the time is up."""

    def _open(self, path: str, flags: int, timeout: float) -> int:
        deadline = time.monotonic() + timeout
        while True:
            try:
                return os.open(path, flags | os.O_NONBLOCK)
            except OSError as error:  # ENXIO: the player has not opened its end yet
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the player did not open {path} in {timeout:g} s") from error
            self._check_alive()
            time.sleep(0.01)

    def _check_alive(self) -> None:
        if self.unity_proc is not None and self.unity_proc.poll() is not None:
            raise PlayerLostError("its process ended")

    def _recv_message(self, timeout: float | None) -> Any:
        limit = self.timeout if timeout is None else timeout
        if self.server_pipe is None:
            # Opened for reading without blocking: data arrive when the player has opened its end.
            self.server_pipe = os.fdopen(self._open(self.server_pipe_path, os.O_RDONLY, limit), "rb", buffering=0)
        return super()._recv_message(limit)

    def _read_with_timeout(self, server_pipe: Any, message_size: int, timeout: float | None) -> bytes:
        deadline = time.monotonic() + (timeout or self.timeout)
        waiting = select.poll()
        waiting.register(server_pipe, select.POLLIN)
        parts = []
        while message_size > 0:
            if waiting.poll(1000 * POLL_SECONDS):
                part = os.read(server_pipe.fileno(), message_size)
                if not part:
                    raise PlayerLostError("it closed its pipe")
                parts.append(part)
                message_size -= len(part)
            elif time.monotonic() > deadline:
                raise TimeoutError(f"the player sent nothing for {timeout or self.timeout:g} s")
            else:
                self._check_alive()
        return b"".join(parts)

    def _send_message(self, message_type: int, body: bytes) -> None:
        if self.client_pipe is None:
            descriptor = self._open(self.client_pipe_path, os.O_WRONLY, self.timeout)
            os.set_blocking(descriptor, True)  # an action is far smaller than a pipe's buffer, so writing does not wait
            self.client_pipe = os.fdopen(descriptor, "wb")
        try:
            super()._send_message(message_type, body)
        except BrokenPipeError as error:
            raise PlayerLostError("it closed its pipe") from error


class WatchedWsgiServer(WsgiServer):
    """ai2thor's WSGI server, whose player is not restarted when it dies: an episode must not go on from another
    pose."""

    def receive(self, timeout: float | None = None) -> Event:
        try:
            return super().receive(timeout)
        except UnityCrashException as error:
            raise PlayerLostError("its process ended") from error


def kill(process: subprocess.Popen | None) -> None:
    """Ends a player's process, in whatever state it is."""
    if process is None or process.poll() is not None:
        return
    process.kill()  # SIGKILL ends a stopped process, too
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        logger.error("process %d does not end", process.pid)


def close_server(server: FifoServer | WsgiServer) -> None:
    """Frees what a server holds of pipes, port and folder; its player may be gone."""
    if isinstance(server, WsgiServer):
        try:
            server.response_queue.put_nowait({})  # frees the thread that waits for an action to hand on
        except queue.Full:
            logger.debug("an action was still waiting")
        if server.started:
            server.wsgi_server.shutdown()
        server.wsgi_server.server_close()
        server.stopped = True
        return
    for pipe in (server.client_pipe, server.server_pipe):
        if pipe is None:
            continue
        try:
            pipe.close()
        except BrokenPipeError:
            logger.debug("the player had left before its last action")
    server.client_pipe = server.server_pipe = None
    server.tmp_dir.cleanup()

"""A SuperLink and its SuperNodes as processes of this machine that speak over loopback, and to nobody else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil

import rlleak
from rlleak.artefacts import read_json
from rlleak.errors import ProtocolError, ResourceError
from rlleak.federation.flower.task import Task

LOOPBACK = "127.0.0.1"
ENDS = "the run ends: "
"""How the server app begins the line that says why it gives up."""
_APP = Path(__file__).parent / "app"
_SUPERNODE = Path(__file__).parent / "supernode.py"
_CONNECTION = "loopback"
# Seconds that a process gets to end by itself before it is killed.
_GRACE = 5.0


class Federation:
    """Running processes: a SuperLink and one SuperNode per client. Made by `federation`, which also ends them.

    superlink, nodes: the processes; folder: where their logs lie, one file per process.
    """

    def __init__(self, folder: Path, port: int, environment: Mapping[str, str]) -> None:
        self.folder, self.port, self.environment = folder, port, environment
        self.superlink: subprocess.Popen[bytes] | None = None
        self.nodes: list[subprocess.Popen[bytes]] = []

    def start(self, program: str, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a program of Flower; what it prints goes to <folder>/<name>.log."""
        path = Path(sys.executable).parent / program
        if not path.is_file():
            raise ResourceError(f"{program} is not installed beside {sys.executable}; install envs/requirements.lock")
        # Without the folder of the script in the search path: names in it are also others' (`messages`, `task`).
        command = [sys.executable, "-P", str(_SUPERNODE)] if program == "flower-supernode" else [str(path)]
        with self.log(name).open("wb") as log:
            return subprocess.Popen(
                [*command, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(self.environment)
            )

    def log(self, name: str) -> Path:
        """Where a process writes what it has to say."""
        return self.folder / f"{name}.log"

    def run(self, task: Task, timeout: float) -> list[dict[str, Any]]:
        """Runs the apps of this package for the task, waits until the server has finished, and says how rounds went.

        timeout: seconds for everything. A node that ends does not end the run: the server leaves it out. Raises
        ProtocolError where the server ends before the task is done, for the reason that it gives, and ResourceError
        where the SuperLink ends, all nodes end, the run cannot be started, or time is up; each quotes the log's end.
        """
        record = Path(task.keeps) / "record.json"
        record.unlink(missing_ok=True)
        file = task.save(self.folder / "task.json").resolve()
        runner = self.start("flwr", "run", "run", str(_APP), _CONNECTION, "--stream", "--run-config", f'task="{file}"')
        try:
            self._wait(runner, timeout)
        finally:
            _end([runner])
        if runner.returncode:
            raise ResourceError(f"the federated run could not be started; {self.said('run')}")
        if not record.exists():
            # Flower's client ends in peace whatever became of the server app.
            lines = self.log("run").read_text(errors="replace").splitlines()
            reasons = [line.removeprefix(ENDS) for line in lines if line.startswith(ENDS)]
            raise ProtocolError(reasons[-1] if reasons else f"the server ended early; {self.said('run')}")
        return read_json(record)

    def _wait(self, runner: subprocess.Popen[bytes], timeout: float) -> None:
        end = time.monotonic() + timeout
        while runner.poll() is None:
            if self.superlink is None or self.superlink.poll() is not None:
                raise ResourceError(f"the SuperLink ended during the run; {self.said('superlink')}")
            if all(node.poll() is not None for node in self.nodes):
                raise ResourceError(f"all {len(self.nodes)} nodes ended during the run; {self.said('node0')}")
            if time.monotonic() > end:
                raise ResourceError(f"the federated run took longer than {timeout:g} s; {self.said('run')}")
            time.sleep(0.2)

    def said(self, name: str, lines: int = 8) -> str:
        """The end of a log, in one line."""
        text = self.log(name).read_text(errors="replace").splitlines()
        return f"{self.log(name)} ends with: {' / '.join(line.strip() for line in text[-lines:] if line.strip())}"


@contextmanager
def federation(
    folder: Path,
    clients: Sequence[Mapping[str, Any]],
    *,
    port: int | None = None,
    start_timeout: float = 180.0,
) -> Iterator[Federation]:
    """A SuperLink and a SuperNode for each client, on loopback, for as long as the context lasts.

    folder: for logs and Flower's own files; exists afterwards. clients: what each node alone is told, as its node
    configuration (strings and numbers). port: the SuperLink's; a free one unless given. start_timeout: seconds until
    all must listen.
    They end when the context ends, whatever ends it: an exception, Ctrl-C or SIGTERM.
    Raises ResourceError where a port is taken or a process does not start; it quotes the log.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port() if port is None else _unless_taken(port)
    made = Federation(folder, port, _environment(folder, port))
    with ExitStack() as stack:
        stack.enter_context(_termination_as_exit())
        stack.callback(lambda: _end([*made.nodes, *filter(None, [made.superlink])]))
        made.superlink = made.start(
            *("flower-superlink", "superlink", "--insecure", "--host", LOOPBACK, "--port", str(port)),
            "--disable-runtime-dependency-installation",
        )
        listening = [("superlink", made.superlink, port)]
        for number, told in enumerate(clients):
            name, own = f"node{number}", _free_port()
            node = made.start(
                *("flower-supernode", name, "--insecure", "--superlink", f"{LOOPBACK}:{port}"),
                *("--host", LOOPBACK, "--port", str(own), "--node-config", _node_config(told)),
            )
            made.nodes.append(node)
            listening.append((name, node, own))
        end = time.monotonic() + start_timeout
        for name, process, own in listening:
            _until_listening(made, name, process, own, end)
        yield made


def _environment(folder: Path, port: int) -> dict[str, str]:
    """This process's environment without what would lead a child beyond loopback, and where Flower keeps its files."""
    home = folder / "flower"
    home.mkdir(exist_ok=True)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "{_CONNECTION}"\n[superlink.{_CONNECTION}]\n'
        f'address = "{LOOPBACK}:{port}"\ninsecure = true\n'
    )
    kept = {
        name: value
        for name, value in os.environ.items()
        # A proxy would be handed what is meant for loopback; Flower's own variables are set below.
        if not name.lower().endswith("_proxy") and not name.startswith("FLWR_")
    }
    # Flower's programs start each other by name, and their apps import this library.
    paths = {"PATH": Path(sys.executable).parent, "PYTHONPATH": Path(rlleak.__file__).parents[1]}
    kept |= {name: os.pathsep.join(filter(None, [str(path), kept.get(name)])) for name, path in paths.items()}
    return kept | {
        "FLWR_HOME": str(home.resolve()),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        # Seconds between two looks for a message to answer; 1 by default, on both sides of each round.
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.2",
        "OMP_NUM_THREADS": "1",
    }


def _node_config(told: Mapping[str, Any]) -> str:
    """As `--node-config` takes it: TOML's values, with a space between pairs."""
    values = {name: f'"{value}"' if isinstance(value, str) else value for name, value in told.items()}
    return " ".join(f"{name}={value}" for name, value in values.items())


def _free_port() -> int:
    with socket.socket() as found:
        found.bind((LOOPBACK, 0))
        return found.getsockname()[1]


def _unless_taken(port: int) -> int:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((LOOPBACK, port))
        except OSError as error:
            raise ResourceError(f"port {port} of {LOOPBACK} is not free ({error.strerror}); name another") from error
    return port


def _until_listening(made: Federation, name: str, process: subprocess.Popen[bytes], port: int, end: float) -> None:
    while True:
        if process.poll() is not None:
            raise ResourceError(f"{name} ended with status {process.returncode} at its start; {made.said(name)}")
        with socket.socket() as tried:
            if tried.connect_ex((LOOPBACK, port)) == 0:
                return
        if time.monotonic() > end:
            raise ResourceError(f"{name} does not listen in time; {made.said(name)}")
        time.sleep(0.1)


@contextmanager
def _termination_as_exit() -> Iterator[None]:
    """SIGTERM unwinds the stack as Ctrl-C does; by default it would leave the children behind."""

    def unwind(number: int, frame: Any) -> None:
        sys.exit(128 + number)

    try:
        before = signal.signal(signal.SIGTERM, unwind)
    except ValueError:  # not in the main thread: whoever runs that handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ends the processes and all that they started, which Flower partly puts into sessions of their own."""
    family: list[psutil.Process] = []
    for process in processes:
        try:
            started = psutil.Process(process.pid)
            family += [started, *started.children(recursive=True)]
        except psutil.NoSuchProcess:
            continue
    for send in (psutil.Process.terminate, psutil.Process.kill):
        for member in family:
            try:
                send(member)
            except psutil.NoSuchProcess:
                continue
        _, family = psutil.wait_procs(family, timeout=_GRACE)
    for process in processes:
        process.wait()

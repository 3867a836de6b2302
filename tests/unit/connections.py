"""Who talks to whom: what the processes below this one listen on, and connect to."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import psutil
import pytest

# Read by every Python that starts: the exact list of what it asks the system to connect to, or a name server for.
HOOK = """
import os, sys
def _note(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    else:
        return
    if host is not None:
        descriptor = os.open(os.environ["NOTED_CONNECTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, f"{host}\\n".encode())
        os.close(descriptor)
sys.addaudithook(_note)
"""


@dataclass
class Watched:
    """Hosts that were connected to or asked for, and addresses that were listened on, by any process below this one."""

    connected: set[str] = field(default_factory=set)
    listened: set[str] = field(default_factory=set)
    processes: set[str] = field(default_factory=set)

    @property
    def beyond(self) -> set[str]:
        """What of it is not this machine talking to itself."""
        return {host for host in self.connected | self.listened if not _is_loopback(host)}


@contextmanager
def watched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Watches from outside (what the system says of sockets, twice a second), and from within each Python."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOK)
    noted, seen, over = folder / "noted", Watched(), threading.Event()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("NOTED_CONNECTIONS", str(noted))
    looking = threading.Thread(target=_look, args=(seen, over))
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()
        if noted.exists():
            seen.connected |= set(noted.read_text().split())


def _look(seen: Watched, over: threading.Event) -> None:
    while not over.wait(0.5):
        for process in psutil.Process().children(recursive=True):
            try:
                seen.processes |= {process.name(), *(Path(part).name for part in process.cmdline()[1:3])}
                for connection in process.net_connections("inet"):
                    if connection.status == psutil.CONN_LISTEN:
                        seen.listened.add(connection.laddr.ip)
                    elif connection.raddr:
                        seen.connected.add(connection.raddr.ip)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

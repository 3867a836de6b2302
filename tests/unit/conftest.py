"""What tests that live in the rooms share, and none writes to: one player, and rooms rendered once for all; and
transitions as attacks that ran side by side store them.
"""

from collections.abc import Iterator

import pytest
import torch
import transition_samples as transitions

from rlleak.simulators.collector import collect_experience
from rlleak.simulators.controller import WatchedController
from rlleak.simulators.detector import Detector
from rlleak.simulators.experience import Experience
from rlleak.simulators.layouts import target_types
from rlleak.simulators.player.launch import start_rooms

VICTIMS = 8


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads on a busy machine wait for each other far longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def controller() -> Iterator[WatchedController]:
    with start_rooms() as started:
        yield started


@pytest.fixture(scope="session")
def detector() -> Detector:
    """Untaught: tests ask what is done with its opinions, not how good they are."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Detector(target_types("rooms"))


@pytest.fixture(scope="session")
def experience(controller: WatchedController, detector: Detector) -> Experience:
    """Private transitions of the first victims: two of each room type."""
    return collect_experience(controller, detector, range(VICTIMS), seed=5, progress=False)


@pytest.fixture(scope="session")
def stored(tmp_path_factory):
    """By environment: paths of everything that any experiment asks of its semi-gradients over one transition."""
    return {
        setting: transitions.stored(tmp_path_factory.mktemp(setting), transitions.cells_of(setting))
        for setting in ("Hopper", "FrozenLake", "Pong")
    }


@pytest.fixture
def _as_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Flower's own process says of itself before it calls a server app."""
    from flwr.supercore.task_identity import TaskIdentity

    for name in ("task_id", "run_id", "node_id"):
        monkeypatch.setattr(TaskIdentity, f"_{name}", 1)

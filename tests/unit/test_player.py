"""The rooms player, started as a real process by the real ai2thor controller."""

import math
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ai2thor.controller import Controller

import rlleak.simulators.player.launch as launch
from rlleak.errors import ConfigurationError, SimulatorError
from rlleak.simulators import SIMULATORS
from rlleak.simulators.controller import SimulatorOptions
from rlleak.simulators.player.events import instance_colours
from rlleak.simulators.rooms.world import RoomWorld


@pytest.fixture(scope="module")
def controller():
    with SIMULATORS.load("rooms")(SimulatorOptions()) as started:
        yield started


def _pose(event):
    agent = event.metadata["agent"]
    return agent["position"]["x"], agent["position"]["z"], agent["rotation"]["y"], agent["cameraHorizon"]


def _ended(process_id: int, seconds: float = 6.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        state = Path(f"/proc/{process_id}/stat")
        if not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


def test_the_controller_is_ai2thors_own_and_the_player_a_process_of_its_own(controller):
    assert isinstance(controller, Controller)
    assert controller.unity_pid != os.getpid()
    assert controller.step("Pass").metadata["lastActionSuccess"]


def test_frames_depth_and_masks_arrive_as_the_room_renders_them(controller):
    event = controller.load(215)
    world = RoomWorld(215)
    try:
        frame = world.render(*_pose(event))
        assert np.array_equal(event.frame, frame.rgb)
        assert np.array_equal(event.depth_frame, frame.depth)
        for index, item in enumerate(world.objects):
            mask = event.instance_masks.mask(item.object_id)
            assert np.array_equal(
                frame.instances == index, np.zeros_like(frame.instances, bool) if mask is None else mask
            )
    finally:
        world.close()


def test_objects_are_described_as_ai2thor_does(controller):
    event = controller.load(1)
    assert event.metadata["sceneName"] == "FloorPlan1_physics"
    item = event.metadata["objects"][0]
    assert item["objectId"].split("|")[0] == item["objectType"]
    corners = np.array(item["axisAlignedBoundingBox"]["cornerPoints"])
    size = item["axisAlignedBoundingBox"]["size"]
    assert np.ptp(corners, axis=0) == pytest.approx([size["x"], size["y"], size["z"]])
    x, z, _, _ = _pose(event)
    place = item["position"]
    assert item["distance"] == pytest.approx(math.dist((place["x"], place["y"], place["z"]), (x, 0.9, z)))


def test_moves_follow_the_heading_and_undo_each_other(controller):
    event = controller.load(301)
    before = event.frame.copy()
    start = _pose(event)
    event = controller.step("RotateRight")
    assert _pose(event)[2] == pytest.approx(30.0)
    moved = controller.step("MoveAhead")
    if moved.metadata["lastActionSuccess"]:
        x, z, _, _ = _pose(moved)
        assert (x - start[0], z - start[1]) == pytest.approx(
            (0.25 * math.sin(math.pi / 6), 0.25 * math.cos(math.pi / 6))
        )
        controller.step("MoveBack")
    event = controller.step("RotateLeft")
    assert _pose(event) == pytest.approx(start)
    assert np.array_equal(event.frame, before)


def test_a_wall_stops_the_agent_and_nothing_moves(controller):
    controller.load(401)
    for _ in range(60):
        before = controller.last_event
        event = controller.step("MoveAhead")
        if not event.metadata["lastActionSuccess"]:
            break
    assert not event.metadata["lastActionSuccess"]
    assert event.metadata["errorMessage"]
    assert _pose(event) == _pose(before)
    assert np.array_equal(event.frame, before.frame)


def test_every_reachable_position_can_be_teleported_to_and_a_wall_cannot(controller):
    controller.load(2)
    places = controller.step("GetReachablePositions").metadata["actionReturn"]
    assert len(places) > 20
    for place in places[:: max(1, len(places) // 10)]:
        event = controller.step(
            "TeleportFull", position=place, rotation={"x": 0, "y": 90, "z": 0}, horizon=30, standing=True
        )
        assert event.metadata["lastActionSuccess"]
        assert _pose(event) == pytest.approx((place["x"], place["z"], 90, 30))
    assert not controller.step("Teleport", position={"x": 50.0, "y": 0.9, "z": 0.0}).metadata["lastActionSuccess"]
    assert _pose(controller.last_event)[0] < 50


def test_resolution_changes_and_rooms_come_back_the_same(controller):
    first = controller.load(30).frame.copy()
    controller.load(31)
    assert np.array_equal(controller.load(30).frame, first)
    assert controller.step("ChangeResolution", x=64, y=48).frame.shape == (48, 64, 3)
    assert controller.step("ChangeResolution", x=150, y=150).frame.shape == (150, 150, 3)


@pytest.mark.parametrize(
    "action", [{"action": "Fly"}, {"action": "Teleport", "x": "far"}, {"action": "LookUp", "degrees": float(10**9)}]
)
def test_a_wrong_action_is_a_value_error_and_the_player_lives(controller, action):
    with pytest.raises(ValueError, match=action["action"]):
        controller.step(action)
    assert controller.step("Pass").metadata["lastActionSuccess"]


def test_a_layout_that_does_not_exist_is_named(controller):
    with pytest.raises(ConfigurationError, match="150"):
        controller.load(150)


def test_instance_colours_are_distinct_and_never_the_background():
    colours = instance_colours([f"Mug|{i}" for i in range(3000)])
    assert len({tuple(colour) for colour in colours} | {(0, 0, 0)}) == 3001
    assert np.array_equal(instance_colours(["Mug|7"])[0], colours[7])


def test_both_servers_show_the_same_room(controller, monkeypatch):
    # a GPU that is chosen must not make ai2thor ask for vulkaninfo, and a proxy must not come in between
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HOME", "/proc/nowhere")  # nor need there be a home to write to
    with SIMULATORS.load("rooms")(SimulatorOptions(server="wsgi")) as other:
        event, expected = other.load(330), controller.load(330)
        assert np.array_equal(event.frame, expected.frame)
        assert np.array_equal(event.depth_frame, expected.depth_frame)
        assert event.metadata["agent"] == expected.metadata["agent"]
        assert other.step("RotateLeft").metadata["lastActionSuccess"]


def test_a_python_in_a_folder_with_spaces_starts_the_player(monkeypatch, tmp_path):
    folder = tmp_path / "a folder with 'spaces'"
    folder.symlink_to(Path(sys.executable).parent.parent, target_is_directory=True)
    monkeypatch.setattr(sys, "executable", str(folder / "bin" / Path(sys.executable).name))
    with SIMULATORS.load("rooms")() as started:
        assert started.last_event.frame.shape == (150, 150, 3)


@pytest.mark.parametrize("server", ["fifo", "wsgi"])
def test_a_killed_player_is_an_error_at_once(server):
    controller = launch.start_rooms(SimulatorOptions(server=server))
    os.kill(controller.unity_pid, signal.SIGKILL)
    started = time.monotonic()
    with pytest.raises(SimulatorError, match=r"killed by signal 9 while performing RotateLeft"):
        controller.step("RotateLeft")
    assert time.monotonic() - started < 3
    with pytest.raises(SimulatorError, match="stopped"):
        controller.load(1)


@pytest.mark.parametrize("server", ["fifo", "wsgi"])
def test_a_hung_player_is_given_up_and_ended(server):
    options = SimulatorOptions(server=server)
    controller = launch.start_rooms(options)
    assert controller.server.timeout == options.step_timeout
    controller.server.timeout = 1.5  # only now: on a busy machine a player takes longer to start
    os.kill(controller.unity_pid, signal.SIGSTOP)
    started = time.monotonic()
    with pytest.raises(SimulatorError, match="hung while loading FloorPlan7"):
        controller.load(7)
    assert time.monotonic() - started < 4
    assert _ended(controller.unity_pid)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("echo no GL library here >&2; exit 3", "status 3 while starting; it said: no GL library here"),
        ("exec sleep 100", "hung while starting"),
        ("kill -STOP $$", "hung while starting"),
    ],
)
def test_a_player_that_never_answers_is_an_error_with_its_own_words(monkeypatch, command, message):
    monkeypatch.setattr(launch, "player_command", lambda: shlex.join(["sh", "-c", command]))
    started = time.monotonic()
    with pytest.raises(SimulatorError, match=message):
        launch.start_rooms(SimulatorOptions(start_timeout=1.0))
    assert time.monotonic() - started < 4


def test_a_player_without_opengl_says_so(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    with pytest.raises(SimulatorError, match=r"the rooms player ended with status .*nonsense"):
        launch.start_rooms()


def test_a_player_that_takes_its_time_to_end_is_waited_for(monkeypatch):
    """It closes its pipe well before its process is gone, as on a busy machine."""
    monkeypatch.setenv("MUJOCO_GL", "nonsense")
    slow = shlex.join(["sh", "-c", f'{launch.player_command()} "$@"; status=$?; sleep 1; exit $status', "sh"])
    monkeypatch.setattr(launch, "player_command", lambda: slow)
    with pytest.raises(SimulatorError, match=r"the rooms player ended with status [1-9].*nonsense"):
        launch.start_rooms()


def test_the_player_leaves_with_a_parent_that_was_killed():
    script = (
        "import time; from rlleak.simulators.player.launch import start_rooms; c = start_rooms();"
        "print(c.unity_pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    player = int(parent.stdout.readline())
    assert Path(f"/proc/{player}").exists()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert _ended(player)

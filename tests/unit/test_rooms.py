"""The rooms simulator: deterministic, left-handed, metric, and walkable."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from rlleak.errors import ConfigurationError, SimulatorError
from rlleak.simulators.layouts import PRIVATE_LAYOUTS, PUBLIC_LAYOUTS
from rlleak.simulators.rooms import gl
from rlleak.simulators.rooms.catalogue import TARGET_TYPES, type_of_room
from rlleak.simulators.rooms.views import default_view
from rlleak.simulators.rooms.world import RoomWorld

ONE_OF_EACH = (7, 215, 322, 409)
EYE = 1.575


@pytest.fixture(scope="module", params=ONE_OF_EACH)
def world(request):
    with RoomWorld(request.param) as made:
        yield made


def camera_axes(yaw, horizon):
    """Right, up and forward of Unity's camera in (x, y, z), written out from its conventions."""
    yaw, horizon = np.radians([yaw, horizon])
    forward = np.array([np.cos(horizon) * np.sin(yaw), -np.sin(horizon), np.cos(horizon) * np.cos(yaw)])
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    return right, np.cross(forward, right), forward


def unproject(world, x, z, yaw, horizon, depth):
    """The point (H, W, 3) in the room that each pixel shows, if depth is metres along the viewing axis."""
    right, up, forward = camera_axes(yaw, horizon)
    height, width = depth.shape
    reach = np.tan(np.radians(world.field_of_view) / 2)
    across = ((np.arange(width) + 0.5) / width * 2 - 1) * reach * width / height
    above = (1 - (np.arange(height) + 0.5) / height * 2) * reach
    rays = across[None, :, None] * right + above[:, None, None] * up + forward
    return np.array([x, EYE, z]) + rays * depth[..., None]


def frame_bytes(layout):
    with RoomWorld(layout) as world:
        frame = world.render(*default_view(world))
    return b"".join(np.ascontiguousarray(part).tobytes() for part in (frame.rgb, frame.depth, frame.instances))


def test_a_layout_gives_the_same_bytes_twice_and_in_another_process():
    here = frame_bytes(322)
    assert frame_bytes(322) == here
    script = (
        "import hashlib, sys; sys.path.insert(0, sys.argv[1]); from test_rooms import frame_bytes;"
        "print(hashlib.sha256(frame_bytes(322)).hexdigest())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "123"}
    command = [sys.executable, "-c", script, os.path.dirname(__file__)]
    there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert there.stdout.strip() == hashlib.sha256(here).hexdigest()


def test_loading_a_layout_after_others_equals_building_it_afresh():
    with RoomWorld(409) as travelled:
        travelled.load(215)
        travelled.load(322)
        view = default_view(travelled)
        after = travelled.render(*view)
    with RoomWorld(322) as fresh:
        assert default_view(fresh) == view
        frame = fresh.render(*view)
    np.testing.assert_array_equal(after.rgb, frame.rgb)
    np.testing.assert_array_equal(after.instances, frame.instances)


def test_frames_have_the_promised_shapes_and_types():
    with RoomWorld(409, width=64, height=48) as small:
        frame = small.render(*default_view(small))
    assert (frame.rgb.shape, frame.rgb.dtype) == ((48, 64, 3), np.uint8)
    assert (frame.depth.shape, frame.depth.dtype) == ((48, 64), np.float32)
    assert (frame.instances.shape, frame.instances.dtype) == ((48, 64), np.int32)


def test_what_is_at_larger_x_appears_on_the_right_when_looking_along_z(world):
    x, z = world.reachable[np.argmin(world.reachable[:, 1])]
    frame = world.render(x, z, 0.0, 25.0)
    sides = []
    for index in np.unique(frame.instances[frame.instances >= 0]):
        thing = world.objects[index]
        ahead = thing.center[2] - z
        if (frame.instances == index).sum() > 30 and ahead > 0.3 and abs(thing.center[0] - x) > 0.6 + thing.size[0] / 2:
            column = np.argwhere(frame.instances == index)[:, 1].mean()
            sides.append((thing.center[0] > x) == (column > 74.5))
    assert sides
    assert all(sides)


def test_turning_by_a_positive_yaw_turns_clockwise_seen_from_above():
    with RoomWorld(215) as room:
        x, z = room.reachable[len(room.reachable) // 2]
        half_x, half_z = room.size[0] / 2, room.size[1] / 2
        for yaw, distance in {0: half_z - z, 90: half_x - x, 180: half_z + z, 270: half_x + x}.items():
            points = unproject(room, x, z, yaw, 0.0, room.render(x, z, yaw, 0.0).depth)
            _, _, forward = camera_axes(yaw, 0.0)
            # What is furthest away is the wall, or the view 0.1 m behind a window.
            assert ((points - [x, EYE, z]) @ forward).max() == pytest.approx(distance, abs=0.12)


def test_depth_is_metres_along_the_viewing_axis(world):
    x, z = world.reachable[len(world.reachable) // 2]
    frame = world.render(x, z, 0.0, 60.0)
    points = unproject(world, x, z, 0.0, 60.0, frame.depth)
    low = points[..., 1][(frame.instances == -1) & (points[..., 1] < 0.05)]
    assert len(low) > 200
    # The rest is skirting board.
    assert (np.abs(low) < 0.004).mean() > 0.8
    assert points[..., 1].min() > -0.02
    ceiling = unproject(world, x, z, 0.0, -60.0, world.render(x, z, 0.0, -60.0).depth)
    assert 2.4 < np.median(ceiling[:40, ..., 1]) < 2.8


def test_every_pixel_of_an_instance_lies_in_that_object_s_box(world):
    x, z, yaw, horizon = default_view(world)
    frame = world.render(x, z, yaw, horizon)
    points = unproject(world, x, z, yaw, horizon, frame.depth)
    seen = np.unique(frame.instances[frame.instances >= 0])
    assert len(seen) >= 3
    for index in seen:
        thing = world.objects[index]
        distance = np.abs(points[frame.instances == index] - thing.center) - np.asarray(thing.size) / 2
        assert distance.max() < 0.03, thing.object_id


def test_nothing_is_nearer_than_the_near_plane_and_nothing_is_open_to_the_sky(world):
    for yaw in range(0, 360, 45):
        depth = world.render(*world.reachable[0], yaw, 0.0).depth
        assert depth.min() > 0.05
        assert depth.max() < 1.05 * float(np.hypot(*world.size))


def test_looking_down_by_a_positive_horizon_shows_the_floor():
    with RoomWorld(409) as room:
        view = default_view(room)[:3]
        down, up = (room.render(*view, horizon) for horizon in (50.0, -50.0))
    assert unproject(room, *view, 50.0, down.depth)[..., 1].mean() < 0.6
    assert unproject(room, *view, -50.0, up.depth)[..., 1].mean() > 1.5


def test_reachable_positions_are_free_connected_and_on_the_grid(world):
    steps = np.round(world.reachable / 0.25).astype(int)
    np.testing.assert_array_equal(steps * 0.25, world.reachable)
    assert all(world.free(x, z) for x, z in world.reachable)
    nodes = {tuple(step) for step in steps}
    reached, frontier = set(), [next(iter(nodes))]
    while frontier:
        node = frontier.pop()
        if node in reached:
            continue
        reached.add(node)
        beside = [(node[0] + dx, node[1] + dz) for dx, dz in ((1, 0), (-1, 0), (0, 1), (0, -1))]
        frontier += [other for other in beside if other in nodes]
    assert reached == nodes


def test_nobody_fits_into_furniture_or_walls(world):
    heavy = ("Fridge", "Sofa", "Bed", "Toilet", "Dresser", "Bathtub")
    furniture = [thing for thing in world.objects if thing.object_type in heavy]
    assert furniture
    for thing in furniture:
        assert not world.free(thing.center[0], thing.center[2]), thing.object_id
    assert not world.free(world.size[0] / 2 - 0.19, 0.0)
    assert not world.free(0.0, -world.size[1] / 2 - 1.0)


def test_objects_are_named_placed_and_targets_belong_to_the_room(world):
    assert len({thing.object_id for thing in world.objects}) == len(world.objects)
    targets = [thing for thing in world.objects if thing.is_target]
    assert len({thing.object_type for thing in targets}) >= 6
    for thing in world.objects:
        assert thing.object_id.split("|")[0] == thing.object_type
        assert thing.is_target == (thing.object_type in TARGET_TYPES[world.room_type])
        written = [float(part) for part in thing.object_id.split("|")[1:]]
        np.testing.assert_allclose(written, thing.center, atol=0.006)


def test_standing_objects_rest_on_something(world):
    """No mug floats: below each small thing's base there is another object's body or the floor."""
    small = ("Mug", "Pot", "Bowl", "Book", "Laptop", "AlarmClock", "SoapBottle", "Microwave")
    standing = [thing for thing in world.objects if thing.object_type in small]
    assert standing
    for thing in standing:
        base = thing.center[1] - thing.size[1] / 2
        below = [
            other
            for other in world.objects
            if other is not thing
            and all(abs(other.center[i] - thing.center[i]) < other.size[i] / 2 + 0.02 for i in (0, 2))
            and other.center[1] - other.size[1] / 2 - 0.02 < base < other.center[1] + other.size[1] / 2 + 0.02
        ]
        assert base < 0.02 or below, thing.object_id


@pytest.mark.parametrize("layout", [0, 100, 200, 300, 400, 500, -5, 1011])
def test_a_layout_that_is_not_a_room_is_refused_with_what_there_is(layout):
    with pytest.raises(ConfigurationError, match=str(layout)):
        RoomWorld(layout)


def test_there_are_120_private_and_276_public_rooms():
    assert len(PRIVATE_LAYOUTS) == 120
    assert len(PUBLIC_LAYOUTS) == 276
    assert {type_of_room(layout) for layout in (*PRIVATE_LAYOUTS, *PUBLIC_LAYOUTS)} == set(TARGET_TYPES)


def test_public_layouts_are_rooms_of_their_own():
    with RoomWorld(31) as public, RoomWorld(1) as private:
        assert public.room_type == private.room_type == "kitchen"
        assert public.size != private.size


def test_a_closed_room_says_so_and_can_be_loaded_again():
    room = RoomWorld(409)
    view = default_view(room)
    before = room.render(*view).rgb
    room.close()
    room.close()
    with pytest.raises(RuntimeError, match="closed"):
        room.render(*view)
    room.load(409)
    np.testing.assert_array_equal(room.render(*view).rgb, before)
    room.close()


def test_changing_layouts_keeps_memory_bounded():
    def resident_megabytes():
        with open("/proc/self/statm") as pages:
            return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    with RoomWorld(401) as room:
        for layout in range(402, 412):
            room.load(layout)
        before = resident_megabytes()
        for layout in range(412, 432):
            room.load(layout)
        assert resident_megabytes() - before < 40


def test_without_a_gl_library_the_error_names_what_to_install(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(gl.ctypes.util, "find_library", lambda name: None)
    with pytest.raises(SimulatorError, match="apt-get install"):
        gl.choose_gl()


def test_rooms_draw_also_where_mujoco_was_imported_before_a_backend_was_chosen():
    environment = {name: value for name, value in os.environ.items() if name not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
    script = "import mujoco; from rlleak.simulators.rooms.world import RoomWorld; RoomWorld(401).render(0, 0, 0, 0)"
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=120, capture_output=True)


def test_a_backend_that_needs_a_screen_is_refused(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "disable")
    with pytest.raises(SimulatorError, match="MUJOCO_GL=disable"):
        gl.choose_gl()


def test_osmesa_is_taken_where_there_is_no_egl(monkeypatch):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    monkeypatch.setattr(gl, "_loads", lambda library: library == "OSMesa")
    assert gl.choose_gl() == "osmesa"
    assert os.environ["MUJOCO_GL"] == "osmesa"

"""What stands in Unity's way is named before anything is downloaded or started."""

import ctypes.util
import os

import ai2thor.build
import pytest

from rlleak.errors import ConfigurationError, SimulatorError
from rlleak.simulators import SIMULATORS, unity
from rlleak.simulators.controller import SimulatorOptions


@pytest.fixture(autouse=True)
def _empty_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))


def _vulkaninfo(tmp_path, monkeypatch, says: str) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: "libvulkan.so.1")
    tool = tmp_path / "vulkaninfo"
    tool.write_text(f"#!/bin/sh\necho '{says}'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def test_a_missing_vulkan_library_names_the_package(monkeypatch):
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(SimulatorError, match=r"apt-get install -y libvulkan1.*simulator: rooms"):
        SIMULATORS.load("thor")(SimulatorOptions())


def test_a_vulkan_without_a_gpu_is_named(monkeypatch, tmp_path):
    _vulkaninfo(tmp_path, monkeypatch, "deviceType = PHYSICAL_DEVICE_TYPE_CPU")
    with pytest.raises(SimulatorError, match="Vulkan sees no GPU"):
        SIMULATORS.load("thor")(SimulatorOptions())


def test_no_network_and_no_build_is_named(monkeypatch, tmp_path):
    _vulkaninfo(tmp_path, monkeypatch, "deviceType = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU")
    monkeypatch.setattr(ai2thor.build, "base_url", "http://127.0.0.1:9/")
    with pytest.raises(SimulatorError, match=r"cannot be downloaded.*connect to the network once, copy .*releases"):
        SIMULATORS.load("thor")(SimulatorOptions())


def test_no_display_is_named_for_linux64(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(SimulatorError, match="Linux64 needs an X display"):
        SIMULATORS.load("thor")(SimulatorOptions(platform="Linux64", x_display=":77"))


def test_an_unknown_platform_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="CloudRendering"):
        SIMULATORS.load("thor")(SimulatorOptions(platform="Windows"))


def _install(tmp_path, script: str) -> None:
    """Puts a program where ai2thor keeps the unpacked build, as if it had been downloaded."""
    folder = unity.build_folder("CloudRendering")
    os.makedirs(folder)
    program = os.path.join(folder, os.path.basename(folder))
    with open(program, "w") as handle:
        handle.write(f"#!/bin/sh\n{script}\n")
    os.chmod(program, 0o755)
    with open(os.path.join(folder, "metadata.json"), "w") as handle:
        handle.write('{"server_types": ["FIFO", "WSGI"]}')


def test_a_unity_that_crashes_at_once_is_an_error_with_its_words(monkeypatch, tmp_path):
    _vulkaninfo(tmp_path, monkeypatch, "deviceType = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    _install(tmp_path, "echo Segmentation fault in Mono >&2; exit 139")
    with pytest.raises(SimulatorError, match=r"Unity.*Segmentation fault in Mono"):
        SIMULATORS.load("thor")(SimulatorOptions())


def test_the_unity_controller_drives_whatever_answers_where_unity_would(monkeypatch, tmp_path):
    """Everything but Unity itself: the build folder's program is found, started for CloudRendering and driven."""
    from rlleak.simulators.player.launch import player_command

    _vulkaninfo(tmp_path, monkeypatch, "deviceType = PHYSICAL_DEVICE_TYPE_DISCRETE_GPU")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    _install(tmp_path, f'exec {player_command()} "$@"')
    with SIMULATORS.load("thor")(SimulatorOptions()) as controller:
        assert controller._build.platform.name() == "CloudRendering"
        event = controller.load(202)
        assert event.frame.shape == (150, 150, 3)
        assert event.depth_frame.dtype == "float32"

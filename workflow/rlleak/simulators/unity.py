"""Starts AI2-THOR's own Unity player: ai2thor's published build, downloaded by ai2thor on first use.

What is known to go wrong on the way (no network, no Vulkan library, no GPU that Vulkan sees, no X display) is looked
for first and named in one line, because ai2thor itself turns all of it into "Invalid commit_id".
"""

import ctypes.util
import os
import shutil
import subprocess
from typing import Any

import ai2thor.build
import ai2thor.platform
import requests

from rlleak.errors import ConfigurationError, SimulatorError
from rlleak.simulators.controller import SimulatorOptions, WatchedController, open_controller

_PLATFORMS = {"CloudRendering": ai2thor.platform.CloudRendering, "Linux64": ai2thor.platform.Linux64}
_NETWORK_SECONDS = 15.0
_INSTEAD = "or use simulator: rooms, which needs no download"


class UnityController(WatchedController):
    """ai2thor's controller with AI2-THOR's Unity player."""

    simulator = "thor"
    player = "Unity"

    def explain(self, doing: str, error: BaseException, status: int | None, said: str) -> str:
        text = f"{error} {said}".lower()
        words = f"; it said: {said}" if said else ""
        if isinstance(error, requests.RequestException):
            return f"AI2-THOR's build cannot be downloaded ({type(error).__name__}): connect to the network, {_INSTEAD}"
        if "vulkan" in text or "nvidia-smi" in text:
            return (
                f"Unity found no GPU through Vulkan while {doing}: see `vulkaninfo --summary`, install libvulkan1 and "
                f"vulkan-tools, in Docker set NVIDIA_DRIVER_CAPABILITIES=all, {_INSTEAD}{words}"
            )
        return (
            f"{super().explain(doing, error, status, said)}; its log is Player.log under ~/.config/unity3d, {_INSTEAD}"
        )


def build_folder(platform: str) -> str:
    """Where ai2thor keeps the unpacked build of `platform` ('CloudRendering' or 'Linux64')."""
    name = ai2thor.build.build_name(platform, ai2thor.build.COMMIT_ID)
    return os.path.join(os.path.expanduser("~"), ".ai2thor", "releases", name)


def check_unity(options: SimulatorOptions) -> None:
    """Looks for what Unity needs, before anything is downloaded or started. Raises SimulatorError, in seconds."""
    if options.platform not in _PLATFORMS:
        raise ConfigurationError(f"unknown Unity platform '{options.platform}'; there is: {', '.join(_PLATFORMS)}")
    if options.platform == "CloudRendering":
        _check_vulkan()
    else:
        _check_display(options)
    if not os.path.isdir(build_folder(options.platform)):
        _check_download(options.platform)


def _check_vulkan() -> None:
    if ctypes.util.find_library("vulkan") is None:
        raise SimulatorError(f"Unity needs the Vulkan library: apt-get install -y libvulkan1 vulkan-tools, {_INSTEAD}")
    if shutil.which("vulkaninfo") is None:
        return  # not needed by Unity itself unless CUDA_VISIBLE_DEVICES chooses a GPU; then ai2thor says so
    try:
        found = subprocess.run(["vulkaninfo", "--summary"], capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired as error:
        raise SimulatorError(f"vulkaninfo does not answer: mend the GPU driver, {_INSTEAD}") from error
    devices = [line for line in found.stdout.splitlines() if "deviceType" in line]
    if not any("GPU" in line for line in devices):
        raise SimulatorError(
            "Vulkan sees no GPU on this machine (vulkaninfo --summary): install the driver's Vulkan ICD file, "
            f"in Docker set NVIDIA_DRIVER_CAPABILITIES=all, {_INSTEAD}"
        )


def _check_display(options: SimulatorOptions) -> None:
    request = ai2thor.platform.Request("Linux", options.width, options.height, options.x_display, False)
    problems = ai2thor.platform.Linux64.validate(request)
    if problems:
        raise SimulatorError(
            f"Unity on Linux64 needs an X display with GLX ({'; '.join(problems)[:300]}): start one "
            f"(sudo ai2thor-xorg start), or use platform: CloudRendering, {_INSTEAD}"
        )


def _check_download(platform: str) -> None:
    url = f"{ai2thor.build.base_url}builds/{ai2thor.build.build_name(platform, ai2thor.build.COMMIT_ID)}.zip"
    try:
        answer = requests.head(url, timeout=_NETWORK_SECONDS, allow_redirects=True)
    except requests.RequestException as error:
        raise SimulatorError(
            f"AI2-THOR's build cannot be downloaded from {url} ({type(error).__name__}): connect to the network once, "
            f"copy {build_folder(platform)} from a machine that has it, {_INSTEAD}"
        ) from error
    if answer.status_code != requests.codes.ok:
        raise SimulatorError(
            f"AI2-THOR's build at {url} answers HTTP {answer.status_code}: check proxy and firewall, or copy "
            f"{build_folder(platform)} from a machine that has it, {_INSTEAD}"
        )


def start_unity(options: SimulatorOptions | None = None, **arguments: Any) -> UnityController:
    """A controller whose player is AI2-THOR's Unity build of ai2thor's own commit; the first call downloads it.

    Raises SimulatorError naming the mend: no network and no build, no Vulkan library or GPU, no X display, or a
    player that ends or hangs. `arguments` go to ai2thor's Controller.
    """
    options = options or SimulatorOptions()
    check_unity(options)
    return open_controller(
        UnityController,
        options,
        commit_id=ai2thor.build.COMMIT_ID,
        platform=_PLATFORMS[options.platform],
        x_display=options.x_display,
        **arguments,
    )

"""Choosing how MuJoCo draws without a screen."""

from __future__ import annotations

import ctypes
import ctypes.util
import os

from rlleak.errors import SimulatorError

APT_LINE = "apt-get install -y libegl1 libgl1 libopengl0  (or: apt-get install -y libosmesa6)"
_LIBRARIES = {"egl": ("EGL", "OpenGL"), "osmesa": ("OSMesa",)}


def _loads(library: str) -> bool:
    name = ctypes.util.find_library(library)
    if name is None:
        return False
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _usable(backend: str) -> bool:
    if backend == "egl":
        # PyOpenGL takes the GL entry points from libOpenGL or, where that is missing, from libGL.
        return _loads("EGL") and (_loads("OpenGL") or _loads("GL"))
    return _loads("OSMesa")


def choose_gl() -> str:
    """Set `MUJOCO_GL` (and what goes with it) for off-screen drawing; usable as a preflight check.

    A value that the user has set is kept. `LP_NUM_THREADS=0` makes Mesa draw in the calling thread: its worker
    threads do not survive a fork, and at 150x150 they gain nothing.

    Returns:
        "egl" or "osmesa", or what the user chose.

    Raises:
        SimulatorError: neither library can be loaded, or `MUJOCO_GL` names no backend that draws off screen.
    """
    os.environ.setdefault("LP_NUM_THREADS", "0")
    chosen = os.environ.get("MUJOCO_GL", "").lower()
    if chosen and chosen not in (*_LIBRARIES, "glfw", "cgl"):
        raise SimulatorError(f"MUJOCO_GL={chosen} cannot draw without a screen: unset it, or choose egl or osmesa")
    if chosen in _LIBRARIES and not _usable(chosen):
        raise SimulatorError(f"MUJOCO_GL={chosen}, but its library cannot be loaded: {APT_LINE}")
    if not chosen:
        backend = next((name for name in _LIBRARIES if _usable(name)), None)
        if backend is None:
            raise SimulatorError(f"no OpenGL library to draw rooms with: {APT_LINE}")
        os.environ["MUJOCO_GL"] = chosen = backend
    if chosen in _LIBRARIES:
        os.environ.setdefault("PYOPENGL_PLATFORM", chosen)
    return chosen

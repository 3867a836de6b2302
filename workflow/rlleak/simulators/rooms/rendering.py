"""Drawing a compiled room: RGB, metric depth and geom numbers, through one OpenGL context per process."""

from __future__ import annotations

import importlib
from typing import Any

import mujoco
import numpy as np
from mujoco import mjtRndFlag

from rlleak.errors import SimulatorError
from rlleak.simulators.rooms.compiling import FAR, NEAR
from rlleak.simulators.rooms.gl import APT_LINE, choose_gl

_shared: dict[str, Any] = {"context": None}


def _current_context() -> None:
    """Make the process's OpenGL context current; opening one takes a third of a second, so rooms share it."""
    if _shared["context"] is None:
        try:
            # Not mujoco.GLContext: that was fixed when mujoco was first imported, perhaps before a choice was made.
            backend = importlib.import_module(f"mujoco.{choose_gl()}")
            _shared["context"] = backend.GLContext(16, 16)
        except (ImportError, RuntimeError, AttributeError) as error:
            raise SimulatorError(f"OpenGL does not start here ({error}): {APT_LINE}") from error
    _shared["context"].make_current()


class Canvas:
    """Draws one model at a fixed size. `close` gives back what it holds on the graphics side."""

    def __init__(self, model: mujoco.MjModel, width: int, height: int, field_of_view: float) -> None:
        _current_context()
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._tangent = float(np.tan(np.radians(field_of_view) / 2))
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_50)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 8)
        mujoco.mjv_updateScene(
            model, data, mujoco.MjvOption(), None, mujoco.MjvCamera(), mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        for flag in (mjtRndFlag.mjRND_SHADOW, mjtRndFlag.mjRND_HAZE):
            self._scene.flags[flag] = False
        self._geom_of_segment = np.full(self._scene.ngeom + 1, -1, np.int32)
        for geom in self._scene.geoms[: self._scene.ngeom]:
            self._geom_of_segment[geom.segid + 1] = geom.objid

    def draw(self, eye: np.ndarray, forward: np.ndarray, up: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draw from a pose in MuJoCo's axes.

        Returns:
            RGB (H, W, 3) uint8, depth along the viewing axis (H, W) float32 metres, geom numbers (H, W) int32
            with -1 where nothing is.
        """
        _current_context()
        self._aim(eye, forward, up)
        height, width = self._rect.height, self._rect.width
        rgb, identities = (np.empty((height, width, 3), np.uint8) for _ in range(2))
        raw = np.empty((height, width), np.float32)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(rgb, None, self._rect, self._context)
        # Depth comes from the pass without anti-aliasing, so that it agrees with the masks pixel by pixel.
        self._identify(True)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(identities, raw, self._rect, self._context)
        self._identify(False)
        segments = identities.astype(np.int32) @ np.array([1, 256, 65536], np.int32)
        return rgb[::-1].copy(), _metres(raw[::-1]), self._geom_of_segment[segments[::-1]]

    def _aim(self, eye: np.ndarray, forward: np.ndarray, up: np.ndarray) -> None:
        half = NEAR * self._tangent
        for camera in self._scene.camera:
            camera.pos, camera.forward, camera.up = eye, forward, up
            camera.frustum_near, camera.frustum_far = NEAR, FAR
            camera.frustum_bottom, camera.frustum_top = -half, half
            camera.frustum_center = 0.0
            camera.frustum_width = half * self._rect.width / self._rect.height

    def _identify(self, on: bool) -> None:
        self._scene.flags[mjtRndFlag.mjRND_SEGMENT] = on
        self._scene.flags[mjtRndFlag.mjRND_IDCOLOR] = on

    def close(self) -> None:
        """Free textures, meshes and frame buffers."""
        if self._context is not None:
            _current_context()
            self._context.free()
            self._context = None


def _metres(raw: np.ndarray) -> np.ndarray:
    """Invert OpenGL's projection; MuJoCo maps near to 0 and far to 1 unless told otherwise."""
    return (NEAR * FAR / (FAR - raw.astype(np.float64) * (FAR - NEAR))).astype(np.float32)

"""What the player tells after each action: AI2-THOR's metadata and images for the agent's present view."""

import hashlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlleak.simulators.player.agent import AGENT_HEIGHT, Agent, Outcome

_SEEN_PIXELS = 10  # AI2-THOR calls an object visible if its parts can be seen from nearby; a few pixels are not that


def instance_colours(object_ids: list[str]) -> np.ndarray:
    """(n, 3) uint8: a distinct colour for each object, the same in every process; black stays for what is no object."""
    colours: list[tuple[int, int, int]] = []
    taken = {(0, 0, 0)}
    for object_id in object_ids:
        salt = 0
        while (colour := tuple(hashlib.md5(f"{object_id}{salt or ''}".encode()).digest()[:3])) in taken:
            salt += 1
        taken.add(colour)
        colours.append(colour)
    return np.array(colours, np.uint8).reshape(-1, 3)


class EventWriter:
    """Turns the agent's state into (metadata, images) as ai2thor's server expects them."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._world: Any = None
        self._colours = np.zeros((0, 3), np.uint8)
        self._objects: list[dict[str, Any]] = []

    def write(self, action: Mapping[str, Any], outcome: Outcome) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Metadata and images (raw bytes, rows bottom-up). Before the first Reset there is no room, hence no image."""
        agent = self._agent
        images: dict[str, bytes] = {}
        counts = np.zeros(0, np.int64)
        if agent.world is not self._world:
            self._describe_world()
        if agent.world is not None and action.get("renderImage", True):
            frame = agent.world.render(agent.pose.x, agent.pose.z, agent.pose.yaw, agent.pose.horizon)
            counts = np.bincount(frame.instances.ravel() + 1, minlength=len(self._objects) + 1)[1:]
            images = self._images(frame)
        metadata = {
            "agentId": 0,
            "agent": self._agent_metadata(),
            "objects": self._object_metadata(counts),
            "colors": [
                {"name": described["objectId"], "color": colour.tolist()}
                for described, colour in zip(self._objects, self._colours, strict=True)
            ],
            "sceneName": agent.scene,
            "lastAction": action.get("action", ""),
            "lastActionSuccess": outcome.success,
            "errorCode": outcome.code,
            "errorMessage": outcome.message,
            "actionReturn": outcome.value,
            "screenWidth": agent.width,
            "screenHeight": agent.height,
            "fov": agent.field_of_view,
            "depthFormat": "Meters",
            "isSceneAtRest": True,
            "inventoryObjects": [],
            "collidedObjects": [],
            "thirdPartyCameras": [],
        }
        sequence = action.get("sequenceId", 0)
        return {"sequenceId": sequence, "activeAgentId": 0, "agents": [metadata], "thirdPartyCameras": []}, images

    def _images(self, frame: Any) -> dict[str, bytes]:
        settings = self._agent.settings
        images = {"image": _bottom_up(frame.rgb)}
        if settings.get("renderDepthImage"):
            images["image_depth"] = _bottom_up(frame.depth.astype(np.float32, copy=False))
        if settings.get("renderInstanceSegmentation") or settings.get("renderObjectImage"):
            palette = np.zeros((len(self._colours) + 1, 4), np.uint8)
            palette[1:, :3], palette[:, 3] = self._colours, 255
            images["image_ids"] = _bottom_up(palette[frame.instances + 1])
        return images

    def _describe_world(self) -> None:
        self._world = self._agent.world
        objects = [] if self._world is None else self._world.objects
        self._colours = instance_colours([item.object_id for item in objects])
        self._objects = [_describe(item) for item in objects]

    def _agent_metadata(self) -> dict[str, Any]:
        pose = self._agent.pose
        return {
            "name": "agent",
            "position": {"x": pose.x, "y": AGENT_HEIGHT, "z": pose.z},
            "rotation": {"x": 0.0, "y": pose.yaw, "z": 0.0},
            "cameraHorizon": pose.horizon,
            "isStanding": True,
            "inHighFrictionArea": False,
        }

    def _object_metadata(self, counts: np.ndarray) -> list[dict[str, Any]]:
        pose = self._agent.pose
        reach = self._agent.settings.get("visibilityDistance", 1.5)
        present = []
        for index, described in enumerate(self._objects):
            place = described["position"]
            flat = math.hypot(place["x"] - pose.x, place["z"] - pose.z)
            seen = index < len(counts) and int(counts[index]) >= _SEEN_PIXELS
            distance = math.hypot(flat, place["y"] - AGENT_HEIGHT)
            present.append({**described, "visible": bool(seen and flat <= reach), "distance": distance})
        return present


def _bottom_up(image: np.ndarray) -> bytes:
    return np.ascontiguousarray(image[::-1]).tobytes()


def _describe(item: Any) -> dict[str, Any]:
    centre = dict(zip("xyz", map(float, item.center), strict=True))
    size = dict(zip("xyz", map(float, item.size), strict=True))
    corners = [
        [centre["x"] + sx * size["x"] / 2, centre["y"] + sy * size["y"] / 2, centre["z"] + sz * size["z"] / 2]
        for sx in (1, -1)
        for sy in (1, -1)
        for sz in (1, -1)
    ]
    return {
        "objectId": item.object_id,
        "objectType": item.object_type,
        "name": item.object_id,
        "position": centre,
        "rotation": {"x": 0.0, "y": 0.0, "z": 0.0},
        "axisAlignedBoundingBox": {"cornerPoints": corners, "center": centre, "size": size},
        "parentReceptacles": [],
        "isInteractable": False,
        "pickupable": False,
    }

"""The two wires of ai2thor 5.0.0 seen from the player's end: named pipes (FIFO) and HTTP (WSGI).

Both are strictly alternating: the player speaks first, then each action that arrives is answered by one event. An
event is ai2thor's metadata (a dict) and images as raw bytes, rows bottom-up as Unity stores them.
"""

import http.client
import json
import os
import struct
import uuid
from collections.abc import Mapping
from typing import Any, BinaryIO, Protocol

import msgpack

_HEADER = struct.Struct("!BI")
_METADATA, _ACTION, _END_OF_MESSAGE = 1, 2, 255
_IMAGE_FIELDS = {"image": 4, "image_depth": 5, "image_ids": 9}


class Transport(Protocol):
    """One end of the conversation with the controller."""

    def answer(self, metadata: Mapping[str, Any], images: Mapping[str, bytes]) -> dict[str, Any] | None:
        """Sends an event and waits for the next action; None when the controller has gone or says stop."""


class FifoTransport:
    """ai2thor.fifo_server: messages of (type, length, body) fields on two named pipes, metadata as msgpack."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Unity opens the pipe it writes first; the controller waits for exactly that.
        self._events: BinaryIO = open(environment["AI2THOR_FIFO_SERVER_PIPE_PATH"], "wb")  # noqa: SIM115
        self._action_path = environment["AI2THOR_FIFO_CLIENT_PIPE_PATH"]
        self._actions: BinaryIO | None = None

    def answer(self, metadata: Mapping[str, Any], images: Mapping[str, bytes]) -> dict[str, Any] | None:
        """Sends an event and waits for the next action; None where the controller has closed its pipe."""
        fields = [(_METADATA, msgpack.packb(metadata))]
        fields += [(_IMAGE_FIELDS[name], data) for name, data in images.items()]
        fields.append((_END_OF_MESSAGE, b""))
        try:
            self._events.write(b"".join(_HEADER.pack(kind, len(body)) + body for kind, body in fields))
            self._events.flush()
        except BrokenPipeError:
            return None
        if self._actions is None:
            self._actions = open(self._action_path, "rb")  # noqa: SIM115
        return self._receive(self._actions)

    @staticmethod
    def _receive(actions: BinaryIO) -> dict[str, Any] | None:
        action = None
        while True:
            header = actions.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return None
            kind, length = _HEADER.unpack(header)
            body = actions.read(length)
            if kind == _END_OF_MESSAGE:
                return action
            if kind == _ACTION or action is None:  # ai2thor 5.0.0 sends actions only
                action = json.loads(body)


class WsgiTransport:
    """ai2thor.wsgi_server: every event is a multipart POST to /train, whose response is the next action."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._host, self._port = environment["AI2THOR_HOST"], int(environment["AI2THOR_PORT"])
        self._token = environment["AI2THOR_CLIENT_TOKEN"].encode()
        # http.client rather than urllib: a proxy from the environment must not come between two ends of one machine
        self._connection = http.client.HTTPConnection(self._host, self._port)

    def answer(self, metadata: Mapping[str, Any], images: Mapping[str, bytes]) -> dict[str, Any] | None:
        """Sends an event and waits for the next action; None where the controller is gone, or has no further action.

        Raises ConnectionError where it refuses the event.
        """
        boundary = uuid.uuid4().hex
        body = _multipart(boundary.encode(), json.dumps(metadata).encode(), self._token, images)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        try:
            self._connection.request("POST", "/train", body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except (http.client.HTTPException, ConnectionError):
            return None
        if response.status != http.client.OK:
            raise ConnectionError(f"the controller refused an event: HTTP {response.status} {content[:200]!r}")
        action = json.loads(content)
        return action if action.get("action") else None


def _multipart(boundary: bytes, metadata: bytes, token: bytes, images: Mapping[str, bytes]) -> bytes:
    parts = []
    for name, value in ((b"metadata", metadata), (b"token", token)):
        disposition = b'Content-disposition: form-data; name="' + name + b'"\r\n'
        parts += [
            b"--",
            boundary,
            b"\r\n",
            disposition,
            b"Content-Type: text/plain; charset=utf-8\r\n\r\n",
            value,
            b"\r\n",
        ]
    for image, value in images.items():
        name = image.encode()
        disposition = b'Content-disposition: form-data; name="' + name + b'"; filename="' + name + b'"\r\n'
        parts += [b"--", boundary, b"\r\n", disposition, b"Content-Type: image/raw\r\n\r\n", value, b"\r\n"]
    return b"".join([*parts, b"--", boundary, b"--\r\n"])


def open_transport(environment: Mapping[str, str] = os.environ) -> Transport:
    """The wire that the controller asked for in AI2THOR_SERVER_TYPE (FIFO or WSGI). Raises ValueError for another."""
    kind = environment.get("AI2THOR_SERVER_TYPE", "FIFO")
    if kind not in ("FIFO", "WSGI"):
        raise ValueError(f"AI2THOR_SERVER_TYPE is '{kind}'; this player speaks FIFO and WSGI")
    return FifoTransport(environment) if kind == "FIFO" else WsgiTransport(environment)

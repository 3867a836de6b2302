"""A client of secure aggregation: what it sends in each round, and what it refuses."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from torch import Tensor

from rlleak.errors import ProtocolError
from rlleak.federation.secure_aggregation.agreement import Agreement
from rlleak.federation.secure_aggregation.primitives import (
    PublicKeys,
    Shares,
    add_mask,
    agreed,
    derived,
    masking_key,
    new_secret,
    sealed,
    split,
    unsealed,
)

_OVER = "end"


class Request(NamedTuple):
    """The server's question of the last round: who sent a masked update, and who had sent shares but then did not."""

    survivors: tuple[int, ...]
    dropped: tuple[int, ...]


class Revealed(NamedTuple):
    """A client's answer: its shares of survivors' own masks, and of the masking secrets of those who dropped out."""

    own_masks: dict[int, bytes]
    maskings: dict[int, bytes]


class Client:
    """One client in one round of the protocol (Bonawitz et al. 2017, Figure 4); another round takes another object.

    Its methods are called in their order, once each; each takes what the server sent and gives what to send. All raise
    ProtocolError: where the server asks too much, where fewer than the threshold are there, for forged shares, and for
    updates that must not be masked.
    """

    def __init__(self, number: int, agreement: Agreement) -> None:
        """number: which client of the agreement's n this is."""
        self.number = number
        self.agreement = agreement
        self._sealing = X25519PrivateKey.generate()
        self._masking_secret = new_secret()
        self._own_mask_secret = new_secret()
        self._keys: dict[int, PublicKeys] = {}
        self._held: dict[int, Shares] = {}
        self._stage = "advertise"

    def kept(self) -> dict[str, Any]:
        """All that `restored` goes on from, JSON-serialisable. It holds secrets: it stays on the device.

        After the last step there is nothing to go on from, and no secret outlives its round: "stage" alone.
        """
        if self._stage == _OVER:
            return {"stage": _OVER}
        return {
            **{"number": self.number, "agreement": self.agreement.said, "stage": self._stage},
            "sealing": self._sealing.private_bytes_raw().hex(),
            "secrets": [self._masking_secret.hex(), self._own_mask_secret.hex()],
            "keys": {other: [key.hex() for key in pair] for other, pair in self._keys.items()},
            "held": {other: [share.hex() for share in pair] for other, pair in self._held.items()},
        }

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Self:
        """The client that goes on where another process has left it: every step is still taken once."""
        client = cls(kept["number"], Agreement.of(kept["agreement"]))
        client._stage = kept["stage"]
        client._sealing = X25519PrivateKey.from_private_bytes(bytes.fromhex(kept["sealing"]))
        client._masking_secret, client._own_mask_secret = map(bytes.fromhex, kept["secrets"])
        client._keys, client._held = (
            {int(other): pair(*map(bytes.fromhex, texts)) for other, texts in kept[name].items()}
            for name, pair in (("keys", PublicKeys), ("held", Shares))
        )
        return client

    def advertise(self) -> PublicKeys:
        """Round 0: the public keys."""
        self._step("advertise", "share")
        publics = (key.public_key().public_bytes_raw() for key in (self._sealing, masking_key(self._masking_secret)))
        return PublicKeys(*publics)

    def share(self, keys: Mapping[int, PublicKeys]) -> dict[int, bytes]:
        """Round 1: shares of both secrets, recipient -> sealed; keys: of everybody who advertised."""
        self._step("share", "mask")
        self.agreement.check_left(len(keys), "when shares are sent")
        if len({key for pair in keys.values() for key in pair}) < 2 * len(keys) or self.number not in keys:
            raise ProtocolError(f"client {self.number}: keys of clients coincide or its own are missing; start again")
        self._keys = dict(keys)
        maskings, own_masks = (
            split(secret, self.agreement.threshold, keys) for secret in (self._masking_secret, self._own_mask_secret)
        )
        shares = {holder: Shares(maskings[holder], own_masks[holder]) for holder in keys}
        self._held = {self.number: shares.pop(self.number)}
        return {other: sealed(self._seal(other), parts, self.number, other) for other, parts in shares.items()}

    def mask(self, received: Mapping[int, bytes], update: Mapping[str, Tensor]) -> np.ndarray:
        """Round 2: the masked update, (N,) unsigned.

        received: sender -> its sealed shares for this client; everybody of them is masked against. With y = x + PRG(b)
        + sum over v < u of PRG(s_uv) - sum over v > u of PRG(s_uv), what two clients agreed on cancels in the sum.
        """
        vector = self.agreement.encode(update)  # first: what must not be masked ends here
        self._step("mask", "reveal")
        self.agreement.check_left(len(received) + 1, "when masked updates are sent")
        if unknown := sorted(set(received) - set(self._keys)):
            raise ProtocolError(f"client {self.number} got shares of client {unknown[0]}, who advertised no key")
        self._held |= {
            other: unsealed(self._seal(other), message, other, self.number) for other, message in received.items()
        }
        private = masking_key(self._masking_secret)
        for other in received:
            key = agreed(private, self._keys[other].masking, "pairwise mask")
            add_mask(vector, key, 1 if other < self.number else -1)
        add_mask(vector, derived(self._own_mask_secret, "own mask"), 1)
        return vector

    def reveal(self, request: Request) -> Revealed:
        """Round 3: the shares that take masks off the sum.

        A client never gives both shares of one peer, in one answer or in two: together with those of others they would
        unmask that peer's own update.
        """
        survivors, dropped = set(request.survivors), set(request.dropped)
        if both := sorted(survivors & dropped):
            raise ProtocolError(
                f"client {self.number} refuses: it is asked for both shares of client {both[0]}, whose own update they "
                "would unmask"
            )
        self._step("reveal", _OVER)
        self.agreement.check_left(len(survivors), "when masks are taken off")
        if survivors | dropped != set(self._held) or self.number not in survivors:
            raise ProtocolError(f"client {self.number} refuses: survivors and drop-outs are not those who sent shares")
        own_masks = {other: self._held[other].own_mask for other in sorted(survivors)}
        return Revealed(own_masks, {other: self._held[other].masking for other in sorted(dropped)})

    def _seal(self, other: int) -> bytes:
        return agreed(self._sealing, self._keys[other].sealing, "sealed shares")

    def _step(self, now: str, following: str) -> None:
        if self._stage != now:
            raise ProtocolError(
                f"client {self.number} refuses to {now} now: every step is taken once, in order; the next is "
                f"{self._stage}"
            )
        self._stage = following

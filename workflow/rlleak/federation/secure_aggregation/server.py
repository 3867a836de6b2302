"""The server of secure aggregation: it carries messages that it cannot read, and adds vectors that say nothing."""

from collections.abc import Mapping

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from torch import Tensor

from rlleak.errors import ProtocolError
from rlleak.federation.secure_aggregation.agreement import Agreement
from rlleak.federation.secure_aggregation.client import Request, Revealed
from rlleak.federation.secure_aggregation.primitives import (
    SEALED,
    SECRET,
    PublicKeys,
    add_mask,
    agreed,
    combined,
    derived,
    masking_key,
)


class Server:
    """One round of the protocol (Bonawitz et al. 2017, Figure 4); its methods are called in their order.

    Each takes what arrived, by the client's number, and gives what to send on; who is missing has dropped out. All
    raise ProtocolError where fewer than the threshold are left. Memory: one vector, however many clients.
    """

    def __init__(self, agreement: Agreement) -> None:
        self.agreement = agreement
        self._keys: dict[int, PublicKeys] = {}
        self._shared: tuple[int, ...] = ()
        self._survivors: list[int] = []
        self._total = np.zeros(agreement.numbers, dtype=agreement.dtype)

    def check_keys(self, pair: PublicKeys) -> None:
        """Raises ProtocolError for keys that nobody can agree on anything with; leave who advertised them out."""
        for key in pair:
            agreed(X25519PrivateKey.generate(), key, "trial")

    def check_shares(self, sender: int, messages: Mapping[int, bytes]) -> None:
        """Raises ProtocolError unless a client of round 0 has sealed shares for everybody else."""
        fitting = all(len(message) == SEALED for message in messages.values())
        if sender not in self._keys or set(messages) != set(self._keys) - {sender} or not fitting:
            raise ProtocolError(f"client {sender} did not send shares to everybody else; leave it out of the round")

    def check_revealed(self, number: int, answer: Revealed) -> None:
        """Raises ProtocolError unless a survivor's answer holds the shares that `request` asks for."""
        request = self.request()
        fitting = all(len(share) == SECRET for part in answer for share in part.values())
        asked = (set(answer.own_masks), set(answer.maskings)) == (set(request.survivors), set(request.dropped))
        if number not in request.survivors or not asked or not fitting:
            raise ProtocolError(
                f"the answer of client {number} does not hold the shares that were asked for; leave it out"
            )

    def keys(self, advertised: Mapping[int, PublicKeys]) -> dict[int, PublicKeys]:
        """After round 0: everybody's public keys, for everybody."""
        if strangers := sorted(set(advertised) - set(range(self.agreement.clients))):
            raise ProtocolError(f"client {strangers[0]} is none of the {self.agreement.clients} agreed on")
        for pair in advertised.values():
            self.check_keys(pair)
        self.agreement.check_left(len(advertised), "after keys were advertised")
        self._keys = dict(sorted(advertised.items()))
        return dict(self._keys)

    def routed(self, sealed: Mapping[int, Mapping[int, bytes]]) -> dict[int, dict[int, bytes]]:
        """After round 1: recipient -> (sender -> sealed shares), of sender -> (recipient -> sealed shares)."""
        self.agreement.check_left(len(sealed), "after shares were sent")
        for sender, messages in sealed.items():
            self.check_shares(sender, messages)
        self._shared = tuple(sorted(sealed))
        return {
            recipient: {sender: sealed[sender][recipient] for sender in self._shared if sender != recipient}
            for recipient in self._shared
        }

    def receive(self, number: int, masked: np.ndarray) -> None:
        """In round 2: adds one client's masked update, (N,) of the agreement's type."""
        if number not in self._shared or number in self._survivors:
            raise ProtocolError(f"client {number} is not expected to send a masked update, or sent one already")
        if masked.dtype != self.agreement.dtype or masked.shape != self._total.shape:
            raise ProtocolError(
                f"client {number} sent {masked.dtype} {masked.shape}, agreed on are {self.agreement.dtype} "
                f"{self._total.shape}; leave it out of the round"
            )
        self._total += masked
        self._survivors.append(number)

    def request(self) -> Request:
        """After round 2: whose shares every survivor is asked for."""
        self.agreement.check_left(len(self._survivors), "after masked updates were sent")
        survivors = tuple(sorted(self._survivors))
        return Request(survivors, tuple(number for number in self._shared if number not in survivors))

    def total(self, revealed: Mapping[int, Revealed]) -> dict[str, Tensor]:
        """After round 3: the sum of the survivors' updates, float64, off by `Agreement.error` at most per number.

        revealed: client -> its answer to the request; masks of survivors, and masks that survivors agreed on with
        those who dropped out, are made again and taken off. Raises ProtocolError where what is left is no sum.
        """
        request = self.request()
        self.agreement.check_left(len(revealed), "after shares were revealed")
        for number, answer in revealed.items():
            self.check_revealed(number, answer)
        total = self._total.copy()
        for survivor in request.survivors:
            secret = self._recovered({number: answer.own_masks[survivor] for number, answer in revealed.items()})
            add_mask(total, derived(secret, "own mask"), -1)
        for gone in request.dropped:
            secret = self._recovered({number: answer.maskings[gone] for number, answer in revealed.items()})
            private = masking_key(secret)
            if private.public_key().public_bytes_raw() != self._keys[gone].masking:
                raise ProtocolError(f"the shares of client {gone} do not give its key; some were changed on their way")
            for survivor in request.survivors:
                key = agreed(private, self._keys[survivor].masking, "pairwise mask")
                add_mask(total, key, -1 if gone < survivor else 1)
        self.agreement.check_sum(total, len(request.survivors))
        return self.agreement.decode(total)

    def _recovered(self, shares: Mapping[int, bytes]) -> bytes:
        return combined(shares, self.agreement.threshold, self._keys)

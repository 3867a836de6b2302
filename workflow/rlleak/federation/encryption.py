"""Homomorphic encryption: a server that adds updates which it cannot read.

CKKS (Cheon et al. 2017) by TenSEAL. All clients hold one secret key, the server only the public side of it: it adds
ciphertexts, and clients decrypt the sum. So nobody who holds the key may also see single ciphertexts: a client that
works together with the server reads every update. (Secure aggregation has no such key.)

**Not covered**: how clients come by the key; threshold decryption; a server that sends something else than the sum; and
that decrypted numbers, which carry the scheme's noise, must not go back to the server: they say something about the key
(Li and Micciancio 2021).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

import numpy as np
import tenseal
from torch import Tensor

from rlleak.errors import ConfigurationError, ProtocolError
from rlleak.federation.flat_updates import Shapes, count, flattened, unflattened

DEGREE = 8192
"""Of the polynomial ring: half as many numbers fit into one ciphertext."""
MODULUS_BITS = (60, 60)
"""For sums one modulus is enough, and one for keys: 120 bits, of 218 that 128-bit security allows in this ring."""
SCALE_BITS = 40
"""A number's steps per unit: noise of encryption leaves errors of about 1e-8."""
CHUNK = DEGREE // 2
LARGEST = 2.0 ** (MODULUS_BITS[0] - SCALE_BITS - 2)
"""Of any number of a sum, in magnitude: beyond, it wraps around."""


def new_keys() -> bytes:
    """A key pair, as clients keep it: serialised, with the secret key in it."""
    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=list(MODULUS_BITS), n_threads=1)
    context.global_scale = 2.0**SCALE_BITS
    return context.serialize(save_public_key=True, save_secret_key=True, save_galois_keys=False, save_relin_keys=False)


class Client:
    """Encrypts its updates, and decrypts sums of everybody's.

    An encrypted update is a sequence of messages of up to CHUNK numbers each, 131 kB each, so no more than one need be
    in memory. Raises ProtocolError for updates that must not be encrypted and for messages that are none.
    """

    def __init__(self, keys: bytes, shapes: Shapes, clients: int, limit: float = 1.0) -> None:
        """keys: of `new_keys`, the same for all clients. clients: how many updates a sum holds at most.

        limit: no number of an update may be larger in magnitude. Raises ConfigurationError where sums could wrap.
        """
        if not 0 < clients * limit <= LARGEST:
            raise ConfigurationError(
                f"encryption: sums of {clients} numbers up to {limit:g} do not fit; they may be {LARGEST:g} at most"
            )
        self.shapes, self.limit, self._most = shapes, limit, clients * limit
        self._context = _context(keys)
        if not self._context.is_private():
            raise ConfigurationError("encryption: a client's keys hold no secret key; give what new_keys() made")

    def public_context(self) -> bytes:
        """What the server needs, without the secret key."""
        return self._context.serialize(
            save_public_key=False, save_secret_key=False, save_galois_keys=False, save_relin_keys=False
        )

    def encrypted(self, update: Mapping[str, Tensor]) -> Iterator[bytes]:
        """The update's messages, in order."""
        flat = flattened(update, self.shapes, self.limit)
        for start in range(0, len(flat), CHUNK):
            yield tenseal.ckks_vector(self._context, flat[start : start + CHUNK]).serialize()

    def decrypted(self, messages: Iterable[bytes]) -> dict[str, Tensor]:
        """The tensors, float64, of a sum's messages.

        Raises ProtocolError for numbers larger than the clients' updates can add up to: what another key leaves is.
        """
        numbers = count(self.shapes)
        parts = (_vector(self._context, message).decrypt() for message in messages)
        flat = np.fromiter(chain.from_iterable(parts), dtype=np.float64)
        if len(flat) != numbers:
            raise ProtocolError(f"a decrypted sum holds {len(flat)} numbers and not {numbers}; messages are missing")
        # The scheme's own noise is far below 1.
        if not (np.abs(flat) <= self._most + 1).all():
            raise ProtocolError(
                f"a decrypted sum holds {np.abs(flat).max():.3g}, beyond ±{self._most:g}: an update in it is under "
                "another key, or holds what clients refuse; go on with another round"
            )
        return unflattened(flat, self.shapes)


class Server:
    """Adds encrypted updates. It has no secret key, and refuses one."""

    def __init__(self, public_context: bytes) -> None:
        """public_context: of `Client.public_context`. Raises ConfigurationError if a secret key is in it."""
        self._context = _context(public_context)
        if self._context.is_private():
            raise ConfigurationError("encryption: a server must not get the secret key; give it public_context()")

    def added(self, updates: Sequence[Iterable[bytes]]) -> Iterator[bytes]:
        """The messages of the sum of several clients' updates; only one message of each is in memory at a time.

        Raises ProtocolError for updates of different lengths and for messages that are no ciphertexts.
        """
        try:
            for messages in zip(*updates, strict=True):
                total = _vector(self._context, messages[0])
                for message in messages[1:]:
                    self._add(message, total)
                yield total.serialize()
        except ValueError as error:
            raise ProtocolError("encrypted updates have different lengths; leave the shorter ones out") from error

    def _add(self, message: bytes, total: tenseal.CKKSVector) -> None:
        vector = _vector(self._context, message)
        if vector.size() != total.size():
            raise ProtocolError(f"an encrypted message holds {vector.size()} numbers, others {total.size()}; ask again")
        try:
            total.add_(vector)
        except ValueError as error:
            raise ProtocolError(f"an encrypted message does not go with the others ({error}); ask again") from error


def _context(serialised: bytes) -> tenseal.Context:
    try:
        return tenseal.context_from(serialised, n_threads=1)
    except (ValueError, RuntimeError, TypeError) as error:
        raise ConfigurationError("encryption: these bytes are no keys; give what new_keys() made") from error


def _vector(context: tenseal.Context, message: bytes) -> tenseal.CKKSVector:
    try:
        return tenseal.ckks_vector_from(context, message)
    except (ValueError, RuntimeError, TypeError) as error:
        raise ProtocolError("an encrypted message is damaged; ask for it again") from error

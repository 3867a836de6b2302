"""The cryptography that the protocol is made of: key agreement, sealed shares, Shamir's scheme, masks from a key.

Primitives come from `cryptography` and PyCryptodome; only their combination is here.
"""

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from Crypto.Protocol.SecretSharing import Shamir
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from rlleak.errors import ProtocolError

SECRET = 16
"""Bytes of a secret that is shared: one element of the field of 2^128 in which PyCryptodome's Shamir works."""
_NONCE = 12
SEALED = _NONCE + 2 * SECRET + 16
"""Bytes of two shares, sealed: a nonce goes before them and a tag comes after."""
_PIECE = 2**18
"""Numbers of a mask that are expanded at once: they stay in the processor's cache."""
_ZEROS = bytes(8 * _PIECE)


class PublicKeys(NamedTuple):
    """A client's X25519 public keys, 32 bytes each: shares are sealed with the one, masks agreed on with the other."""

    sealing: bytes
    masking: bytes


class Shares(NamedTuple):
    """One client's Shamir shares of another's secrets, SECRET bytes each."""

    masking: bytes
    own_mask: bytes


def new_secret() -> bytes:
    """SECRET random bytes, of the operating system's generator."""
    return os.urandom(SECRET)


def derived(secret: bytes, purpose: str) -> bytes:
    """A 32-byte key for one purpose (HKDF with SHA-256)."""
    return HKDF(SHA256(), 32, salt=None, info=f"rlleak secure aggregation: {purpose}".encode()).derive(secret)


def masking_key(secret: bytes) -> X25519PrivateKey:
    """The private key that a client's masking secret stands for. The secret is shared in its place: it is shorter."""
    return X25519PrivateKey.from_private_bytes(derived(secret, "masking key"))


def agreed(own: X25519PrivateKey, other: bytes, purpose: str) -> bytes:
    """The key that two clients have in common, for one purpose. Raises ProtocolError for a key that is none."""
    try:
        return derived(own.exchange(X25519PublicKey.from_public_bytes(other)), purpose)
    except ValueError as error:
        raise ProtocolError(f"a public key is no X25519 key ({error}); leave its client out of the round") from error


def sealed(key: bytes, shares: Shares, sender: int, recipient: int) -> bytes:
    """Shares that only the two clients can read or forge (ChaCha20-Poly1305); the nonce goes before them."""
    nonce = os.urandom(_NONCE)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, b"".join(shares), _direction(sender, recipient))


def unsealed(key: bytes, message: bytes, sender: int, recipient: int) -> Shares:
    """What `sealed` sealed. Raises ProtocolError if it was changed on its way, or was for somebody else."""
    try:
        plain = ChaCha20Poly1305(key).decrypt(message[:_NONCE], message[_NONCE:], _direction(sender, recipient))
    except (InvalidTag, ValueError) as error:
        raise ProtocolError(
            f"client {recipient} cannot open the shares of client {sender}; they were changed on their way"
        ) from error
    return Shares(plain[:SECRET], plain[SECRET:])


def _direction(sender: int, recipient: int) -> bytes:
    return sender.to_bytes(4, "big") + recipient.to_bytes(4, "big")


def split(secret: bytes, threshold: int, holders: Iterable[int]) -> dict[int, bytes]:
    """Shamir shares of a secret, one per holder; any `threshold` of them give it, fewer say nothing."""
    holders = sorted(holders)
    shares = Shamir.split(threshold, len(holders), secret)
    return {holder: share for holder, (_, share) in zip(holders, shares, strict=True)}


def combined(shares: Mapping[int, bytes], threshold: int, holders: Iterable[int]) -> bytes:
    """The secret of which these are shares, by holder; holders: all to whom it was split."""
    place = {holder: index for index, holder in enumerate(sorted(holders), start=1)}
    used = sorted(shares)[:threshold]
    return Shamir.combine([(place[holder], shares[holder]) for holder in used])


def add_mask(vector: np.ndarray, key: bytes, sign: int) -> None:
    """Adds (sign 1) or takes off (-1) the mask of a key, in place and modulo the size of the vector's type (N,).

    AES-256 in counter mode; the paper's prototype takes AES-128. One key makes one mask, so the counter starts at 0.
    """
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    operation = np.add if sign > 0 else np.subtract
    for start in range(0, len(vector), _PIECE):
        piece = vector[start : start + _PIECE]
        mask = np.frombuffer(stream.update(memoryview(_ZEROS)[: piece.nbytes]), dtype=vector.dtype)
        operation(piece, mask, out=piece)

"""Seeds derived from what a stage depends on, so that no result depends on how work was cut into jobs."""

import hashlib


def derive(root: int, *labels: object) -> int:
    """A 63-bit seed from a root seed and labels (numbers or strings); the same on every machine and Python.

    Private and attacker randomness use different roots: who knows the one learns nothing of the other.
    """
    text = "\x1f".join([str(int(root)), *(str(label) for label in labels)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1

"""What clients and server agree on before a round, all of it public; and numbers as members of a ring."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import floor, log2
from typing import Any, Literal, Self

import numpy as np
from torch import Tensor

from rlleak.errors import ConfigurationError, ProtocolError
from rlleak.federation.flat_updates import Shapes, count, flattened, unflattened

_EXACT_BITS = 53
"""Of a float64: sums stay within, so that nothing is rounded but what clients round."""
_PIECE = 2**18
"""Numbers that are rounded at once: they stay in the processor's cache."""


def usual_threshold(clients: int) -> int:
    """More than two thirds: a server with a third of the clients on its side cannot ask others two different things."""
    return max(2, 2 * clients // 3 + 1)


@dataclass(frozen=True)
class Agreement:
    """One round's public values.

    shapes: of an update's tensors. clients: n, numbered 0 .. n - 1. threshold: t, how many must stay to the end, and
    how many would have to join the server to see one update; between 2 and n. limit: no number of an update may be
    larger in magnitude. bits: of the ring Z / 2^bits in which masked numbers live, and of each on the wire.

    A number x becomes round(x * scale) modulo 2^bits, with the scale the largest power of two for which no sum of n
    numbers wraps around. Raises ConfigurationError for values with which no round can be run.
    """

    shapes: Shapes
    clients: int
    threshold: int
    limit: float = 1.0
    bits: Literal[32, 64] = 32

    def __post_init__(self) -> None:
        # One order of an update's numbers on both sides, whatever order a message or a file gives their names back in.
        object.__setattr__(self, "shapes", dict(sorted(self.shapes.items())))
        if not 2 <= self.threshold <= self.clients:
            raise ConfigurationError(
                f"secure aggregation: threshold {self.threshold} of {self.clients} clients; it lies between 2 and the "
                "number of clients"
            )
        if not 0 < self.limit <= 1e6:
            raise ConfigurationError(f"secure aggregation: limit {self.limit}; it lies between 0 and 1e6")
        if self.scale * self.limit < 1:
            raise ConfigurationError(
                f"secure aggregation: {self.bits} bits cannot hold {self.clients} numbers up to {self.limit:g}; take 64"
            )

    @property
    def said(self) -> dict[str, Any]:
        """As messages tell it, JSON-serialisable."""
        return asdict(self)

    @classmethod
    def of(cls, said: Any) -> Self:
        """What `said` was made from. Raises ProtocolError for anything else, and ConfigurationError as the class."""
        try:
            shapes = {str(name): tuple(map(int, shape)) for name, shape in said["shapes"].items()}
            return cls(**{**said, "shapes": shapes})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"what is to be agreed on cannot be read ({error}); send what `said` gives") from error

    @property
    def numbers(self) -> int:
        """N, how many numbers an update holds."""
        return count(self.shapes)

    @property
    def dtype(self) -> np.dtype:
        """Of a masked update: unsigned, so that numpy adds modulo 2^bits."""
        return np.dtype(f"<u{self.bits // 8}")

    @property
    def scale(self) -> float:
        """Steps per unit, a power of two."""
        room = 2.0 ** (min(self.bits - 1, _EXACT_BITS)) - self.clients
        return 2.0 ** floor(log2(room / (self.clients * self.limit)))

    @property
    def error(self) -> float:
        """The largest error that rounding can leave in a number of the sum: half a step per client."""
        return self.clients / (2 * self.scale)

    def encode(self, update: Mapping[str, Tensor]) -> np.ndarray:
        """The update in the ring, (N,). Raises ProtocolError for what must not be masked: see `flattened`."""
        flat = flattened(update, self.shapes, self.limit)
        ring = np.empty(len(flat), dtype=self.dtype)
        for start in range(0, len(flat), _PIECE):
            steps = np.multiply(flat[start : start + _PIECE], self.scale, dtype=np.float64)
            ring[start : start + _PIECE] = np.rint(steps).astype(np.int64)
        return ring

    def decode(self, total: np.ndarray) -> dict[str, Tensor]:
        """The tensors, float64, of a sum in the ring (N,)."""
        return unflattened(self._signed(total) / self.scale, self.shapes)

    def _signed(self, total: np.ndarray) -> np.ndarray:
        return total.view(self.dtype.str.replace("u", "i"))

    def check_sum(self, total: np.ndarray, clients: int) -> None:
        """Raises ProtocolError for a sum in the ring (N,) to which the updates of so many clients cannot add up.

        A mask that was not taken off leaves numbers that are spread evenly over the ring, of which a sum uses the share
        clients * limit * scale / 2^(bits - 1): one of the many numbers of an update is then nearly always beyond.
        """
        most = clients * (self.limit * self.scale * (1 + 2.0**-23) + 0.5)  # float32 rounds the limit itself up
        signed = self._signed(total)
        largest = max(int(signed.max(initial=0)), -int(signed.min(initial=0)))
        if largest > most:
            raise ProtocolError(
                f"the sum of {clients} updates holds {largest / self.scale:.3g}, beyond ±{clients * self.limit:g}: a "
                "masked update or a share of its secrets was wrong, and nobody can tell whose; go on with another round"
            )

    def check_left(self, left: int, when: str) -> None:
        """Raises ProtocolError if fewer than the threshold are left."""
        if left < self.threshold:
            raise ProtocolError(
                f"secure aggregation ends without a sum: it needs {self.threshold} of {self.clients} clients and "
                f"{left} are left {when}; start another round, or lower the threshold"
            )

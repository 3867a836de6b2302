"""What a defence guarantees: (epsilon, delta) by Opacus' accountant, and nothing where no gradient is clipped."""

import math
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from rlleak.configuration.defences import parts_of

METHOD = "clipped_gaussian"
CHOOSING = frozenset({"top_k"})
"""Methods by which data choose what is sent: where the zeros are is not noisy, whatever noise comes behind."""
LOOKING = frozenset({"pruned_representation"})
"""Methods that look at the observation itself: behind the noise, too, where the zeros are tells of it."""


def epsilon(settings: Mapping[str, Any]) -> float:
    """Epsilon of the `rounds` updates that a defence's entry speaks of, at its `delta`, by Renyi divergence.

    Of adding or removing one update, whose share is at most the clipping norm: the noise's deviation over that norm is
    the multiplier (Abadi et al. 2016; Mironov et al. 2019 with a `sample_rate` below 1). What happens to a noisy update
    behind it costs nothing, unless it looks at the observation again (`LOOKING`). Error feedback before the noise
    carries an update into messages for which it was not drawn: then nothing is gained by sampling. Infinite without
    clipping: noise on a gradient of any length bounds nothing; and where the data chose before what is sent
    (`CHOOSING`). Of several mechanisms in a row the best counts.
    """
    return min((_of_one(settings, part) for part in mechanisms(settings)), default=math.inf)


def mechanisms(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The parts of a defence's entry that guarantee something: clipping with noise, unless data choose what is sent."""
    if any(part["method"] in LOOKING for part in parts_of(settings)):
        return []
    free = takewhile(lambda part: part["method"] not in CHOOSING, parts_of(settings))
    return [part for part in free if part["method"] == METHOD]


def carried(settings: Mapping[str, Any], mechanism: Mapping[str, Any]) -> bool:
    """Whether error feedback stands before a mechanism."""
    before = takewhile(lambda part: part != mechanism, parts_of(settings))
    return any(part.get("error_feedback") for part in before)


def _of_one(settings: Mapping[str, Any], mechanism: Mapping[str, Any]) -> float:
    rate = 1.0 if carried(settings, mechanism) else mechanism["sample_rate"]
    return in_a_row([(mechanism["noise_multiplier"], rate, mechanism["rounds"])], mechanism["delta"])


def in_a_row(history: Sequence[tuple[float, float, int]], delta: float) -> float:
    """Epsilon of Gaussian mechanisms; history: (noise multiplier, chance of taking part, how many rounds)."""
    from opacus.accountants import RDPAccountant  # only here: it takes two seconds to import

    accountant = RDPAccountant()
    accountant.history = list(history)
    return float(accountant.get_epsilon(delta=delta))

"""What a defence guarantees over a whole training, of each unit that may be asked about: a client, a transition."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from rlleak.configuration.federation import FederatedSettings
from rlleak.federation.learning import Learner
from rlleak.sharing import privacy


def client_epsilon(settings: FederatedSettings, defence: Mapping[str, Any]) -> float:
    """What a defence guarantees each client over all that it sends in a training; infinite without clipping and noise.

    Of adding or removing everything that one client sent: each message of each network is one mechanism.
    """
    messages = _messages(settings)
    return _best(defence, lambda part: privacy.of_rounds(part["noise_multiplier"], [(1.0, messages)], part["delta"]))


def transition_epsilon(settings: FederatedSettings, defence: Mapping[str, Any]) -> float:
    """The same of one transition of a client's replay, replaced by any other; infinite without clipping and noise.

    A transition is in an update with a chance of at most batch / (what the replay then holds), and it changes what is
    sent by at most twice the clipping norm, which halves the multiplier. Counted as Opacus does, for batches that every
    transition joins on its own (Poisson sampling); here so many are drawn, with replacement. Of one that is in the
    replay from the first round to the last; the replay's growth is counted in blocks, each at its smallest size.
    """
    roles = _messages(settings) / settings.size.rounds
    blocks = [(rate, math.ceil(roles * rounds)) for rate, rounds in _sampled(settings)]
    return _best(defence, lambda part: privacy.of_rounds(part["noise_multiplier"] / 2, blocks, part["delta"]))


def _best(defence: Mapping[str, Any], counted: Callable[[Mapping[str, Any]], float]) -> float:
    """Of several mechanisms in a row the best counts."""
    return min((counted(part) for part in privacy.mechanisms(defence)), default=math.inf)


def _messages(settings: FederatedSettings) -> int:
    learner = Learner(settings)
    return sum(len(learner.trained_in(round)) for round in range(settings.size.rounds))


def _sampled(settings: FederatedSettings) -> list[tuple[float, int]]:
    """(chance, rounds) blocks, in which the replay grows by a quarter at most."""
    blocks, passed, rounds = [], 0, settings.size.rounds
    while passed < rounds:
        held = min(settings.warm_up + settings.steps * (passed + 1), settings.replay)
        grown = rounds if held == settings.replay else max(1, held // 4 // settings.steps)
        lasting = min(grown, rounds - passed)
        blocks.append((min(1.0, settings.batch / held), lasting))
        passed += lasting
    return blocks

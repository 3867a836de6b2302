"""What a defence guarantees over a whole training, of each unit that may be asked about: a client, a transition."""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from rlleak.configuration.federation import FederatedSettings
from rlleak.federation.learning import Learner
from rlleak.sharing import privacy


def client_epsilon(settings: FederatedSettings, defence: Mapping[str, Any]) -> float:
    """What a defence guarantees each client over all that it sends in a training; infinite without clipping and noise.

    Of everything that one client sent, against updates of zero in its place (that it sends at all the server sees):
    each message of each network is one mechanism.
    """
    messages = sum(len(roles) * rounds for roles, rounds in _shared(settings, 0, settings.size.rounds).items())
    return _best(defence, lambda part: privacy.in_a_row([(part["noise_multiplier"], 1.0, messages)], part["delta"]))


def transition_epsilon(settings: FederatedSettings, defence: Mapping[str, Any]) -> float:
    """The same of one transition of a client's replay, replaced by any other; infinite without clipping and noise.

    A transition is in an update with a chance of at most batch / (what the replay then holds), and it changes what is
    sent by at most twice the clipping norm, which halves the multiplier. Counted as Opacus does, for batches that every
    transition joins on its own (Poisson sampling); here so many are drawn, with replacement. Of one that is in the
    replay from the first round to the last; the replay's growth is counted in blocks, each at its smallest size. Where
    several networks are updated in a round, their updates are of the same transitions: one mechanism, of a length that
    grows with the root of their number. Error feedback before the noise carries a transition into later messages, in
    which it was not drawn: then nothing is gained by sampling.
    """

    def counted(part: Mapping[str, Any]) -> float:
        always = privacy.carried(defence, part)
        history = [
            (part["noise_multiplier"] / (2 * math.sqrt(len(roles))), 1.0 if always else rate, rounds)
            for rate, first, last in _sampled(settings)
            for roles, rounds in _shared(settings, first, last).items()
        ]
        return privacy.in_a_row(history, part["delta"])

    return _best(defence, counted)


def _best(defence: Mapping[str, Any], counted: Callable[[Mapping[str, Any]], float]) -> float:
    """Of several mechanisms in a row the best counts."""
    return min((counted(part) for part in privacy.mechanisms(defence)), default=math.inf)


def _shared(settings: FederatedSettings, first: int, last: int) -> Counter[tuple[str, ...]]:
    """How many of these rounds share the gradients of which networks."""
    learner = Learner(settings)
    return Counter(tuple(learner.trained_in(round)) for round in range(first, last))


def _sampled(settings: FederatedSettings) -> list[tuple[float, int, int]]:
    """(chance, first round, the one after the last) of blocks in which the replay grows by a quarter at most."""
    blocks, passed, rounds = [], 0, settings.size.rounds
    while passed < rounds:
        held = min(settings.warm_up + settings.steps * (passed + 1), settings.replay)
        grown = rounds if held == settings.replay else max(1, held // 4 // settings.steps)
        lasting = min(grown, rounds - passed)
        blocks.append((min(1.0, settings.batch / held), passed, passed + lasting))
        passed += lasting
    return blocks

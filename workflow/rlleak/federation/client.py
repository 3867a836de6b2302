"""One client of federated training: its environment, what it remembers, and what leaves it."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from rlleak.configuration.federation import FederatedSettings
from rlleak.federation.clients import Clients
from rlleak.federation.learning import Parameters
from rlleak.sharing.sending import Sent


class Client:
    """A device that plays and shares updates; knows nothing of how messages travel.

    settings: what is trained and how. defence: an entry of config/defences.yaml, with all its values. seed: its own,
    of its environment, its exploration, its draws. home: of active perception, in whose room it lives, see `Clients`.
    Parameters are the server's: tensors in the parameters' shapes, by "role/name" (`rlleak.federation.learning`);
    rounds are counted from 0. It is one of `Clients`, alone.
    """

    def __init__(self, settings: FederatedSettings, defence: Mapping[str, Any], seed: int, home: int = 0) -> None:
        self._clients = Clients(settings, defence, [[seed]], home)

    def play(self, parameters: Parameters, round: int) -> None:
        """Takes the round's steps in its environment, and remembers them; in the first round also its random ones."""
        self._clients.play(_as_run(parameters), round)

    def update(self, parameters: Parameters, round: int) -> Sent:
        """The message of a round: the defended gradient of each network that is trained in it, by "role/name".

        Of transitions that it drew from what it remembers (`drawn`); it must have played before.
        """
        return self._clients.update(_as_run(parameters), round).of(0, 0)

    def drawn(self, round: int) -> dict[str, Tensor]:
        """The transitions (B, ...) of a round's update, which never leave; asked for before the next `play`."""
        return {name: value[0, 0] for name, value in self._clients.drawn(round).items()}

    def kept(self) -> tuple[dict[str, Tensor], int]:
        """All that `restore` goes on from, for who keeps a client between processes: tensors by name, and a count."""
        return self._clients.kept()

    def restore(self, tensors: Mapping[str, Tensor], added: int) -> None:
        """Goes on from what `kept` gave; environments that do not go the same way again begin an episode."""
        self._clients.restore(tensors, added)

    def close(self) -> None:
        """Ends its environment."""
        self._clients.close()


def _as_run(parameters: Parameters) -> dict[str, Tensor]:
    return {name: value[None] for name, value in parameters.items()}

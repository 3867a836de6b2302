"""What a federated run is to do: what the server knows and tells everybody, in a file that the server app reads."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from rlleak.artefacts import read_json, write_json
from rlleak.configuration.federation import FederatedSettings
from rlleak.configuration.loopback import SecureAggregation
from rlleak.configuration.strict import Strict, in_one_line
from rlleak.errors import ConfigurationError


class Task(Strict):
    """A federated run. Everything in it is public.

    Clients play (`training`), or share what they recorded before (`network`, as
    `rlleak.sharing.victims.prepare_training` takes it). defence: what they do to an update before they send it, as in
    config/defences.yaml.
    """

    training: FederatedSettings | None = None
    network: dict[str, Any] | None = None
    defence: dict[str, Any] = {"method": "none"}
    # Of fresh networks, where clients play; else the network's own says it.
    seed: int = 0
    # Step of gradient descent on the mean of recorded clients; a training has its own optimiser.
    step_size: float = Field(default=1e-4, gt=0)
    # Transitions per client and update of recorded clients; a training has its own.
    batch: int = Field(default=1, ge=1)
    rounds: int = Field(default=1, ge=1)
    # The server learns the sum alone, but for the first so many rounds.
    secure_aggregation: SecureAggregation | None = None
    plain_rounds: int = Field(default=0, ge=0)
    # How many are waited for before a round, and with how few it goes on.
    clients: int = Field(ge=1)
    least_clients: int = Field(default=1, ge=1)
    # Seconds to wait for clients before a round, and for their updates in it.
    join_timeout: float = Field(default=180.0, gt=0)
    round_timeout: float = Field(default=300.0, gt=0)
    # Of so many rounds, the first, the server keeps every update.
    kept_rounds: int = Field(default=1, ge=0)
    # Folder in which the server keeps what it sees, and its state.
    keeps: str

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.training is None) == (self.network is None):
            raise ValueError("clients play (training) or have recorded (network): give one of the two")
        if self.secure_aggregation:
            self.secure_aggregation.check(self.clients)
        return self

    def is_secure(self, round: int) -> bool:
        """Whether the server learns no more than the sum of a round's updates."""
        return self.secure_aggregation is not None and round >= self.plain_rounds

    @property
    def said(self) -> dict[str, Any]:
        """What the server tells each client with the parameters."""
        return self.model_dump(mode="json", include={"training", "network", "defence", "batch"})

    def save(self, path: Path) -> Path:
        """Writes the file that `flwr run` is given, and returns where."""
        write_json(path, self.model_dump(mode="json"))
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Reads the file. Raises ConfigurationError in one line."""
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            raise ConfigurationError(f"{path}: {in_one_line(error)}") from error

"""What a federated run is to do: what the server knows and tells everybody, in a file that the server app reads."""

from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from rlleak.artefacts import read_json, write_json
from rlleak.configuration.defences import defence_settings, parts_of
from rlleak.configuration.federation import FederatedSettings
from rlleak.configuration.loopback import SecureAggregation
from rlleak.configuration.strict import Strict, in_one_line
from rlleak.errors import ConfigurationError

# Of these, parts of an update do not leave the device, and which they are is lost in a sum.
_IN_PARTS = ("top_k", "random_k", "withheld", "pruned_representation")


class Task(Strict):
    """A federated run. Everything in it is public.

    Clients play (`training`), or share what they recorded before (`network`, as
    `rlleak.sharing.victims.prepare_training` takes it). defence: what they do to an update before they send it, as in
    config/defences.yaml; each of them has it in its own file, too, and refuses a task with another.
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
        self._check_sums()
        return self

    def _check_sums(self) -> None:
        in_parts = [part["method"] for part in parts_of(defence_settings(self.defence)) if part["method"] in _IN_PARTS]
        if in_parts and self.is_secure(min(self.kept_rounds, self.rounds) - 1):
            # Not a ValueError, which would reach a script's log as pydantic's many lines.
            raise ConfigurationError(
                f"{in_parts[0]} under secure_aggregation: a mean does not tell which of its numbers arrived from whom; "
                f"keep plain rounds alone (kept_rounds: {self.plain_rounds}) or take another defence"
            )

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

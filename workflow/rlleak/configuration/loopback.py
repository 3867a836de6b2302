"""The demonstration over loopback: which clients share what with a server that attacks."""

from typing import Literal, Self

from pydantic import Field, model_validator

from rlleak.configuration.experiments import Name
from rlleak.configuration.strict import Strict


class SecureAggregation(Strict):
    """A protocol from which the server learns the sum of its clients' updates, and of no update more than that."""

    threshold: int = Field(ge=2, description="how many clients must stay to the end of a round")
    limit: float = Field(default=1.0, gt=0, le=1e6, description="no number of an update may be larger in magnitude")
    bits: Literal[32, 64] = Field(default=32, description="of each masked number: how finely a sum is resolved")

    def check(self, clients: int) -> None:
        """Raises ValueError where so many clients cannot reach the threshold."""
        if self.threshold > clients:
            raise ValueError(f"secure_aggregation: threshold {self.threshold} of {clients} clients; lower it")


class Loopback(Strict):
    """Clients in private rooms, each a process of its own, that share an update over one transition."""

    clients: int = Field(ge=2, description="the first so many victims")
    learner: Literal["dqn", "reinforce"]
    network: Name
    setting: Literal["S1", "S2"]
    attack: Name = Field(description="on each client's update; one that leaves nothing to tune")
    attack_on_mean: Name = Field(description="on the mean of all, from the sum behind secure aggregation; likewise")
    secure_aggregation: SecureAggregation = Field(description="of the second of two rounds; the first is plain")
    round_timeout: float = Field(gt=0, description="seconds until a client that is silent is left out")

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        self.secure_aggregation.check(self.clients)
        return self

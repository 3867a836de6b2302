"""The demonstration over loopback: which clients share what with a server that attacks."""

from typing import Literal

from pydantic import Field

from rlleak.configuration.experiments import Name
from rlleak.configuration.strict import Strict


class Loopback(Strict):
    """Clients in private rooms, each a process of its own, that share an update over one transition."""

    clients: int = Field(ge=2, description="the first so many victims")
    learner: Literal["dqn", "reinforce"]
    network: Name
    setting: Literal["S1", "S2"]
    attack: Name = Field(description="on each client's update; one that leaves nothing to tune")
    attack_on_mean: Name = Field(description="on their mean, all that is seen under secure aggregation; likewise")
    round_timeout: float = Field(gt=0, description="seconds until a client that is silent is left out")

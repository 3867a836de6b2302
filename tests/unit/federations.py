"""Small federated trainings for tests."""

from typing import Any

from rlleak.configuration.federation import FederatedConstants, FederatedSettings, federated
from rlleak.configuration.general import NetworkShape
from rlleak.configuration.scales import TrainingSize

SMALL = {"clients": 3, "steps": 1, "warm_up": 12, "replay": 40, "exploration": 0.1, "learning_rate": 1e-2}


def training_of(
    environment: str, *, batch: int = 1, rounds: int = 12, homes: Any = None, **changes: Any
) -> FederatedSettings:
    """Settings of a training that takes no time; `changes`: of the constants."""
    size = TrainingSize(runs=2, rounds=rounds, evaluations=2, episodes=2, horizon=30)
    return federated(
        FederatedConstants.model_validate({**SMALL, "policy_every": 2, "target": {"every": 3}, **changes}),
        size,
        environment=environment,
        learner="critic" if environment == "Hopper" else "dqn",
        network=NetworkShape(vector_width=0, hidden=(16, 8)),
        batch=batch,
        homes=homes,
    )

"""Networks and losses whose gradients are shared."""

from rlleak.registry import Registry

LOSSES = Registry(
    "loss",
    {
        "dqn": "rlleak.learners.dqn:DQNLoss",
        "reinforce": "rlleak.learners.reinforce:ReinforceLoss",
    },
)

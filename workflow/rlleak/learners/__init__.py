"""Networks and losses whose gradients are shared."""

from rlleak.registry import Registry

LOSSES = Registry(
    "loss",
    {
        "dqn": "rlleak.learners.dqn:DQNLoss",
        "residual_dqn": "rlleak.learners.dqn:ResidualDQNLoss",
        "critic": "rlleak.learners.critic:CriticLoss",
        "residual_critic": "rlleak.learners.critic:ResidualCriticLoss",
        "reinforce": "rlleak.learners.reinforce:ReinforceLoss",
        "actor_critic": "rlleak.learners.actor_critic:ActorCriticLoss",
        "ppo": "rlleak.learners.ppo:PPOLoss",
    },
)

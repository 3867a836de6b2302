"""Attacks: from a shared update back to experience. Each gets what the server holds, and nothing else."""

from rlleak.registry import Registry

ATTACKS = Registry(
    "attack",
    {
        "qgi": "rlleak.attacks.qgi:qgi",
        "qgi_joint": "rlleak.attacks.qgi:qgi_joint",
        "rgi": "rlleak.attacks.rgi:rgi",
        "dlg_optimised_action": "rlleak.attacks.baselines:dlg_optimised_action",
        "dlg_ruled_action": "rlleak.attacks.baselines:dlg_ruled_action",
        "inverting_gradients": "rlleak.attacks.baselines:inverting_gradients",
        "prior_only": "rlleak.attacks.prior_only:prior_only",
        "closed_form": "rlleak.attacks.closed_form:closed_form",
        "peel": "rlleak.attacks.peel:peel",
        "best": "rlleak.attacks.best:best",
        "batch_heads": "rlleak.attacks.batch_heads:batch_heads",
    },
)

LEARNERS = {
    "qgi": ("dqn",),
    "qgi_joint": ("dqn",),
    "rgi": ("reinforce",),
    "dlg_optimised_action": ("dqn",),
    "dlg_ruled_action": ("dqn",),
    "inverting_gradients": ("dqn",),
    "prior_only": ("dqn", "reinforce"),
    "closed_form": ("dqn", "reinforce", "actor_critic", "ppo"),
    "peel": ("dqn", "reinforce", "actor_critic", "ppo"),
    "best": ("dqn", "reinforce", "actor_critic", "ppo"),
    "batch_heads": ("dqn", "reinforce"),
}
"""Which learners' updates an attack takes; another pair is a configuration error."""

STAGES = dict.fromkeys(("qgi", "qgi_joint", "rgi"), ("vector", "image")) | {
    "dlg_optimised_action": ("vector",),
    "dlg_ruled_action": ("vector",),
    "inverting_gradients": ("vector",),
    "prior_only": (),
    "closed_form": (),
    "peel": (),
    "best": ("image",),
    "batch_heads": (),
}
"""Which stages an attack's settings must describe."""

READS_LAST_BIAS = frozenset(LEARNERS) - {"dlg_optimised_action", "prior_only", "closed_form"}
"""Which attacks read the error or the action off the last layer's bias; a network without one is refused."""

KNOWS: dict[str, tuple[str, ...]] = {
    "prior_only": ("public",),
    "peel": ("prior",),
    "best": ("prior",),
}
"""What an attack is told beside the update: `public`, the attacker's own rooms by component (P, ...);
`prior`, a `rlleak.priors.prior.Prior` for images of the update's setting."""

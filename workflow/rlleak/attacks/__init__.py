"""Attacks: from a shared update back to experience. Each gets what the server holds, and nothing else.

An attack is an entry of `METHODS` and a module that holds a function of the entry's name, made an attack by
`rlleak.attacks.running.attack`.
"""

from rlleak.registry import Method, Registry

_ALL = ("dqn", "reinforce", "actor_critic", "ppo")

METHODS = {
    "qgi": Method("rlleak.attacks.qgi", learners=("dqn",), stages=("vector", "image")),
    "qgi_joint": Method("rlleak.attacks.qgi", learners=("dqn",), stages=("vector", "image")),
    "rgi": Method("rlleak.attacks.rgi", learners=("reinforce",), stages=("vector", "image")),
    "dlg_optimised_action": Method(
        "rlleak.attacks.baselines", learners=("dqn",), stages=("vector",), reads_last_bias=False
    ),
    "dlg_ruled_action": Method("rlleak.attacks.baselines", learners=("dqn",), stages=("vector",)),
    "inverting_gradients": Method("rlleak.attacks.baselines", learners=("dqn",), stages=("vector",)),
    "prior_only": Method("rlleak.attacks.prior_only", learners=_ALL, reads_last_bias=False, knows=("public",)),
    "closed_form": Method("rlleak.attacks.closed_form", learners=_ALL, reads_last_bias=False),
    "peel": Method("rlleak.attacks.peel", learners=_ALL, knows=("prior",)),
    "best": Method("rlleak.attacks.best", learners=_ALL, stages=("image",), knows=("prior", "public")),
    "batch_heads": Method("rlleak.attacks.batch_heads", learners=_ALL, batches=True),
    "batch_images": Method("rlleak.attacks.batch_images", learners=_ALL, knows=("prior",), batches=True),
}
"""Every attack by name, and what it needs; another learner, no such stage or no bias is a configuration error."""

ATTACKS = Registry("attack", {name: f"{method.module}:{name}" for name, method in METHODS.items()})

"""Attacks on whole transitions (s, a, r, s') from the gradient of a temporal-difference loss.

Each gets a shared update and what its attacker learnt from transitions of its own, and nothing else.
"""

from rlleak.registry import Registry

_MATCHING = ("gia", "dlg", "idlg", "ig", "rgia", "rgia_no_gradient")
BLIND = ("transition_prior_only",)
"""See no gradient."""
OWN = (*BLIND, "transition_posterior")
"""Guess by the attacker's own transitions: nothing is read for them."""
_ALGEBRA = ("transition_closed_form", "transition_best")

ATTACKS = Registry(
    "attack method on transitions",
    {name: f"rlleak.attacks.transitions.methods:{name}" for name in _MATCHING}
    | {name: f"rlleak.attacks.transitions.algebra:{name}" for name in _ALGEBRA}
    | {name: f"rlleak.attacks.transitions.blind:{name}" for name in BLIND}
    | {"transition_posterior": "rlleak.attacks.transitions.batch_posterior:transition_posterior"},
)
"""Of methods: a `rlleak.attacks.transitions.methods.Search`, which `running.run_together` runs. The others: called with
a `rlleak.attacks.transitions.running.Task`, for guesses."""

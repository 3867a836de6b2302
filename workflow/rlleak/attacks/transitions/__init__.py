"""Attacks on whole transitions (s, a, r, s') from the gradient of a temporal-difference loss.

Each gets a shared update and what its attacker learnt from transitions of its own, and nothing else.
"""

from rlleak.registry import Registry

_MATCHING = ("gia", "dlg", "idlg", "ig", "rgia", "transition_prior_only")
_ALGEBRA = ("transition_closed_form", "transition_best")

ATTACKS = Registry(
    "attack method on transitions",
    {name: f"rlleak.attacks.transitions.methods:{name}" for name in _MATCHING}
    | {name: f"rlleak.attacks.transitions.algebra:{name}" for name in _ALGEBRA},
)
"""Of methods: a `rlleak.attacks.transitions.methods.Search`, which `running.run_together` runs. Of algebra: called with
a `rlleak.attacks.transitions.running.Task`, for guesses."""

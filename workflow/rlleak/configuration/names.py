"""Every kind of name that a configuration may use, and where its names live."""

from importlib import import_module

from rlleak.registry import Method, Registry

# Names live in the packages that implement them; these files hold strings only, so looking them up imports no torch.
_REGISTRIES = {
    "attack method": "rlleak.attacks:ATTACKS",
    "attack method on transitions": "rlleak.attacks.transitions:ATTACKS",
    "loss": "rlleak.learners:LOSSES",
    "defence": "rlleak.sharing:DEFENCES",
    "simulator": "rlleak.simulators:SIMULATORS",
    "kind of environment": "rlleak.simulators:KINDS",
    "policy": "rlleak.simulators:POLICIES",
    "metric": "rlleak.metrics:METRICS",
    "metric of transitions": "rlleak.metrics:TRANSITION_METRICS",
    "metric of trainings": "rlleak.metrics:TRAINING_METRICS",
    "table": "rlleak.publishing:TABLES",
    "figure": "rlleak.publishing:FIGURES",
}

KINDS_OF_NAMES = tuple(_REGISTRIES)


def registry(kind: str) -> Registry:
    """The names of a kind, one of KINDS_OF_NAMES."""
    module, _, attribute = _REGISTRIES[kind].partition(":")
    return getattr(import_module(module), attribute)


def method(name: str) -> Method:
    """What an attack needs; its name is known."""
    return import_module("rlleak.attacks").METHODS[name]


def is_blind(name: str) -> bool:
    """Whether a method of attacks on transitions sees no gradient and guesses by the attacker's own transitions."""
    return name in import_module("rlleak.attacks.transitions").BLIND

"""rlleak: what do an RL agent's gradients give away?

Public names are loaded on first use, so that importing the package costs nothing and a workflow script depends only on
the submodules it imports itself.
"""

from importlib import import_module

_PUBLIC = {
    "share": "rlleak.api",
    "receive": "rlleak.api",
    "attack": "rlleak.attacks.defaults",
    "audit": "rlleak.api",
    "SharedUpdate": "rlleak.sharing.update",
    "Batch": "rlleak.learners.batch",
    "NetworkSpec": "rlleak.learners.specification",
    "build_network": "rlleak.learners.networks",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'rlleak' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return __all__

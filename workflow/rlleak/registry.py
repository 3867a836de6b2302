"""Names that a configuration may use, and where their code lives; nothing is imported before it is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from rlleak.errors import ConfigurationError


def unknown_name(kind: str, name: str, known: list[str]) -> ConfigurationError:
    """The error for a name that does not exist: says what was meant, or what there is."""
    close = get_close_matches(name, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else "there is: " + ", ".join(sorted(known))
    return ConfigurationError(f"unknown {kind} '{name}'; {hint}")


class Registry:
    """Maps a name to "package.module:attribute"; an iterable of its names."""

    def __init__(self, kind: str, entries: dict[str, str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    @property
    def names(self) -> list[str]:
        return list(self._entries)

    def module(self, name: str) -> str:
        """The module that holds the entry; used to compute what a rule depends on."""
        return self._entry(name).partition(":")[0]

    def load(self, name: str) -> Any:
        """The entry itself. Raises ConfigurationError for an unknown name."""
        module, _, attribute = self._entry(name).partition(":")
        return getattr(import_module(module), attribute)

    def _entry(self, name: str) -> str:
        if name not in self._entries:
            raise unknown_name(self.kind, name, self.names)
        return self._entries[name]


@dataclass(frozen=True)
class Method:
    """An attack, as what configures and plans a run sees it.

    module: holds a function of the attack's name. learners: whose updates it takes. stages: which of its settings'
    stages must be described. reads_last_bias: whether it reads the error or the action off the last layer's bias; a
    study refuses a network without one. knows: what it is told beside the update: `public`, the attacker's own rooms by
    component (P, ...); `prior`, a `rlleak.priors.prior.Prior` for images of the update's setting. batches: whether it
    takes updates over more than one transition.
    """

    module: str
    learners: tuple[str, ...]
    stages: tuple[str, ...] = ()
    reads_last_bias: bool = True
    knows: tuple[str, ...] = ()
    batches: bool = False

"""Functions of tensors, recorded once as the operations they consist of: small networks spend their time in Python."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

_BEFORE = 20
"""Calls before it is worth it: recording takes as long as some hundred calls."""


class Traced:
    """A function of mappings of tensors, to a mapping of tensors or to one tensor, recorded once it is called often.

    It must do the same whatever the values are, and draw nothing; names, shapes and types must always be the same.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._names, self._calls = function, None, 0
        self._graph: GraphModule | None = None

    def __call__(self, *groups: Mapping[str, Tensor]) -> Any:
        self._calls += 1
        if self._calls <= _BEFORE:
            return self._function(*groups)
        values = [value for group in groups for value in group.values()]
        if self._graph is None:
            self._graph = self._recorded(groups, values)
        made = self._graph(*values)
        return made[0] if self._names is None else dict(zip(self._names, made, strict=True))

    def _recorded(self, groups: tuple[Mapping[str, Tensor], ...], values: list[Tensor]) -> GraphModule:
        def plain(*values: Tensor) -> list[Tensor]:
            given = iter(values)
            made = self._function(*({name: next(given) for name in group} for group in groups))
            self._names = list(made) if isinstance(made, Mapping) else None
            return [made] if self._names is None else list(made.values())

        return make_fx(plain)(*values)

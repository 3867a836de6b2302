"""One client's computation for many: all at once, or one after another where it cannot be batched."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.func import vmap

from rlleak.configuration.defences import parts_of

# float16 looks whether it overflows, and pruning runs a network that it loads: neither is a batched computation.
_ALONE = ("float16", "pruned_representation")


def goes_together(defence: Mapping[str, Any]) -> bool:
    """Whether a defence can be computed for many clients at once."""
    return not any(part["method"] in _ALONE for part in parts_of(defence))


def over_clients(function: Callable[..., Any], together: bool) -> Callable[..., Any]:
    """`function(parameters, *own)` of one client as a function of all R * n.

    parameters: name -> (R, *shape); own: mappings of tensors (R, n, ...), without R and n where `function` gets them.
    What it gives (mappings, or tuples of them) is stacked to (R, n, ...). Random draws differ between clients.
    """
    if not together:
        return lambda parameters, *own: _one_by_one(function, parameters, own)

    def of_one_run(parameters: Mapping[str, Tensor], *own: Mapping[str, Tensor]) -> Any:
        return vmap(function, in_dims=(None, *[0] * len(own)), randomness="different")(parameters, *own)

    return vmap(of_one_run, randomness="different")


def _one_by_one(function: Callable[..., Any], parameters: Mapping[str, Tensor], own: tuple[Any, ...]) -> Any:
    runs, clients = next(iter(own[0].values())).shape[:2]
    rows = [
        _stacked(
            [
                function(_taken(parameters, run), *(_taken(_taken(group, run), client) for group in own))
                for client in range(clients)
            ]
        )
        for run in range(runs)
    ]
    return _stacked(rows)


def _taken(group: Mapping[str, Tensor], row: int) -> dict[str, Tensor]:
    return {name: value[row] for name, value in group.items()}


def _stacked(made: list[Any]) -> Any:
    if isinstance(made[0], Mapping):
        return {name: torch.stack([one[name] for one in made]) for name in made[0]}
    return tuple(_stacked(list(group)) for group in zip(*made, strict=True))

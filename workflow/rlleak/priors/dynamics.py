"""Transition models f(s, a) = s' that an attacker can learn from few transitions of its own.

Each takes states (N, *S) and actions (N, A), an action being its numbers in [-1, 1] or the probabilities of A discrete
ones, and gives (N, *S); all are differentiable in both.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_SMALLEST = 1e-6  # deviation below which a number counts as constant


class VectorDynamics(nn.Module):
    """A vector's change: an affine map of state and action, plus what an MLP sees beyond it, all in deviations.

    The affine part is found in closed form (`fit_affine`), so that few samples suffice for what is nearly linear.
    """

    def __init__(self, state_size: int, action_size: int, width: int = 256) -> None:
        super().__init__()
        inputs = state_size + action_size
        self.register_buffer("input_mean", torch.zeros(inputs))
        self.register_buffer("input_deviation", torch.ones(inputs))
        self.register_buffer("change_deviation", torch.ones(state_size))
        self.affine = nn.Linear(inputs, state_size)
        self.body = nn.Sequential(
            *[nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, state_size)]
        )
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    @torch.no_grad()
    def fit_affine(self, state: Tensor, action: Tensor, next_state: Tensor, ridge: float) -> None:
        """Sets the scales and the affine part from (N, ...) transitions. ridge: per sample, in deviations."""
        inputs, change = torch.cat([state, action], dim=1).double(), (next_state - state).double()
        self.input_mean.copy_(inputs.mean(dim=0))
        self.input_deviation.copy_(_deviation(inputs))
        self.change_deviation.copy_(_deviation(change))
        inputs = (inputs - self.input_mean) / self.input_deviation
        change = change / self.change_deviation
        mean = change.mean(dim=0)
        gram = inputs.T @ inputs + ridge * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.float64)
        self.affine.weight.copy_(torch.linalg.solve(gram, inputs.T @ (change - mean)).T)
        self.affine.bias.copy_(mean)

    @torch.no_grad()
    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """From now on of states (s - mean) / deviation, (D,) each: the same map in other units."""
        size = len(mean)
        self.input_mean[:size] = (self.input_mean[:size] - mean) / deviation
        self.input_deviation[:size] /= deviation
        self.change_deviation /= deviation

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        inputs = (torch.cat([state, action], dim=1) - self.input_mean) / self.input_deviation
        return state + self.change_deviation * (self.affine(inputs) + self.body(inputs))


class ImageDynamics(nn.Module):
    """An image's change by convolutions on pixels folded 4 x 4, told the action and where on the image it is.

    stacked: the channels are successive frames, of which the oldest goes and one comes (Mnih et al. 2015); else all
    channels change.
    """

    FOLD = 4

    def __init__(self, image_shape: tuple[int, int, int], action_size: int, stacked: bool, width: int = 32) -> None:
        super().__init__()
        channels, height, rows = image_shape
        self.stacked, folded = stacked, self.FOLD**2
        place = height // self.FOLD, rows // self.FOLD
        coming = 1 if stacked else channels
        self.register_buffer("background", torch.zeros(coming, height, rows))
        self.head = nn.Conv2d(folded * (channels + coming), width, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(width, *place))
        self.action = nn.Linear(action_size, width, bias=False)
        self.body = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.tail = nn.Conv2d(width, folded * coming, 1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        seen = torch.cat([state, self.background.expand(len(state), -1, -1, -1)], dim=1)
        features = self.head(functional.pixel_unshuffle(seen - 0.5, self.FOLD)) + self.place
        features = functional.silu(features + self.action(action)[..., None, None])
        for convolution in self.body:
            features = features + functional.silu(convolution(features))
        change = functional.pixel_shuffle(self.tail(features), self.FOLD)
        if not self.stacked:
            return state + change
        return torch.cat([state[:, 1:], state[:, -1:] + change], dim=1)


class TableDynamics(nn.Module):
    """A finite world: s' = sum over actions of a_k s T_k, T_k the transition counts' shares; linear in s and in a.

    Where a pair was never seen, the state stays.
    """

    def __init__(self, state_size: int, action_size: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.eye(state_size).repeat(action_size, 1, 1))

    @torch.no_grad()
    def fit(self, state: Tensor, action: Tensor, next_state: Tensor) -> None:
        """Counts (N, ...) one-hot transitions."""
        counts = torch.einsum("na,ns,nt->ast", action, state, next_state)
        total = counts.sum(dim=2, keepdim=True)
        stays = torch.eye(counts.shape[1]).expand_as(counts)
        self.table.copy_(torch.where(total > 0, counts / total.clamp_min(1), stays))

    def forward(self, state: Tensor, action: Tensor) -> Tensor:
        return torch.einsum("na,ns,ast->nt", action, state, self.table)


Dynamics = VectorDynamics | ImageDynamics | TableDynamics
_KINDS: dict[str, type[Dynamics]] = {"vector": VectorDynamics, "image": ImageDynamics, "table": TableDynamics}


def build_dynamics(described: Mapping[str, Any]) -> Dynamics:
    """An untrained model from {"kind": "vector" | "image" | "table", and its arguments}."""
    arguments = {name: value for name, value in described.items() if name != "kind"}
    return _KINDS[described["kind"]](**arguments)


def unchanged(state: Tensor, stacked: bool) -> Tensor:
    """What who knows nothing of the dynamics predicts: (N, *S) as it is; of a stack, its last frame once more."""
    return torch.cat([state[:, 1:], state[:, -1:]], dim=1) if stacked else state


def _deviation(values: Tensor) -> Tensor:
    """Of each column; 1 where it is constant."""
    deviation = values.std(dim=0)
    return torch.where(deviation > _SMALLEST, deviation, 1.0)

"""L-BFGS of many rows at once, without a line search, as DLG runs it (Zhu et al. 2019; Nocedal and Wright, 7.4)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from rlleak.attacks.optimisation import Evaluate, Minimisation, Variable
from rlleak.configuration.attacks import StageSettings

PAIRS = 10
"""Steps and changes of the gradient that are remembered."""


class QuasiNewton(Minimisation):
    """By L-BFGS; each row has its own memory.

    sizes: (N,), the share of L-BFGS's step that is taken (torch's `lr`); the first step is that share of the gradient
    over its absolute sum, as torch.optim.LBFGS takes it.
    """

    def __init__(
        self, evaluate: Evaluate, variables: Mapping[str, Variable], stage: StageSettings, start: int, sizes: Tensor
    ) -> None:
        super().__init__(evaluate, variables)
        self.variables, self.sizes = variables, sizes
        flat = self._flat(self.values)
        rows, width = flat.shape
        self.steps, self.changes = flat.new_zeros(PAIRS, rows, width), flat.new_zeros(PAIRS, rows, width)
        self.weights, self.scale = flat.new_zeros(PAIRS, rows), flat.new_ones(rows)
        self.before, self.slope = flat.clone(), flat.new_zeros(rows, width)
        self.done = torch.full((), start, device=flat.device)
        own = ("steps", "changes", "weights", "scale", "before", "slope", "done")
        self.state |= {name: getattr(self, name) for name in own}

    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """A share of L-BFGS's step."""
        here, slope, first = self._flat(self.values), self._flat(gradients), int(self.done) == 0
        if not first:
            self._remember(here - self.before, slope - self.slope)
        self.before.copy_(here)
        self.slope.copy_(slope)
        self.done += 1
        size = self.sizes * (1 / slope.abs().sum(dim=1).clamp_min(1e-30)).clamp(max=1) if first else self.sizes
        self._move(here - size[:, None] * self._direction(slope))

    def _remember(self, step: Tensor, change: Tensor) -> None:
        """Rows whose pair has no curvature keep those that they have."""
        curvature = (step * change).sum(dim=1)
        usable = curvature > 1e-10
        newest = (step, change, 1 / curvature.clamp_min(1e-10))
        for memory, latest in zip(self._memory, newest, strict=True):
            moved = torch.cat([memory[1:], latest[None]])
            memory.copy_(torch.where(usable.view(-1, *[1] * (memory.dim() - 2)), moved, memory))
        size = change.square().sum(dim=1).clamp_min(1e-30)
        self.scale.copy_(torch.where(usable, curvature / size, self.scale))

    def _direction(self, slope: Tensor) -> Tensor:
        """The two loops; what is not remembered yet has weight 0 and changes nothing."""
        rest, shares = slope.clone(), []
        for step, change, weight in zip(*(part.flip(0) for part in self._memory), strict=True):
            shares.append(weight * (step * rest).sum(dim=1))
            rest -= shares[-1][:, None] * change
        rest *= self.scale[:, None]
        for step, change, weight, share in zip(*self._memory, reversed(shares), strict=True):
            rest += (share - weight * (change * rest).sum(dim=1))[:, None] * step
        return rest

    @property
    def _memory(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.steps, self.changes, self.weights

    def _flat(self, values: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([values[name].flatten(1) for name in self.variables], dim=1)

    def _move(self, flat: Tensor) -> None:
        widths = [self.values[name][0].numel() for name in self.variables]
        for (name, variable), part in zip(self.variables.items(), flat.split(widths, dim=1), strict=True):
            self.values[name].copy_(part.view_as(self.values[name]))
            variable.project(self.values[name])

"""Gradient matching against shared gradients of linear layers of which only some entries arrived.

What did not arrive is left out of the distance, of both sides; a candidate's gradient is formed at the known entries
only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rlleak.attacks.targets import (
    FactoredTarget,
    Finish,
    LinearGradient,
    MatrixTarget,
    Sides,
    linear_target,
)
from rlleak.sharing.update import SharedUpdate


@dataclass
class PartialGradient:
    """A candidate's gradient at a target's known entries."""

    candidate: LinearGradient
    target: "PartialTarget"

    @cached_property
    def with_constant(self) -> Tensor:
        """The input, and 1 for the bias's, (N, inputs + 1)."""
        return torch.cat([self.candidate.input, torch.ones_like(self.candidate.input[:, :1])], dim=1)

    @cached_property
    def formed(self) -> Tensor:
        """delta [input, 1]^T at the known entries, victim after victim."""
        return self.candidate.delta.flatten()[self.target.rows] * self.with_constant.flatten()[self.target.columns]

    def squared_norm(self) -> Tensor:
        return self.target.squares(self.formed)


class PartialTarget:
    """Known entries of the shared gradient [weight, bias] of a linear layer, (outputs, inputs + 1) of each victim.

    entries: for each victim (row, column, value) of what is known.
    """

    def __init__(self, entries: Sequence[tuple[Tensor, Tensor, Tensor]], outputs: int, inputs: int) -> None:
        self.entries, self.outputs, self.inputs = list(entries), outputs, inputs
        self.lengths = [len(value) for _, _, value in entries]
        rows = [row + victim * outputs for victim, (row, _, _) in enumerate(entries)]
        columns = [column + victim * (inputs + 1) for victim, (_, column, _) in enumerate(entries)]
        self.rows, self.columns = torch.cat(rows), torch.cat(columns)
        self.values = torch.cat([value for _, _, value in entries])
        self.owner = torch.arange(len(entries), device=self.rows.device).repeat_interleave(
            torch.tensor(self.lengths, device=self.rows.device)
        )
        self.square = self.squares(self.values)

    def squares(self, values: Tensor) -> Tensor:
        """Each victim's sum of squares, (N,)."""
        return torch.stack([part.dot(part) for part in values.split(self.lengths)])

    def take(self, rows: Tensor) -> "PartialTarget":
        return PartialTarget([self.entries[row] for row in rows.tolist()], self.outputs, self.inputs)

    def seen(self, candidate: LinearGradient) -> PartialGradient:
        return PartialGradient(candidate, self)

    def residual(self, candidate: PartialGradient, scale: Tensor) -> tuple[Tensor, Finish]:
        """As `FactoredTarget.residual`, over the known entries."""
        delta, inputs = candidate.candidate.delta, candidate.with_constant
        rest = scale[self.owner] * candidate.formed - self.values

        def finish(shrink: Tensor) -> Sides:
            whole = rest - shrink[self.owner] * candidate.formed
            by_delta = torch.zeros_like(delta).flatten()
            by_delta.index_add_(0, self.rows, whole * inputs.flatten()[self.columns])
            by_input = torch.zeros_like(inputs).flatten()
            by_input.index_add_(0, self.columns, whole * delta.flatten()[self.rows])
            return by_delta.view_as(delta), by_input.view_as(inputs)[:, :-1]

        return self.squares(rest), finish


def target_of(update: SharedUpdate, name: str) -> FactoredTarget | MatrixTarget | PartialTarget:
    """What candidates' gradients of a linear layer are matched against: all of it that arrived."""
    weight, bias = update.gradients[f"{name}.weight"], update.gradients.get(f"{name}.bias")
    masks = [update.known.get(f"{name}.{kind}") for kind in ("weight", "bias")]
    if all(mask is None for mask in masks):
        return linear_target(weight, bias)
    known = [torch.ones_like(weight, dtype=torch.bool) if masks[0] is None else masks[0]]
    if masks[0] is None and not bool(masks[1].any()):
        return linear_target(weight, None)
    whole = [weight]
    if bias is not None:
        whole.append(bias[:, :, None])
        known.append(torch.ones_like(whole[1], dtype=torch.bool) if masks[1] is None else masks[1][:, :, None])
    entries = []
    for victim in range(len(weight)):
        rows, columns = torch.cat([mask[victim] for mask in known], dim=1).nonzero(as_tuple=True)
        entries.append((rows, columns, torch.cat([part[victim] for part in whole], dim=1)[rows, columns]))
    return PartialTarget(entries, *weight.shape[1:])

"""A linear layer's weight as the engine multiplies with it: few rows (victims) at a time, over and over.

With so few rows the time goes into reading the weight. A CPU's matrix product reads a wide weight in leaps, at a third
of what its memory gives; cut into panels that lie in one piece each, it is read from beginning to end.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

PANEL = 32
"""Columns of a panel: of 16 to 256 the fastest or close to it both ways, with 8 and with 16 rows."""
WIDE = 1 << 18
"""Entries from which a weight no longer stays in a core's own cache."""


class Weight:
    """weight (outputs, inputs); `up` multiplies with its transpose, as a forward pass does, `down` with itself."""

    def __init__(self, weight: Tensor, wide: int = WIDE) -> None:
        self.weight, self.outputs, self.inputs = weight, *weight.shape
        self._up = self._down = None
        if weight.device.type == "cpu" and weight.numel() >= wide:
            self._up, self._down = _panels(weight.T), _panels(weight)

    def up(self, rows: Tensor, onto: Tensor | None = None) -> Tensor:
        """rows (N, inputs) @ weight^T, plus onto (N, outputs) or (outputs,)."""
        if self._up is None or len(rows) == 1:
            return rows @ self.weight.T if onto is None else torch.addmm(onto, rows, self.weight.T)
        product = _through(rows, self._up, self.outputs)
        return product if onto is None else product.add_(onto)

    def down(self, rows: Tensor, onto: Tensor | None = None) -> Tensor:
        """rows (N, outputs) @ weight, plus onto (N, inputs)."""
        if self._down is None or len(rows) == 1:
            return rows @ self.weight if onto is None else torch.addmm(onto, rows, self.weight)
        product = _through(rows, self._down, self.inputs)
        return product if onto is None else product.add_(onto)


def _panels(matrix: Tensor) -> Tensor:
    """(rows, columns) as (columns / PANEL, rows, PANEL), filled up with zeros."""
    missing = -matrix.shape[1] % PANEL
    matrix = F.pad(matrix, (0, missing)) if missing else matrix
    return matrix.unflatten(1, (-1, PANEL)).transpose(0, 1).contiguous()


def _through(rows: Tensor, panels: Tensor, width: int) -> Tensor:
    product = torch.bmm(rows.expand(len(panels), *rows.shape), panels)
    return product.transpose(0, 1).flatten(1)[:, :width]

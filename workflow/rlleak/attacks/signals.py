"""The error at the network's output from which a candidate's gradient is computed.

A signal takes the output (N, outputs) and the candidates, and gives the error e = dJ/doutput and a function that pulls
the matching loss's derivative by e back to the output and to the signal's own variables.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

PullBack = Callable[[Tensor], tuple[Tensor | None, dict[str, Tensor]]]
ErrorSignal = Callable[[Tensor, Mapping[str, Tensor]], tuple[Tensor, PullBack]]


@dataclass(frozen=True)
class ErrorDirection:
    """Eq. 6: the error is the shared gradient of the last bias, (N, outputs), whatever the candidate's output is."""

    direction: Tensor

    def __call__(self, output: Tensor, inputs: Mapping[str, Tensor]) -> tuple[Tensor, PullBack]:
        return self.direction, lambda adjoint: (None, {})


@dataclass(frozen=True)
class SquaredError:
    """DQN's own objective J = (p . Q_hat - y)^2: e = 2 (p . Q_hat - y) p, with the target y (N,) always optimised.

    action: p as fixed one-hot rows (N, outputs), or None: p = softmax of the optimised `action_logits` (N, outputs).
    """

    action: Tensor | None = None

    def __call__(self, output: Tensor, inputs: Mapping[str, Tensor]) -> tuple[Tensor, PullBack]:
        names = ["target"] if self.action is not None else ["target", "action_logits"]
        with torch.enable_grad():
            leaves = [output.detach().requires_grad_(), *(inputs[name].detach().requires_grad_() for name in names)]
            policy = self.action if self.action is not None else leaves[2].softmax(dim=1)
            error = 2 * ((policy * leaves[0]).sum(dim=1) - leaves[1])[:, None] * policy

        def pull_back(adjoint: Tensor) -> tuple[Tensor | None, dict[str, Tensor]]:
            parts = torch.autograd.grad(error, leaves, adjoint)
            return parts[0], dict(zip(names, parts[1:], strict=True))

        return error.detach(), pull_back

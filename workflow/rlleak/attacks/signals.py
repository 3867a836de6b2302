"""The error at the network's output from which a candidate's gradient is computed.

A signal takes the output (N, outputs) and the candidates, and gives the error e = dJ/doutput and a function that pulls
the matching loss's derivative by e back to the output and to the signal's own variables.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from rlleak.attacks.targets import dot

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
    slope: 2, or what stands there instead (of Huber's function 1).
    """

    action: Tensor | None = None
    slope: int = 2

    def __call__(self, output: Tensor, inputs: Mapping[str, Tensor]) -> tuple[Tensor, PullBack]:
        target = inputs["target"]
        policy = self.action if self.action is not None else inputs["action_logits"].softmax(dim=1)
        miss = self.slope * (dot(policy, output) - target)

        def pull_back(adjoint: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            by_miss = self.slope * dot(adjoint, policy)
            gradients = {"target": -by_miss}
            if self.action is None:
                by_policy = by_miss[:, None] * output + miss[:, None] * adjoint
                gradients["action_logits"] = policy * (by_policy - dot(policy, by_policy)[:, None])
            return by_miss[:, None] * policy, gradients

        return miss[:, None] * policy, pull_back

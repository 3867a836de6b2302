"""First-order minimisation of a loss per row, many rows at once: each row is a candidate for one victim."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rlleak.attacks.checkpoints import Checkpoint
from rlleak.configuration.attacks import StageSettings

Evaluate = Callable[[Mapping[str, Tensor]], tuple[Tensor, Mapping[str, Tensor]]]
SECOND_MOMENT = 0.999
# Far below any gradient here: Adam's usual 1e-8 would be large beside the derivative of a cosine by one pixel.
EPSILON = 1e-15


@dataclass
class Variable:
    """Something to optimise: start (N, ...), the unit of its step size, and the box it is kept in."""

    start: Tensor
    unit: float = 1.0
    bounds: tuple[float | None, float | None] | None = None

    def __post_init__(self) -> None:
        self.start = self.start.clone()
        self.project(self.start)

    def project(self, value: Tensor) -> None:
        if self.bounds is not None:
            value.clamp_(*self.bounds)


def step_share(stage: StageSettings, iteration: int) -> float:
    """Step size at an iteration as a share of the first."""
    done = iteration / max(1, stage.iterations - 1)
    final = stage.final_step
    if stage.schedule == "constant":
        return 1.0
    if stage.schedule == "cosine":
        return final + (1 - final) * (1 + math.cos(math.pi * done)) / 2
    if stage.schedule == "exponential":
        return final**done
    return 0.1 ** sum(done >= eighths / 8 for eighths in (3, 5, 7))


class Adam:
    """Adam (Kingma and Ba 2015), or on the gradient's sign; its state is plain tensors."""

    def __init__(self, values: dict[str, Tensor], variables: Mapping[str, Variable], stage: StageSettings) -> None:
        self.values, self.variables, self.stage = values, variables, stage
        self.signed = stage.optimiser == "signed_adam"
        self.means = {name: torch.zeros_like(value) for name, value in values.items()}
        self.squares = {name: torch.zeros_like(value) for name, value in values.items()}

    def step(self, gradients: Mapping[str, Tensor], iteration: int) -> None:
        """One update of the values in place; iteration counts from 0."""
        first = 1 - self.stage.momentum ** (iteration + 1)
        second = 1 - SECOND_MOMENT ** (iteration + 1)
        size = self.stage.step_size * step_share(self.stage, iteration)
        for name, value in self.values.items():
            gradient = gradients[name].sign() if self.signed else gradients[name]
            mean = self.means[name].lerp_(gradient, 1 - self.stage.momentum)
            square = self.squares[name].mul_(SECOND_MOMENT).addcmul_(gradient, gradient, value=1 - SECOND_MOMENT)
            root = (square / second).sqrt_().add_(EPSILON)
            value.addcdiv_(mean, root, value=-size * self.variables[name].unit / first)
            self.variables[name].project(value)


def minimise(
    evaluate: Evaluate,
    variables: Mapping[str, Variable],
    stage: StageSettings,
    key: str,
    checkpoint: Checkpoint,
    report: Callable[[int, Tensor], None] = lambda iteration, loss: None,
) -> tuple[dict[str, Tensor], Tensor]:
    """The iterate of lowest loss of each row, and that loss (N,), after `stage.iterations` gradient evaluations.

    evaluate: values -> (matching loss (N,), derivatives; those may include a prior that the loss does not).
    key: this piece of work's name in the checkpoint. report: called with the iteration and the losses.
    """
    if (result := checkpoint.finished(key)) is not None:
        device = next(iter(variables.values())).start.device
        values = {name: tensor.to(device) for name, tensor in result.items()}
        return values, values.pop("loss")
    values = {name: variable.start.clone() for name, variable in variables.items()}
    optimiser = Adam(values, variables, stage)
    best = {name: value.clone() for name, value in values.items()}
    rows = len(next(iter(values.values())))
    best_loss = next(iter(values.values())).new_full((rows,), math.inf)
    state = {
        "loss": best_loss,
        **{f"value.{name}": tensor for name, tensor in values.items()},
        **{f"best.{name}": tensor for name, tensor in best.items()},
        **{f"mean.{name}": tensor for name, tensor in optimiser.means.items()},
        **{f"square.{name}": tensor for name, tensor in optimiser.squares.items()},
    }
    start = 0
    if (resumed := checkpoint.running(key)) is not None:
        start, saved = resumed
        for name, tensor in state.items():
            tensor.copy_(saved[name])
    for iteration in range(start, stage.iterations):
        if iteration > start and checkpoint.due():
            checkpoint.keep(key, iteration, state)
        loss, gradients = evaluate(values)
        better = (loss < best_loss).nonzero()[:, 0]
        best_loss[better] = loss[better]
        for name, value in values.items():
            best[name][better] = value[better]
        report(iteration, loss)
        if iteration + 1 < stage.iterations:
            optimiser.step(gradients, iteration)
    checkpoint.finish(key, {**best, "loss": best_loss})
    return best, best_loss

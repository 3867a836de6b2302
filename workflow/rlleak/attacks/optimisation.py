"""First-order minimisation of a loss per row, many rows at once: each row is a candidate for one victim."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor
from torch.optim.adam import adam

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
    bounds: tuple[float | None, float | None] | tuple[Tensor, Tensor] | None = None

    def __post_init__(self) -> None:
        # Images with their channels last in memory, as the engine's derivatives come.
        kept = torch.channels_last if self.start.dim() == 4 else torch.contiguous_format
        self.start = self.start.clone(memory_format=kept)
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


def _in_memory_order(value: Tensor) -> Tensor:
    """A view without gaps, whose copies torch's fused Adam then spares itself."""
    last = value.dim() == 4 and value.is_contiguous(memory_format=torch.channels_last)
    return value.permute(0, 2, 3, 1) if last else value


class Adam:
    """Adam (Kingma and Ba 2015), or on the gradient's sign; its state is plain tensors.

    start: the first iteration. On a GPU the count of iterations and the step size are tensors too, so that a recorded
    step can be played again.
    """

    def __init__(
        self, values: dict[str, Tensor], variables: Mapping[str, Variable], stage: StageSettings, start: int = 0
    ) -> None:
        self.values, self.variables, self.stage = values, variables, stage
        self.signed = stage.optimiser == "signed_adam"
        self.means = {name: torch.zeros_like(value) for name, value in values.items()}
        self.squares = {name: torch.zeros_like(value) for name, value in values.items()}
        device = next(iter(values.values())).device
        self.steps = {name: torch.full((), float(start), device=device) for name in values}
        self.sizes = self.done = None
        if device.type == "cuda":
            shares = [step_share(stage, iteration) for iteration in range(stage.iterations)]
            self.sizes = torch.tensor(shares, device=device).mul_(stage.step_size)
            self.done = torch.full((1,), start, device=device)

    def step(self, gradients: Mapping[str, Tensor], iteration: int) -> None:
        """One update of the values in place; iteration: one more each time."""
        if self.sizes is None:
            size: float | Tensor = self.stage.step_size * step_share(self.stage, iteration)
        else:
            size = self.sizes.index_select(0, self.done)[0]
            self.done += 1
        for name, value in self.values.items():
            gradient = gradients[name].sign() if self.signed else gradients[name]
            if gradient.stride() != value.stride():
                gradient = torch.empty_like(value).copy_(gradient)
            adam(
                [_in_memory_order(value)],
                [_in_memory_order(gradient)],
                [_in_memory_order(self.means[name])],
                [_in_memory_order(self.squares[name])],
                [],
                [self.steps[name]],
                fused=True,
                amsgrad=False,
                beta1=self.stage.momentum,
                beta2=SECOND_MOMENT,
                lr=size * self.variables[name].unit,
                weight_decay=0.0,
                eps=EPSILON,
                maximize=False,
            )
            self.variables[name].project(value)


class Replayed:
    """A function without arguments that, on a GPU, is recorded once as a CUDA graph and played again ever after.

    It must be the same work on the same tensors each time, without asking the GPU for a number. Where recording fails
    it is called as it is.
    """

    WARM_UP = 3
    """Calls before recording, in which libraries set themselves up."""

    def __init__(self, function: Callable[[], Tensor], device: torch.device) -> None:
        self._function, self._calls, self._graph = function, 0, None
        self._may = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._may else None

    def __call__(self) -> Tensor:
        if self._graph is None and self._may:
            if self._calls >= self.WARM_UP:
                self._record()
            else:
                self._calls += 1
                return self._beside()
        if self._graph is None:
            return self._function()
        self._graph.replay()
        return self._result

    def _beside(self) -> Tensor:
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            result = self._function()
        torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._result = self._function()
        except RuntimeError:  # something in it cannot be recorded; nothing has been computed yet
            torch.cuda.synchronize()
            self._may = False
        else:
            self._graph = graph


def keep_better(best: Mapping[str, Tensor], values: Mapping[str, Tensor], better: Tensor) -> None:
    """best = values in the rows that are better, (N,), without a GPU being asked which those are."""
    if better.device.type == "cpu" and better.all():
        for name, value in values.items():
            best[name].copy_(value)
        return
    for name, value in values.items():
        chosen = better.view(-1, *(1,) * (value.dim() - 1))
        torch.where(chosen, value, best[name], out=best[name])


class Minimisation(ABC):
    """A minimisation in progress: values, the best of them so far, and what a checkpoint keeps of it.

    evaluate: values -> (matching loss (N,), derivatives; those may include a prior that the loss does not). state: what
    a checkpoint keeps, to which a subclass adds what its `step` remembers.
    """

    def __init__(self, evaluate: Evaluate, variables: Mapping[str, Variable]) -> None:
        self.evaluate = evaluate
        self.values = {name: variable.start.clone() for name, variable in variables.items()}
        self.best = {name: value.clone() for name, value in self.values.items()}
        first = next(iter(self.values.values()))
        self.best_loss = first.new_full((len(first),), math.inf)
        self.state = {
            "loss": self.best_loss,
            **{f"value.{name}": tensor for name, tensor in self.values.items()},
            **{f"best.{name}": tensor for name, tensor in self.best.items()},
        }

    def iterate(self) -> Tensor:
        """One gradient evaluation and one step; the losses (N,) before it."""
        loss, gradients = self.evaluate(self.values)
        better = loss < self.best_loss
        torch.where(better, loss, self.best_loss, out=self.best_loss)
        keep_better(self.best, self.values, better)
        self.step(gradients)
        return loss

    @abstractmethod
    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Moves the values, in place."""


class Descent(Minimisation):
    """By Adam, as a stage's settings say; start: the iteration that the next one is."""

    def __init__(
        self, evaluate: Evaluate, variables: Mapping[str, Variable], stage: StageSettings, start: int = 0
    ) -> None:
        super().__init__(evaluate, variables)
        self.iterations = count(start)
        self.optimiser = Adam(self.values, variables, stage, start)
        self.state |= {f"mean.{name}": tensor for name, tensor in self.optimiser.means.items()}
        self.state |= {f"square.{name}": tensor for name, tensor in self.optimiser.squares.items()}

    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Adam's step."""
        self.optimiser.step(gradients, next(self.iterations))


def minimise(
    evaluate: Evaluate,
    variables: Mapping[str, Variable],
    stage: StageSettings,
    key: str,
    checkpoint: Checkpoint,
    report: Callable[[int, Tensor], None] = lambda iteration, loss: None,
    replayable: bool = False,
    begin: Callable[[Evaluate, Mapping[str, Variable], StageSettings, int], Minimisation] = Descent,
) -> tuple[dict[str, Tensor], Tensor]:
    """The iterate of lowest loss of each row, and that loss (N,), after `stage.iterations` gradient evaluations.

    evaluate: see `Minimisation`. key: this work's name in the checkpoint. report: called with the iteration and the
    losses, which the next iteration writes over. replayable: evaluate does the same on the same tensors each time, so
    a GPU may record it. begin: makes the minimisation.
    """
    device = next(iter(variables.values())).start.device
    if (result := checkpoint.finished(key)) is not None:
        values = {name: tensor.to(device) for name, tensor in result.items()}
        return values, values.pop("loss")
    start, saved = checkpoint.running(key) or (0, {})
    descent = begin(evaluate, variables, stage, start)
    for name, tensor in saved.items():
        descent.state[name].copy_(tensor)
    run = Replayed(descent.iterate, device) if replayable else descent.iterate
    for iteration in range(start, stage.iterations):
        if iteration > start and checkpoint.due():
            checkpoint.keep(key, iteration, descent.state)
        report(iteration, run())
    checkpoint.finish(key, {**descent.best, "loss": descent.best_loss})
    return descent.best, descent.best_loss

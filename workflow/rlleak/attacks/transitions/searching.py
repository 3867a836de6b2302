"""Guesses optimised side by side: starting points, pieces that fit into memory, and how wrong their gradients are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rlleak.attacks.checkpoints import Checkpoint
from rlleak.attacks.optimisation import Descent, minimise
from rlleak.attacks.running import name_of
from rlleak.attacks.transitions.gradients import SharedGradients
from rlleak.attacks.transitions.matching import COMPONENTS, Problem, TransitionMatching
from rlleak.attacks.transitions.objective import Guess, TemporalDifference
from rlleak.attacks.transitions.quasi_newton import PAIRS, QuasiNewton
from rlleak.configuration.attacks import StageSettings
from rlleak.errors import ResourceError
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.seeds import derive

Progress = Callable[[str, int, int, float], None]
"""Called with stage, gradient evaluations done, evaluations in all, mean loss."""

CPU_NUMBERS = 2**24
"""Numbers at once on a CPU: more rows gain nothing once the caches are full."""


@dataclass(frozen=True)
class Workplace:
    """What searching needs beside what is sought: the attacker's seed and beliefs, memory in bytes, and who is told."""

    priors: Mapping[str, TransitionPrior]
    seed: int
    checkpoint: Checkpoint
    progress: Progress
    memory_limit: int | None = None


@dataclass(frozen=True)
class Found:
    """guess: (V, P, B, ...) by component. loss: (V, P), the method's own. seconds: it took, over all processes that a
    checkpoint was handed through.
    """

    guess: dict[str, Tensor]
    loss: Tensor
    seconds: float

    def take(self, problems: Tensor) -> "Found":
        """Some of the problems."""
        share = self.seconds * len(problems) / self.loss.shape[1]
        return Found({name: value[:, problems] for name, value in self.guess.items()}, self.loss[:, problems], share)


def moment(checkpoint: Checkpoint, name: str) -> float:
    """Seconds on this work's clock when it first came by the place of this name, in whichever process that was."""
    kept = checkpoint.finished(name)
    if kept is None:
        kept = {"seconds": torch.tensor(checkpoint.seconds, dtype=torch.float64)}
        checkpoint.finish(name, kept)
    return float(kept["seconds"])


def search(
    victims: TemporalDifference,
    problems: Sequence[Problem],
    stage: StageSettings,
    place: Workplace,
    key: str,
    quasi_newton: bool = False,
) -> Found:
    """The best iterates of all problems of all victims. key: this work's name in the checkpoint, and in reports.

    Raises ResourceError if not even one row fits into memory.
    """
    begun = moment(place.checkpoint, f"{key} begun")
    most = rows_at_once(victims, place.memory_limit, quasi_newton)
    across = min(len(problems), most)
    each = max(1, most // across)
    parts = []
    for start in range(0, len(victims.update), each):
        some = of_victims(victims, slice(start, start + each))
        columns = []
        for first in range(0, len(problems), across):
            own = problems[first : first + across]
            name = f"{key} {start}-{start + len(some.update) - 1}" + (f" {first}" if across < len(problems) else "")
            columns.append(_solve(some, own, stage, place, name, quasi_newton))
        parts.append(_joined(columns, 1))
    guess, loss = _joined(parts, 0)
    return Found(guess, loss, moment(place.checkpoint, f"{key} ended") - begun)


def _solve(
    victims: TemporalDifference,
    problems: Sequence[Problem],
    stage: StageSettings,
    place: Workplace,
    key: str,
    quasi_newton: bool,
) -> tuple[dict[str, Tensor], Tensor]:
    matching = TransitionMatching(victims, problems, place.priors, scaled=not quasi_newton)
    variables = matching.variables(starting_points(victims, problems, place.seed))
    every = max(1, stage.iterations // 20)

    def told(iteration: int, loss: Tensor) -> None:
        if (iteration + 1) % every == 0 or iteration + 1 == stage.iterations:
            place.progress(key, iteration + 1, stage.iterations, float(loss.mean()))

    begin: Any = partial(QuasiNewton, sizes=matching.sizes) if quasi_newton else Descent
    values, loss = minimise(matching, variables, stage, key, place.checkpoint, told, begin=begin)
    guess, rows = matching.guess(values), (len(victims.update), len(problems))
    return {name: value.view(*rows, *value.shape[1:]) for name, value in guess.items()}, loss.view(*rows)


def _joined(parts: list[tuple[dict[str, Tensor], Tensor]], along: int) -> tuple[dict[str, Tensor], Tensor]:
    guesses, losses = zip(*parts, strict=True)
    return {name: torch.cat([guess[name] for guess in guesses], along) for name in guesses[0]}, torch.cat(losses, along)


def of_victims(victims: TemporalDifference, chosen: slice) -> TemporalDifference:
    """The same loss for some of the victims."""
    return TemporalDifference(victims.update.select(chosen))


def starting_points(victims: TemporalDifference, problems: Sequence[Problem], seed: int) -> dict[str, Tensor]:
    """Standard Gaussian noise, (V * P, B, ...) by component.

    It depends on the seed, the component, the victim's own update and the restart: every method and variant starts at
    the same points, however rows are cut.
    """
    size, shape = victims.batch_size, victims.state_shape
    shapes = {"state": shape, "next_state": shape, "action": (victims.actions,), "reward": ()}
    restarts = sorted({problem.restart for problem in problems})
    place = {restart: index for index, restart in enumerate(restarts)}
    order = torch.tensor([place[problem.restart] for problem in problems])
    like, starts = next(iter(victims.network.parameters.values())), {}
    names = [name_of(victims.update, victim) for victim in range(len(victims.update))]
    for name in COMPONENTS:
        drawn = []
        for own in names:
            noises = [
                torch.randn(
                    size, *shapes[name], generator=torch.Generator().manual_seed(derive(seed, name, own, restart))
                )
                for restart in restarts
            ]
            drawn.append(torch.stack(noises)[order])
        starts[name] = torch.cat(drawn).to(like)
    return starts


def rows_at_once(victims: TemporalDifference, memory_limit: int | None, quasi_newton: bool = False) -> int:
    """How many rows are optimised at once. Raises ResourceError if one does not fit."""
    some = next(iter(victims.network.parameters.values()))
    numbers, element = row_numbers(victims, quasi_newton), some.element_size()
    shared = [*victims.update.gradients.values(), *victims.update.parameters.values()]
    held = 2 * sum(tensor.numel() for tensor in shared) * element
    if some.device.type == "cuda":
        free = torch.cuda.mem_get_info(some.device)[0]
        memory_limit = min(memory_limit or free, int(0.8 * free))
    most = 2**62 if some.device.type == "cuda" else max(1, CPU_NUMBERS // numbers)
    if memory_limit is not None:
        if held + numbers * element > memory_limit:
            raise ResourceError(
                f"one guess at a transition takes {(held + numbers * element) / 2**30:.2f} GB and the limit is "
                f"{memory_limit / 2**30:.2f} GB; raise memory_limit_gb"
            )
        most = min(most, (memory_limit - held) // (numbers * element))
    return max(1, int(most))


def row_numbers(victims: TemporalDifference, quasi_newton: bool = False) -> int:
    """Upper estimate of the numbers that one row takes: what is optimised, both passes, and a transition model's."""
    state = torch.Size(victims.state_shape).numel()
    values = 2 * state + victims.actions + 1
    total = (12 + (2 * PAIRS if quasi_newton else 0)) * values
    for network in (victims.network, *([victims.actor] if victims.actor else [])):
        spec = network.spec
        total += 2 * 10 * (spec.linear_inputs + sum(spec.hidden))
        channels = spec.image_shape[0] if spec.image_shape is not None else 0
        for layer, (wide, height, width) in zip(spec.convolutions, spec.feature_shapes, strict=True):
            total += 2 * height * width * (8 * wide + 3 * channels * layer.kernel**2)
            channels = wide
    total += 30 * state if len(victims.state_shape) == 3 else 12 * 256
    return victims.batch_size * total


@torch.no_grad()
def gradient_error(victims: TemporalDifference, guess: Guess, memory_limit: int | None = None) -> Tensor:
    """|g - g*| / |g*| of guesses (V, R, B, ...), (V, R), in float64: differences of squares need it."""
    restarts = guess["reward"].shape[1]
    most = max(1, rows_at_once(victims, memory_limit) // 4)  # twice the bytes, and the updates once more
    across = min(restarts, most)
    each = max(1, most // across)
    parts = []
    for start in range(0, len(victims.update), each):
        own = in_double(of_victims(victims, slice(start, start + each)))
        target, columns = SharedGradients(own.update, own.samples), []
        for first in range(0, restarts, across):
            some = {name: value[start : start + each, first : first + across] for name, value in guess.items()}
            columns.append(_difference(own, target, some))
        parts.append(torch.cat(columns, dim=1))
    return torch.cat(parts).to(guess["reward"])


def _difference(victims: TemporalDifference, target: SharedGradients, guess: Guess) -> Tensor:
    candidates = guess["reward"].shape[1]
    like = victims.update.gradients["head.weight"]
    rows = {name: value.flatten(0, 1).to(like) for name, value in guess.items()}
    errors = victims.errors(rows)
    deltas = victims.network.backward(errors.trace, errors.error)
    products = target.products(deltas, errors.trace.inputs, len(rows["reward"]), candidates)
    return target.difference(products).sqrt()


def in_double(victims: TemporalDifference) -> TemporalDifference:
    """The same in float64."""
    groups = {name: getattr(victims.update, name) for name in ("parameters", "gradients", "others")}
    doubled = {name: {key: value.double() for key, value in group.items()} for name, group in groups.items()}
    return TemporalDifference(replace(victims.update, **doubled))

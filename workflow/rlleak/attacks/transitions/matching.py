"""RGIA's loss (He, arXiv 2512.00303, section 4.2) of many guesses at once: distance + alpha R_s + beta R_r + gamma R_f.

Rows are V victims by P problems: an attack's variant with its weights, a restart, perhaps a step size that is tried.
All run through one network as one tensor program.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlleak.attacks.layers import like
from rlleak.attacks.optimisation import Variable
from rlleak.attacks.transitions.gradients import SharedGradients
from rlleak.attacks.transitions.known import known_errors
from rlleak.attacks.transitions.objective import Guess, TemporalDifference
from rlleak.attacks.variation import total_variation
from rlleak.priors.transition_prior import TransitionPrior

COMPONENTS = ("state", "next_state", "action", "reward")


@dataclass(frozen=True)
class Problem:
    """What one of a victim's P guesses is optimised for.

    gradient: weight of the distance between gradients. cosine: 1 - cos(g, g*) instead of |g - g*|^2 / |g*|^2, which is
    relative so that one set of weights means the same for every victim; the same for all P. reads_error: the error at
    the output is read off the shared gradient where it can be, instead of computed. alpha, beta, gamma: weights of R_s,
    R_r and R_f; prior: whose. variation: weight of the total variation. restart: which starting point.
    """

    step_size: float
    restart: int = 0
    gradient: float = 1.0
    cosine: bool = False
    reads_error: bool = False
    alpha: float = 0.0
    beta: float = 0.0
    gamma: float = 0.0
    prior: str = "none"
    variation: float = 0.0


class TransitionMatching:
    """Loss and derivative of V * P guesses, a victim's P one after another.

    Values are optimised in units of each problem's step size: Adam does not mind scale, so a step of 1 there is each
    problem's own. Discrete actions are the softmax of what is optimised.
    """

    def __init__(
        self,
        victims: TemporalDifference,
        problems: Sequence[Problem],
        priors: Mapping[str, TransitionPrior],
        scaled: bool = True,
    ) -> None:
        self.victims, self.problems, self.priors = victims, tuple(problems), priors
        self.target = SharedGradients(victims.update, victims.samples)
        self.count = len(victims.update)
        some = next(iter(victims.network.parameters.values()))
        self._like = some
        self.sizes = self._each("step_size").repeat(self.count)
        self.step = self.sizes if scaled else torch.ones_like(self.sizes)
        self.gradient = self._each("gradient")
        self.known = self._each("reads_error").bool().repeat(self.count)
        given = known_errors(victims) if bool(self.known.any()) else None
        if given is None:
            self.known = self.given = None
        else:
            self.given = given.repeat_interleave(len(problems), dim=0)
        self._penalties = [self._penalty(name) for name in sorted({problem.prior for problem in problems})]
        self._matches = any(problem.gradient for problem in self.problems)
        variation = self._each("variation")
        self._variation = variation if bool(variation.any()) and len(victims.state_shape) == 3 else None

    def _each(self, name: str) -> Tensor:
        return torch.tensor([float(getattr(problem, name)) for problem in self.problems]).to(self._like)

    def _penalty(self, name: str) -> tuple[TransitionPrior, dict[str, tuple[Tensor, Tensor]]]:
        """A prior, and for each of its terms which problems it weighs on, (p,), and how much, (p,)."""
        own = torch.tensor([problem.prior == name for problem in self.problems], device=self._like.device)
        terms = {}
        for term in ("alpha", "beta", "gamma"):
            weight = self._each(term)
            chosen = (own & (weight > 0)).nonzero()[:, 0]
            if len(chosen):
                terms[term] = chosen, weight[chosen]
        return self.priors[name].to(self._like.device, self._like.dtype) if terms else self.priors[name], terms

    def variables(self, starts: Guess) -> dict[str, Variable]:
        """What is optimised, from starting points in their own units.

        Pixels stay in [0, 1] and continuous actions in [-1, 1], which anybody knows of the environment's spaces.
        """
        found = {}
        for name in COMPONENTS:
            start = starts[name] / like(self.step, starts[name])
            limits = None
            if name in ("state", "next_state") and len(self.victims.state_shape) == 3:
                limits = (0.0, 1.0)
            elif name == "action" and self.victims.continuous:
                limits = (-1.0, 1.0)
            if limits is not None:
                limits = tuple(like(limit / self.step, start) for limit in limits)
            found[name] = Variable(start, bounds=limits)
        return found

    def guess(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Optimised values as guesses, (V * P, B, ...)."""
        guess = {name: value * like(self.step, value) for name, value in values.items()}
        if not self.victims.continuous:
            guess["action"] = guess["action"].softmax(dim=2)
        return guess

    def __call__(self, values: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss (V * P,) and its derivatives by the values."""
        leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
        with torch.enable_grad():
            loss = self.loss(self.guess(leaves))
            found = torch.autograd.grad(loss.sum(), list(leaves.values()), allow_unused=True)
        gradients = {
            name: torch.zeros_like(value) if gradient is None else gradient
            for (name, value), gradient in zip(leaves.items(), found, strict=True)
        }
        return loss.detach().flatten(), gradients

    def loss(self, guess: Guess) -> Tensor:
        """(V, P), of guesses (V * P, B, ...)."""
        total = guess["reward"].new_zeros(self.count, len(self.problems))
        if self._matches:
            total = total + self.gradient * self.distance(guess)
        for prior, terms in self._penalties:
            total = self._penalised(total, prior, terms, guess)
        if self._variation is not None:
            pixels = guess["state"].flatten(0, 1)
            variation = total_variation(pixels).view(self.count, len(self.problems), -1).mean(dim=2)
            total = total + self._variation * variation
        return total

    def distance(self, guess: Guess) -> Tensor:
        """Between the guesses' gradients and the shared ones, (V, P)."""
        rows, candidates = len(guess["reward"]), len(self.problems)
        errors = self.victims.errors(guess, self.known, self.given)
        deltas = self.victims.network.backward(errors.trace, errors.error)
        products = self.target.products(deltas, errors.trace.inputs, rows, candidates)
        return self.target.angle(products) if self.problems[0].cosine else self.target.difference(products)

    def _penalised(self, total: Tensor, prior: TransitionPrior, terms: Mapping, guess: Guess) -> Tensor:
        shaped = {name: value.view(self.count, len(self.problems), *value.shape[1:]) for name, value in guess.items()}
        for term, (chosen, weight) in terms.items():
            part = {name: value[:, chosen] for name, value in shaped.items()}
            if term == "alpha":
                penalty = prior.state_penalty(part["state"])
            elif term == "beta":
                penalty = prior.reward_penalty(part["reward"])
            else:
                penalty = prior.dynamics_penalty(part["state"], part["action"], part["next_state"])
            total = total.index_add(1, chosen, weight * penalty.mean(dim=2))
        return total

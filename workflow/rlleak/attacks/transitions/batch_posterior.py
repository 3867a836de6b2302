"""The transitions of a noisy batch: the attacker's own, drawn as often as they explain what arrived (Bayes).

Where noise is longer than a batch's update, no single guess explains it and matching ends at the noise. Averages still
follow what is probable: a batch's gradient is the mean of its transitions' gradients, so that of batches made of known
transitions, their inner products tell how probable each is. Batches are drawn by Gibbs sampling (Geman and Geman 1984),
and the guess is the one that is expected to be nearest to them, as the one without any gradient (`blind`) is to the
attacker's own batches.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from rlleak.attacks.running import name_of
from rlleak.attacks.transitions.blind import expected, features, settled
from rlleak.attacks.transitions.exactness import deviations, longest
from rlleak.attacks.transitions.objective import Guess, TemporalDifference
from rlleak.attacks.transitions.running import Task
from rlleak.configuration.attacks import TransitionSettings
from rlleak.configuration.defences import parts_of, relative_of
from rlleak.errors import ConfigurationError
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.seeds import derive

ATOMS = 1200
"""Transitions near the attacker's own, beside them."""
CHAINS, SWEEPS, SETTLING = 48, 10, 5
"""Batches at once; how often each transition in them is drawn anew; the sweeps before they count."""
AVERAGED = 160
"""Of the batches that count, those to which the guess is nearest."""
ROUNDS = 6
MISSED = 0.1
"""Of an update's square beyond its noise, what the attacker's own transitions need not explain: none is a victim's."""


@torch.no_grad()
def transition_posterior(task: Task, settings: TransitionSettings) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The same guess in each restart, (V, R, B, ...) by component, and no trust. For noise on whole updates.

    Raises ConfigurationError for states that are images, of which a thousand gradients do not fit into memory, and
    where parts of an update did not arrive, or it is not a mean over its transitions.
    """
    victims, prior = task.victims, task.place.priors[settings.prior]
    _check(victims)
    seed = derive(task.place.seed, "posterior")
    atoms = neighbours(prior, seed)
    points = features(replace(prior, transitions=atoms))
    explained = _Explained(victims, atoms)
    guesses = []
    for victim in range(len(task.update)):
        generator = torch.Generator().manual_seed(derive(seed, name_of(task.update, victim)))
        batches = explained.batches(victim, generator)
        chosen = batches[torch.randperm(len(batches), generator=generator)[:AVERAGED]]
        laid = settled(points, chosen, ROUNDS)
        guesses.append(expected(atoms, laid))
        task.place.progress("posterior", victim + 1, len(task.update), 0.0)
    like = prior.state_mean
    whole = {name: torch.stack([guess[name] for guess in guesses]).to(like)[:, None] for name in guesses[0]}
    return {name: value.expand(-1, settings.restarts, *value.shape[2:]).clone() for name, value in whole.items()}, {}


def neighbours(prior: TransitionPrior, seed: int) -> dict[str, Tensor]:
    """The attacker's own transitions, and more around them (a kernel density of Silverman's width): name -> (N, ...).

    States vary no more than they did (Silverman 1986, section 6.4.1); one that is moved takes its next state along, as
    far as the transition model says.
    """
    own = {name: value.to(prior.state_mean) for name, value in prior.transitions.items()}
    count, size = own["state"].shape
    width = (4 / ((size + 2) * count)) ** (1 / (size + 4))
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(count, (ATOMS,), generator=generator).to(prior.state_mean.device)
    drawn = torch.randn(ATOMS, size, generator=generator).to(prior.state_mean)
    around = {name: value[chosen] for name, value in own.items()}
    before, after = around["state"], around["next_state"]
    middle, spread = prior.state_mean, torch.linalg.cholesky(prior.state_covariance.double()).to(before)
    moved = middle + (before - middle + width * drawn @ spread.T) / (1 + width**2) ** 0.5
    if prior.learnt:
        after = after + prior.predict(moved, around["action"]) - prior.predict(before, around["action"])
    else:
        after = after + moved - before
    around |= {"state": moved, "next_state": after}
    return {name: torch.cat([own[name], around[name]]) for name in own}


class _Explained:
    """How probable batches of some transitions, named by their numbers (N,), make V updates."""

    def __init__(self, victims: TemporalDifference, atoms: Guess) -> None:
        update = victims.update
        alone = TemporalDifference(replace(update, batch_size=1)).share(atoms).gradients
        parts = [
            (alone[name].double().flatten(1), value.double().flatten(1)) for name, value in update.gradients.items()
        ]
        # Inner products, of transitions' gradients with each other (N, N) and with what arrived (V, N).
        self._products = sum(own @ own.T for own, _ in parts).cpu()
        self._with_arrived = sum(arrived @ own.T for own, arrived in parts).cpu()
        self._arrived = sum(arrived.square().sum(dim=1) for _, arrived in parts).cpu()
        counts = {name: value[0].numel() for name, value in update.gradients.items()}
        variances = {name: value.square().flatten(1).mean(dim=1) for name, value in deviations(update).items()}
        self._numbers = sum(counts.values())
        variance = sum(variances[name] * counts[name] for name in counts) / self._numbers
        beyond = (self._arrived / self._numbers - variance.cpu()).clamp_min(0.0)
        self._variance = (variance.cpu() + MISSED * beyond).clamp_min(1e-30)  # of who shared nothing there is none
        self._size, self._longest, self._relative = update.batch_size, longest(update), _relative(update.defence)

    def batches(self, victim: int, generator: torch.Generator) -> Tensor:
        """Draws (n, B) from what is probable; in the first sweeps noise is taken for longer than it is."""
        count = len(self._products)
        drawn = torch.randint(count, (CHAINS, self._size), generator=generator)
        kept = []
        for sweep in range(SWEEPS):
            cooled = min(1.0, (sweep + 1) / SETTLING)
            for place in range(self._size):
                others = torch.cat([drawn[:, :place], drawn[:, place + 1 :]], dim=1)
                chance = torch.softmax(cooled * self._likelihood(victim, others), dim=1)
                drawn[:, place] = torch.multinomial(chance, 1, generator=generator)[:, 0]
            if sweep >= SETTLING:
                kept.append(drawn.clone())
        return torch.cat(kept)

    def _likelihood(self, victim: int, others: Tensor) -> Tensor:
        """The logarithm, but for a constant, of batches of others (C, B - 1) and each transition: (C, N)."""
        along = self._products[others].sum(dim=1)
        square = along.gather(1, others).sum(dim=1, keepdim=True) + 2 * along + self._products.diagonal()
        arrived = self._with_arrived[victim]
        inner = arrived[others].sum(dim=1, keepdim=True) + arrived
        square, inner = square / self._size**2, inner / self._size
        if self._longest is not None:
            share = (self._longest / square.clamp_min(1e-30).sqrt()).clamp(max=1.0)
            square, inner = share.square() * square, share * inner
        variance = self._variance[victim]
        if self._relative is not None:
            # How long the noise is tells how long the update was: of thousands of numbers to a few percent.
            variance = self._relative**2 * square.clamp_min(1e-30) / self._numbers
        left = self._arrived[victim] - 2 * inner + square
        return -self._numbers / 2 * torch.log(variance) - left / (2 * variance)


def _relative(defence: Mapping[str, Any]) -> float | None:
    """Of noise that alone was added, its length over the update's; None of any other."""
    parts = parts_of(defence)
    return relative_of(parts[0]) if len(parts) == 1 and parts[0]["method"] == "gaussian_noise" else None


def _check(victims: TemporalDifference) -> None:
    if len(victims.state_shape) > 1:
        raise ConfigurationError(
            "transition_posterior takes states that are vectors; leave it out where they are images"
        )
    methods = [part["method"] for part in parts_of(victims.update.defence)]
    if victims.update.known or "local_steps" in methods:
        raise ConfigurationError(
            f"transition_posterior is for noise on whole updates of one step, not for {' and '.join(methods)}; "
            "leave it out there"
        )

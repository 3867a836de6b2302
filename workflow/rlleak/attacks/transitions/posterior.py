"""What an update says of its transitions beside what was believed before: the posterior's modes, by Gauss-Newton.

Believed: s ~ N(mean, covariance), of the attacker's own transitions; e, the error at the output, as theirs would have
it. Arrived: the gradient, with noise of known variance (`exactness`). Where nothing arrived exactly enough the mode is
the prior's mean, where everything did it is the truth.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.pieces import Pieces
from rlleak.attacks.transitions.tuning import own_transitions
from rlleak.priors.transition_prior import TransitionPrior

ROUNDS = 15
DRAWN = 128
"""States that are drawn from the prior, beside the attacker's own, to choose starts from."""


@dataclass(frozen=True)
class Beliefs:
    """Of what the network reads, x ~ N(mean, precision^-1), (D,) and (D, D), and of a sample's error e, (); float64.

    examples: (N, D), x of such transitions.
    """

    mean: Tensor
    precision: Tensor
    error_mean: Tensor
    error_deviation: Tensor
    examples: Tensor

    @classmethod
    def of(cls, victims: TemporalDifference, prior: TransitionPrior, seed: int) -> "Beliefs":
        own = own_transitions(victims, prior, seed, most=DRAWN)
        own = {name: value.to(prior.state_mean).double() for name, value in own.items()}
        error = victims.errors({name: value[:, None] for name, value in own.items()}).error
        error = error.sum(dim=1) / victims.batch_size
        mean, covariance = prior.state_mean.double(), prior.state_covariance.double()
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.randn(DRAWN, len(mean), generator=generator, dtype=torch.float64).to(mean.device)
        states = torch.cat([own["state"], mean + drawn @ torch.linalg.cholesky(covariance).T])
        if victims.continuous:
            action = own["action"]
            spread = action.var(dim=0)
            mean, covariance = torch.cat([mean, action.mean(dim=0)]), torch.block_diag(covariance, torch.diag(spread))
            further = action[torch.randint(len(action), (DRAWN,), generator=generator).to(action.device)]
            states = torch.cat([states, torch.cat([action, further])], dim=1)
        return cls(mean, torch.linalg.inv(covariance), error.mean(), error.std().clamp_min(1e-9), states)

    def any_error(self) -> "Beliefs":
        """Of the error of a gradient that was shortened, only that it is not longer."""
        deviation = (self.error_mean.square() + self.error_deviation.square()).sqrt()
        return replace(self, error_mean=torch.zeros_like(deviation), error_deviation=deviation)


@dataclass(frozen=True)
class Modes:
    """C guesses at K samples for each of V victims: inputs (V, C, K, D), error and taken (V, C, K); energy (V, C), the
    negative logarithm of their probability, but for a constant; curvature (V, C, n, n), its second derivative by error
    and inputs, sample after sample; misfit (V, C), what they leave of what arrived, as a share of the noise's variance:
    about 1 at the truth.
    """

    inputs: Tensor
    error: Tensor
    taken: Tensor
    energy: Tensor
    curvature: Tensor
    misfit: Tensor

    def beside(self, other: "Modes") -> "Modes":
        """Both's guesses."""
        return Modes(*(torch.cat(pair, dim=1) for pair in zip(vars(self).values(), vars(other).values(), strict=True)))

    def take(self, chosen: Tensor) -> "Modes":
        """Of each victim some of the guesses, (V, c)."""
        rows = torch.arange(len(chosen), device=chosen.device)[:, None]
        return Modes(*(value[rows, chosen] for value in vars(self).values()))


class Posterior:
    """Of the samples in V updates."""

    def __init__(self, pieces: Pieces, beliefs: Beliefs) -> None:
        self.pieces, self.beliefs = pieces, beliefs

    def at(self, inputs: Tensor, taken: Tensor, error: Tensor | None = None) -> Modes:
        """Guesses that were not moved; error: None: the most probable one, for K = 1."""
        return self._weighed(inputs, taken, error)[0]

    def _weighed(self, inputs: Tensor, taken: Tensor, error: Tensor | None) -> tuple[Modes, Tensor]:
        """And the energy's derivative, (V, C, n)."""
        first, second = self.pieces.normal_equations(inputs, taken)
        beliefs, with_one = self.beliefs, torch.cat([torch.ones_like(inputs[..., :1]), inputs], dim=3)
        if error is None:
            alone = with_one[:, :, 0]
            by_prior = beliefs.error_deviation**-2
            along = (alone * second).sum(dim=2) + beliefs.error_mean * by_prior
            curved = torch.einsum("vca,vcab,vcb->vc", alone, first, alone)
            error = (along / (curved + by_prior))[..., None]
        guess = (error[..., None] * with_one).flatten(2)
        reached = (first @ guess[..., None])[..., 0]
        square = self.pieces.square[:, None] - (guess * (2 * second - reached)).sum(dim=2)
        count = self.pieces.count[:, None]
        # What cannot be explained counts as noise that nobody spoke of.
        misfit = square.clamp_min(0) / count.clamp_min(1)
        trust = 1 / misfit.clamp_min(1)
        energy = count / 2 * torch.where(misfit <= 1, misfit, 1 + misfit.clamp_min(1).log())
        off, miss = inputs - beliefs.mean, (error - beliefs.error_mean) / beliefs.error_deviation
        pull = off @ beliefs.precision
        energy = energy + (off * pull).sum(dim=(2, 3)) / 2 + miss.square().sum(dim=2) / 2
        turn = self._turn(inputs, error)
        slope = (turn.transpose(2, 3) @ (reached - second)[..., None])[..., 0] * trust[..., None]
        slope = slope + torch.cat([(miss / beliefs.error_deviation)[..., None], pull], dim=3).flatten(2)
        curvature = turn.transpose(2, 3) @ first @ turn * trust[..., None, None]
        each = torch.block_diag(beliefs.error_deviation.view(1, 1) ** -2, beliefs.precision)
        curvature = curvature + torch.block_diag(*[each] * inputs.shape[2])
        return Modes(inputs, error, taken, energy, curvature, misfit), slope

    @staticmethod
    def _turn(inputs: Tensor, error: Tensor) -> Tensor:
        """d(e [1, x]) / d(e, x), (V, C, n, n)."""
        size = inputs.shape[3] + 1
        blocks = error[..., None, None] * torch.eye(size, dtype=inputs.dtype, device=inputs.device)
        blocks[..., 0] = torch.cat([torch.ones_like(inputs[..., :1]), inputs], dim=3)
        samples = inputs.shape[2]
        whole = blocks.new_zeros(*inputs.shape[:2], samples, size, samples, size)
        index = torch.arange(samples)
        whole[:, :, index, :, index] = blocks.movedim(2, 0)
        return whole.flatten(4).flatten(2, 3)

    def improved(self, modes: Modes) -> Modes:
        """The modes that guesses lead to, by damped Gauss-Newton steps (Levenberg 1944, Marquardt 1963)."""
        here, slope = self._weighed(modes.inputs, modes.taken, modes.error)
        damping = torch.full_like(here.energy, 1e-3)
        for _ in range(ROUNDS):
            diagonal = here.curvature.diagonal(dim1=2, dim2=3)
            unit = diagonal.rsqrt()
            scaled = here.curvature * unit[..., None] * unit[..., None, :]
            scaled = scaled + torch.diag_embed(damping[..., None].expand_as(unit))
            step = -unit * torch.linalg.solve(scaled, (unit * slope)[..., None])[..., 0]
            step = step.view(*here.inputs.shape[:3], -1)
            there, after = self._weighed(here.inputs + step[..., 1:], here.taken, here.error + step[..., 0])
            better = there.energy < here.energy
            damping = torch.where(better, damping / 10, damping * 10).clamp(1e-12, 1e8)
            pairs = zip(vars(there).values(), vars(here).values(), strict=True)
            here = Modes(*(_either(better, *pair) for pair in pairs))
            slope = _either(better, after, slope)
        return here


def _either(chosen: Tensor, one: Tensor, other: Tensor) -> Tensor:
    return torch.where(chosen.view(*chosen.shape, *[1] * (one.dim() - 2)), one, other)

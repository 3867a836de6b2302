"""One transition from an update that a defence blurred or cut: what arrived, weighed against what was believed before.

Algebra needs every entry of a layer, or takes noise for signal; here the posterior's modes are joined to its mean.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlleak.attacks.transitions.exactness import longest
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.pieces import Pieces, applies
from rlleak.attacks.transitions.posterior import Beliefs, Modes, Posterior
from rlleak.attacks.transitions.reading import Read
from rlleak.attacks.transitions.searching import CPU_NUMBERS, in_double
from rlleak.attacks.transitions.signs import from_signs, signs_alone
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.sharing.update import SharedUpdate

LEAST = (0.3, 0.03, 0.0)
"""Deviations, relative to a layer's own size, that entries are taken to have at least, round after round: first the
right piece of the network is sought, then the point in it."""

STARTS = 8
"""Of the most probable of the attacker's own states, beside the mean and what algebra reads."""

UNEXPLAINED, HOPS, HOP = 1.5, 4, 0.3
"""Of the noise's variance, what the best mode must leave for others to be sought around it, how often, and how far, in
the prior's deviations."""

SHORTENED = 0.999
"""Of the norm to which gradients are shortened, from which on one counts as shortened."""


@dataclass(frozen=True)
class Weighed:
    """Of V victims over one transition: state (V, *S), action (V, A), value: Q(s, a), target: y, doubt: y's variance,
    (V,), each a posterior mean; target is NaN where the gradient was shortened. deviation: (V,), expected root mean
    square error of s, in the prior's deviations: 0 where it is read, 1 where nothing is.
    """

    state: Tensor
    action: Tensor
    value: Tensor
    target: Tensor
    doubt: Tensor
    deviation: Tensor


def can_weigh(victims: TemporalDifference) -> bool:
    """Whether this is about one sample of a network of linear layers and ReLUs."""
    return victims.samples == 1 and applies(victims.network.spec)


@torch.no_grad()
def weighed(victims: TemporalDifference, found: Read, prior: TransitionPrior, seed: int) -> Weighed:
    """What is known of each victim's transition. found: what algebra reads of them, to start from among others."""
    exact = in_double(victims)
    beliefs = Beliefs.of(exact, prior, seed)
    if longest(victims.update) is not None:
        beliefs = beliefs.any_error()
    starts = _examples(exact, beliefs)
    parts = []
    for victim in range(len(victims.update)):
        some = slice(victim, victim + 1)
        update, modes = victims.update.select(some), None
        if signs_alone(update):
            modes = from_signs(update, beliefs)
        if modes is None:
            modes = _modes(update, beliefs, starts, _read_already(found, beliefs, victims.continuous, some), seed)
        parts.append(_mean(exact, modes, prior))
    return Weighed(*(torch.cat([getattr(part, name) for part in parts]) for name in vars(parts[0])))


def _modes(
    update: SharedUpdate, beliefs: Beliefs, starts: tuple[Tensor, Tensor], read: tuple[Tensor, Tensor], seed: int
) -> Modes:
    """Where one victim's update and the prior lead to, from the likeliest starts and what was read.

    As long as noise does not explain what the best one leaves, it is a wrong piece of the network: on from around it.
    """
    rounds = [Posterior(Pieces.of(update, least), beliefs) for least in LEAST]
    modes = _likely(rounds[0], *starts).beside(rounds[0].at(*read))
    for posterior in rounds:
        modes = posterior.improved(modes)
    generator, spread = torch.Generator().manual_seed(seed), torch.linalg.inv(beliefs.precision).diagonal().sqrt()
    for _ in range(HOPS):
        best = modes.take(modes.energy.argmin(dim=1, keepdim=True))
        if float(best.misfit) < UNEXPLAINED:
            break
        drawn = torch.randn(1, STARTS, 1, len(spread), generator=generator, dtype=torch.float64).to(spread.device)
        hopped = rounds[1].at(best.inputs + HOP * spread * drawn, best.taken.expand(-1, STARTS, -1))
        for posterior in rounds[1:]:
            hopped = posterior.improved(hopped)
        modes = best.beside(hopped)
    return modes


def _examples(victims: TemporalDifference, beliefs: Beliefs) -> tuple[Tensor, Tensor]:
    """Inputs (1, C, 1, D) and outputs (1, C, 1): the mean and all examples, with every discrete action."""
    outputs = 1 if victims.continuous else victims.actions
    inputs = torch.cat([beliefs.mean[None], beliefs.examples])
    taken = torch.arange(outputs, device=inputs.device).repeat_interleave(len(inputs))
    return inputs.repeat(outputs, 1)[None, :, None], taken[None, :, None]


def _likely(posterior: Posterior, inputs: Tensor, taken: Tensor) -> Modes:
    """The most probable guesses, and each output's first one, the mean."""
    width = sum(weight.shape[1] + 1 for weight in posterior.pieces.weights.values()) * (inputs.shape[3] + 1)
    each = max(1, CPU_NUMBERS // (4 * width))
    energy = torch.cat(
        [posterior.at(*pair).energy for pair in zip(inputs.split(each, 1), taken.split(each, 1), strict=True)], dim=1
    )
    chosen = energy.topk(min(STARTS, energy.shape[1]), largest=False).indices
    outputs = int(taken.max()) + 1
    means = torch.arange(outputs, device=chosen.device)[None] * (inputs.shape[1] // outputs)
    chosen = torch.cat([chosen, means], dim=1)[0]
    return posterior.at(inputs[:, chosen], taken[:, chosen])


def _read_already(found: Read, beliefs: Beliefs, continuous: bool, some: slice) -> tuple[Tensor, Tensor]:
    """Inputs (1, 1, 1, D) and outputs (1, 1, 1) that algebra gives, or the mean."""
    state, action = found.state[some].double(), found.action[some].double()
    inputs = torch.cat([state, action], dim=2) if continuous else state
    usable = (found.given[some] & inputs.isfinite().all(dim=2))[..., None]
    inputs = torch.where(usable, inputs, beliefs.mean)
    taken = torch.zeros_like(action[..., 0]) if continuous else action.argmax(dim=2)
    return inputs[:, None], taken.long()[:, None]


def _mean(victims: TemporalDifference, modes: Modes, prior: TransitionPrior) -> Weighed:
    """Over modes, each as probable as its height and width say (Laplace's approximation)."""
    evidence = -modes.energy - torch.linalg.slogdet(modes.curvature)[1] / 2
    share = evidence.softmax(dim=1)
    inputs, error = modes.inputs[:, :, 0], modes.error[:, :, 0]
    covariance = torch.linalg.inv(modes.curvature)
    size = len(prior.state_mean)
    state = inputs[..., :size]
    if victims.continuous:
        action, outputs = inputs[..., size:].clamp(-1, 1), torch.zeros_like(modes.taken[:, :, 0])
    else:
        outputs = modes.taken[:, :, 0]
        action = torch.nn.functional.one_hot(outputs, victims.actions).to(inputs)
    value, slope = _value(victims, inputs, outputs)
    per_error = 1 if victims.huber else 2
    target = value - error / per_error
    turn = torch.cat([torch.full_like(value, -1 / per_error)[..., None], slope], dim=2)
    doubt = torch.einsum("vca,vcab,vcb->vc", turn, covariance, turn)
    unknown = _shortened(victims, inputs, outputs, error, covariance[..., 0, 0].sqrt())
    mean = _over(share, target)
    doubt = _over(share, doubt + (target - mean[:, None]).square())
    spread = _over(share, covariance.diagonal(dim1=2, dim2=3)[..., 1 : size + 1])
    middle = _over(share, state)
    spread = spread + _over(share, (state - middle[:, None]).square())
    deviation = (spread / prior.state_scale.double().square()).mean(dim=1).sqrt()
    best = share.argmax(dim=1, keepdim=True)
    mean = torch.where(unknown.gather(1, best)[:, 0], torch.nan, mean)
    return Weighed(middle, _over(share, action), _over(share, value), mean, doubt, deviation)


def _over(share: Tensor, value: Tensor) -> Tensor:
    return (share.view(*share.shape, *[1] * (value.dim() - 2)) * value).sum(dim=1)


def _value(victims: TemporalDifference, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Q(s, a) (V, C), and its slope by what the network reads (V, C, D)."""
    with torch.enable_grad():
        leaf = inputs.detach().requires_grad_()
        every = victims.network({"vector": leaf.flatten(0, 1)}).view(*outputs.shape, -1)
        value = every.gather(2, outputs[..., None])[..., 0]
        (slope,) = torch.autograd.grad(value.sum(), leaf)
    return value.detach(), slope


def _shortened(
    victims: TemporalDifference, inputs: Tensor, outputs: Tensor, error: Tensor, deviation: Tensor
) -> Tensor:
    """Whether gradients of such a length are what clipping makes of longer ones, as far as is known, (V, C) bool."""
    norm = longest(victims.update)
    if norm is None:
        return torch.zeros_like(error, dtype=torch.bool)
    trace = victims.network.forward({"vector": inputs.flatten(0, 1)})
    above = torch.nn.functional.one_hot(outputs.flatten(), trace.output.shape[1]).to(inputs)
    deltas, square = victims.network.backward(trace, above), 0.0
    for name, delta in deltas.items():
        read = trace.inputs[name].square().sum(dim=1) + float(victims.network.spec.bias)
        square = square + delta.square().sum(dim=1) * read
    return (error.abs() + 2 * deviation) * square.sqrt().view_as(error) >= SHORTENED * norm

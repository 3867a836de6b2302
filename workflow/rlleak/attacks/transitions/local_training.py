"""Transitions behind several local steps (FedAvg), for an attacker who knows how many there were and how long."""

from collections.abc import Callable

import torch
from torch import Tensor

from rlleak.attacks.local_steps import LocalTraining
from rlleak.attacks.local_steps_search import Samples, explain
from rlleak.attacks.running import name_of
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.reading import Read
from rlleak.configuration.defences import parts_of
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.seeds import derive

ATOMS = 1000
"""States of the attacker's own among which a start is sought."""

CLAIMED = 1e-5
"""Relative misfit from which samples are claimed: updates are in float32, and a wrong order leaves far more."""


def steps_of(victims: TemporalDifference) -> tuple[int, float] | None:
    """How many local steps there were, and how long, where several were and their training can be simulated.

    That takes a semi-gradient of the squared error of a network of linear layers with biases, all of which arrived.
    """
    update, spec = victims.update, victims.network.spec
    local = next((part for part in parts_of(update.defence) if part["method"] == "local_steps"), None)
    linear = spec.image_shape is None and not spec.vector_width and spec.bias
    told = not (update.known or victims.residual or victims.huber or update.loss.get("shortened", False))
    if local is None or local["steps"] == 1 or not linear or not told:
        return None
    return int(local["steps"]), float(local["step_size"])


@torch.no_grad()
def read_simulated(
    victims: TemporalDifference,
    prior: TransitionPrior,
    restarts: int,
    seed: int,
    progress: Callable[[str, int, int, float], None],
) -> Read:
    """What local training must have been made from: samples whose simulated training leaves what was shared.

    All are given; claimed where nothing but rounding is left to explain. prior: where searching starts. Needs
    `steps_of(victims)`. errors: of each sample when it was met.
    """
    steps, step_size = steps_of(victims)
    atoms, rows = _atoms(victims, prior, derive(seed, "atoms")), []
    for victim in range(len(victims.update)):
        own = derive(seed, "local training", name_of(victims.update, victim))
        training = LocalTraining.of(victims.update.select(slice(victim, victim + 1)), steps, step_size, own)
        found = explain(training, atoms, restarts, own)
        rows.append(_as_read(victims, training, found))
        progress("local training", victim + 1, len(victims.update), float(found.misfit))
    columns = zip(*(vars(row).values() for row in rows), strict=True)
    return Read(*(torch.cat(part) for part in columns))


def _atoms(victims: TemporalDifference, prior: TransitionPrior, seed: int) -> Tensor:
    """What the network may have read, (N, D), float64: the attacker's own transitions, or draws from its beliefs."""
    generator, have = torch.Generator().manual_seed(seed), len(prior.transitions.get("reward", ()))
    device = prior.state_mean.device
    if have:
        some = torch.randperm(have, generator=generator)[:ATOMS]
        state, action = (prior.transitions[name].cpu()[some].double() for name in ("state", "action"))
    else:
        drawn = torch.randn(ATOMS, *victims.state_shape, generator=generator, dtype=torch.float64)
        state = prior.state_mean.cpu().double() + prior.state_scale.cpu().double() * drawn
        action = torch.rand(ATOMS, victims.actions, generator=generator, dtype=torch.float64) * 2 - 1
    return victims.observation(state, action)["vector"].to(device)


def _as_read(victims: TemporalDifference, training: LocalTraining, found: Samples) -> Read:
    """One victim's samples as transitions, (1, B, ...)."""
    like = next(iter(victims.network.parameters.values()))
    _, outputs = training(found.inputs, found.errors)
    place = found.errors.abs().argmax(dim=2, keepdim=True)
    sizes = torch.tensor(training.sizes, device=place.device)[training.step_of.to(place.device)]
    # A step's loss is a mean over its own samples, and its target is the server's network's: y = Q_k(s, a) - e n_k / 2.
    target = (outputs - found.errors * sizes[:, None] / 2).gather(2, place)[..., 0]
    vector, count = found.inputs, victims.actions
    action = vector[..., -count:] if victims.continuous else torch.nn.functional.one_hot(place[..., 0], count)
    state = vector[..., :-count] if victims.continuous else vector
    chosen = victims.network({"vector": vector[0].to(like)}).gather(1, place[0])[:, 0][None]
    given = torch.ones_like(place[..., 0], dtype=torch.bool)
    claimed = given & (found.misfit < CLAIMED)[:, None]
    empty, never = torch.zeros_like(state), torch.zeros_like(given)
    error = chosen.double() - target
    parts = [state, action, chosen, error, given, claimed, claimed, empty, never]
    return Read(*(part if part.dtype == torch.bool else part.to(like) for part in parts))

"""All attacks on one update's transitions in one call: variants, victims and restarts as rows of one tensor program."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rlleak.artefacts import device_name, provenance
from rlleak.attacks.checkpoints import Checkpoint, fingerprint
from rlleak.attacks.running import peak_memory, zero_update
from rlleak.attacks.transitions import ATTACKS, OWN
from rlleak.attacks.transitions.known import reward_by_algebra
from rlleak.attacks.transitions.local_training import read_simulated, steps_of
from rlleak.attacks.transitions.matching import COMPONENTS
from rlleak.attacks.transitions.methods import Search
from rlleak.attacks.transitions.normalising import Normalised
from rlleak.attacks.transitions.objective import TemporalDifference
from rlleak.attacks.transitions.reading import Read, leans_on_states, read
from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
from rlleak.attacks.transitions.searching import Found, Progress, Workplace, gradient_error, moment, search
from rlleak.attacks.transitions.tuning import best_steps, errors_against, own_transitions
from rlleak.configuration.attacks import StageSettings, TransitionSettings
from rlleak.errors import ConfigurationError
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.seeds import derive
from rlleak.sharing.defences import defend
from rlleak.sharing.update import SharedUpdate


@dataclass
class Task:
    """Some victims' updates, on the device, and everything else that an attack on them may know; read: gives what
    algebra reads of them, to who asks. label: what work on them is called in the checkpoint.
    """

    victims: TemporalDifference
    place: Workplace
    read: Callable[[], Read] | None = None
    label: str = "matching"

    @property
    def update(self) -> SharedUpdate:
        return self.victims.update


def run_together(
    update: SharedUpdate,
    attacks: Mapping[str, TransitionSettings],
    priors: Mapping[str, TransitionPrior],
    *,
    seed: int,
    device: str | torch.device = "cpu",
    memory_limit: int | None = None,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
) -> dict[str, TransitionReconstruction]:
    """Attacks all victims of an update with every attack, by name; those that are not adaptive take what arrived of it
    for the whole gradient as it was.

    priors: by amount, at least those that the settings name; one that did not learn its transition model switches R_f
    off, and `trust["model_learnt"]` is 0. seed: the attacker's. memory_limit: bytes that tensors may hold at once.
    checkpoint: where work in progress is kept, or None; the caller removes it. Raises ConfigurationError for losses,
    networks, priors and weights that do not fit; ResourceError if one guess does not fit into memory.
    """
    update.check()
    on = torch.device(device)
    normalised = Normalised(update, priors)
    described = {name: settings.model_dump(mode="json") for name, settings in attacks.items()}
    kept = Checkpoint(checkpoint, fingerprint(update, described, seed, 0, priors) if checkpoint else "")
    moved = {name: prior.to(on, _dtype(update)) for name, prior in normalised.priors.items()}
    place = Workplace(moved, seed, kept, progress or (lambda *said: None), memory_limit)
    views = []
    for seen, label in ((update, "matching"), (update.taken_as_whole(), "naive matching")):
        own = {name: settings for name, settings in attacks.items() if settings.adaptive == (seen is update)}
        if own:
            _check(TemporalDifference(seen), own, priors)
            views.append((seen, label, own))
    found: dict[str, TransitionReconstruction] = {}
    for seen, label, own in views:  # all checked before the first is paid for
        found |= _run(Task(TemporalDifference(seen.to(on)), place, label=label), own)
    return {name: normalised.restored(found[name], settings.prior) for name, settings in attacks.items()}


def _run(task: Task, attacks: Mapping[str, TransitionSettings]) -> dict[str, TransitionReconstruction]:
    """All attacks that see the update alike."""
    kept = task.place.checkpoint
    searches = {name: method for name in attacks if isinstance(method := ATTACKS.load(attacks[name].method), Search)}
    found, told = match(task, {name: attacks[name] for name in searches}, searches, task.label)
    trust: dict[str, dict[str, Tensor]] = {name: {} for name in attacks}
    reads: dict[str, tuple[Read, float]] = {}
    for name in (name for name in attacks if name not in searches):
        again: list[float] = []
        task.read = partial(_read_once, task, attacks[name], reads, again)
        begun = moment(kept, f"attack {name} begun")
        guess, trust[name] = ATTACKS.load(attacks[name].method)(task, attacks[name])
        spent = sum(again) + moment(kept, f"attack {name} ended") - begun  # each would have to read on its own
        found[name] = Found(guess, gradient_error(task.victims, guess, task.place.memory_limit), spent)
    return {name: _assembled(task, attacks[name], found[name], trust[name], told.get(name, {})) for name in attacks}


def _read_once(
    task: Task, settings: TransitionSettings, reads: dict[str, tuple[Read, float]], again: list[float]
) -> Read:
    """What algebra reads, once for all attacks that ask; again: gets the seconds that an earlier one spent on it."""
    # What is read off one gradient owes nothing to a prior; what is simulated does, and images of sums.
    leans = steps_of(task.victims) or leans_on_states(task.victims)
    beliefs = settings.prior if leans else ""
    if beliefs in reads:
        again.append(reads[beliefs][1])
    else:
        reads[beliefs] = _read(task, beliefs, settings.restarts)
    return reads[beliefs][0]


def _read(task: Task, beliefs: str, restarts: int) -> tuple[Read, float]:
    """What algebra reads, or what several local steps were made from; kept once it is whole, and the seconds."""
    place = task.place
    key = f"{task.label} reading {beliefs}"
    begun = moment(place.checkpoint, f"{key} begun")
    found = place.checkpoint.finished(key)
    if found is None:
        if steps_of(task.victims):
            found = read_simulated(task.victims, place.priors[beliefs], restarts, place.seed, place.progress)
        else:
            mean = place.priors[beliefs].state_mean if beliefs else None
            found = read(task.victims, place.seed, place.memory_limit, place.progress, mean)
        found = {name: value.clone() for name, value in vars(found).items()}  # some are the same tensor
        place.checkpoint.finish(key, found)
    device = task.update.gradients["head.weight"].device
    whole = Read(**{name: value.to(device) for name, value in found.items()})
    return whole, moment(place.checkpoint, f"{key} ended") - begun


def match(
    task: Task, attacks: Mapping[str, TransitionSettings], searches: Mapping[str, Search], label: str = "matching"
) -> tuple[dict[str, Found], dict[str, Any]]:
    """Attacks that match gradients: their guesses (V, R, B, ...), and how their step sizes were found.

    label: what this work is called in the checkpoint, once per task.
    """
    steps, told = tune(task, attacks, searches, label)
    found: dict[str, Found] = {}
    for key, names in _alike(attacks, searches).items():
        problems, owner = [], []
        for name in names:
            for restart in range(attacks[name].restarts):
                problems.append(searches[name].problem(attacks[name], steps[name], restart))
                owner.append(name)
        stage = _stage(attacks[names[0]], searches[names[0]], attacks[names[0]].iterations)
        newton = searches[names[0]].optimiser == "lbfgs"
        whole = search(task.victims, problems, stage, task.place, f"{label} {key}", newton)
        for name in names:
            chosen = torch.tensor([index for index, other in enumerate(owner) if other == name])
            found[name] = whole.take(chosen.to(whole.loss.device))
            if searches[name].reads_error:
                found[name] = replace(found[name], guess=reward_by_algebra(task.victims, found[name].guess))
    return found, told


def tune(
    task: Task, attacks: Mapping[str, TransitionSettings], searches: Mapping[str, Search], label: str
) -> tuple[dict[str, float], dict[str, Any]]:
    """Each attack's step size, and how it was found: on the attacker's own transitions, with equal evaluations."""
    steps = {name: settings.step_size or settings.candidates[0] for name, settings in attacks.items()}
    told: dict[str, Any] = {name: {"step_size": step} for name, step in steps.items()}
    open_ones = {
        name: settings
        for name, settings in attacks.items()
        if settings.step_size is None and len(settings.candidates) > 1
    }
    for prior in sorted({settings.prior for settings in open_ones.values()}):
        beliefs = task.place.priors[prior]
        truth = own_transitions(task.victims, beliefs, derive(task.place.seed, "own transitions"))
        own = TemporalDifference(_defended(task, truth))
        mine = {name: settings for name, settings in open_ones.items() if settings.prior == prior}
        for key, names in _alike(mine, searches).items():
            tries = [(name, step) for name in names for step in mine[name].candidates]
            problems = [searches[name].problem(mine[name], step, 0) for name, step in tries]
            stage = _stage(mine[names[0]], searches[names[0]], mine[names[0]].search_iterations)
            newton = searches[names[0]].optimiser == "lbfgs"
            found = search(own, problems, stage, task.place, f"{label} tuning {prior} {key}", newton)
            guess = found.guess
            errors = errors_against(truth, guess, beliefs)
            for name in names:
                tried = {step: errors[:, index] for index, (other, step) in enumerate(tries) if other == name}
                steps[name] = best_steps(tried)
                means = {f"{step:g}": float(error.mean()) for step, error in tried.items()}
                share = found.seconds * len(tried) / len(tries)
                told[name] = {"step_size": steps[name], "errors": means, "seconds": share}
    return steps, told


def _defended(task: Task, own: Mapping[str, Tensor]) -> SharedUpdate:
    """What the attacker itself would share of such transitions, by the victims' defence and its own draws."""
    victims, seed = task.victims, derive(task.place.seed, "own defence")
    made = victims.share(own)
    like = made.gradients["head.weight"]
    seen = victims.observation(own["state"].to(like), own["action"].to(like))
    with torch.enable_grad():
        return defend(made, victims.update.defence, seed, range(len(made)), seen, victims.training(own))


def _alike(attacks: Mapping[str, TransitionSettings], searches: Mapping[str, Search]) -> dict[str, list[str]]:
    """Attacks that can be rows of one program, by what it is called."""
    groups: dict[str, list[str]] = {}
    for name, settings in sorted(attacks.items(), key=lambda item: (item[1].prior, item[0])):
        method = searches[name]
        cosine = "cosine" if method.cosine or settings.distance == "cosine" else "l2"
        schedule = method.schedule or settings.schedule
        sizes = f"{settings.iterations} {settings.search_iterations}"
        groups.setdefault(f"{method.optimiser} {cosine} {schedule} {sizes}", []).append(name)
    return groups


def _stage(settings: TransitionSettings, method: Search, iterations: int) -> StageSettings:
    """Adam's steps are taken in each problem's own unit, hence 1; L-BFGS has no schedule."""
    optimiser = "adam" if method.optimiser == "lbfgs" else method.optimiser
    schedule = method.schedule or settings.schedule
    return StageSettings(optimiser=optimiser, schedule=schedule, step_size=1.0, iterations=iterations)


def _assembled(
    task: Task, settings: TransitionSettings, found: Found, trust: Mapping[str, Tensor], told: Mapping[str, Any]
) -> TransitionReconstruction:
    count, device = len(task.update), task.update.gradients["head.weight"].device
    learnt = task.place.priors[settings.prior].learnt
    own = {
        "zero_update": zero_update(task.update),
        "model_learnt": torch.full((count,), float(learnt)),
        "loss": found.loss,
        **trust,
    }
    seconds = found.seconds + told.get("seconds", 0.0)
    metadata = {
        "attack": settings.method,
        "settings": settings.model_dump(mode="json"),
        "tuning": dict(told),
        "seconds_per_victim": seconds / count,
        "peak_memory_mb": peak_memory(device) / 2**20,
        "device": device_name(device),
        "provenance": provenance(),
    }
    return TransitionReconstruction(
        **{name: found.guess[name].cpu() for name in COMPONENTS},
        chosen=found.loss.nan_to_num(torch.inf).argmin(dim=1).cpu(),
        gradient_error=gradient_error(task.victims, found.guess, task.place.memory_limit).cpu(),
        trust={name: value.cpu() for name, value in own.items()},
        metadata=metadata,
    )


def _check(
    victims: TemporalDifference, attacks: Mapping[str, TransitionSettings], priors: Mapping[str, TransitionPrior]
) -> None:
    for name, settings in attacks.items():
        method = ATTACKS.load(settings.method)
        if settings.prior not in priors:
            raise ConfigurationError(f"attack '{name}' asks for prior {settings.prior}, which was not learnt; learn it")
        shape = priors[settings.prior].state_shape
        if shape != victims.state_shape:
            raise ConfigurationError(
                f"prior {settings.prior} is about states of shape {shape}, the update's network reads "
                f"{victims.state_shape}; learn it in the same environment"
            )
        held = len(priors[settings.prior].transitions.get("reward", ()))
        if settings.method in OWN and held < victims.batch_size:
            raise ConfigurationError(
                f"attack '{name}' guesses {victims.batch_size} transitions per update by the attacker's own, and prior "
                f"{settings.prior} holds {held}; take a larger one"
            )
        if isinstance(method, Search):
            method.problem(settings, 1.0, 0)


def _dtype(update: SharedUpdate) -> torch.dtype:
    return next(iter(update.parameters.values())).dtype

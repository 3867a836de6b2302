"""The attacker's search for step sizes, on rooms of its own: there it knows the truth, about victims it never does."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rlleak.attacks import ATTACKS
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.configuration.attacks import AttackSettings
from rlleak.learners.networks import Observation
from rlleak.sharing.update import SharedUpdate


def tune(
    settings: AttackSettings,
    update: SharedUpdate,
    truth: Observation,
    *,
    iterations: Mapping[str, int],
    search_iterations: Mapping[str, int],
    seed: int,
    device: str | torch.device = "cpu",
    memory_limit: int | None = None,
) -> tuple[AttackSettings, dict[str, Any]]:
    """Settings with step sizes and the final iterations, and how they were found (JSON-serialisable).

    update, truth: the attacker's public rooms: what it would share there, and what it saw. iterations,
    search_iterations: "vector" and "image" -> gradient evaluations of the attack itself and of each try. Each stage's
    candidates (each of its optimisers at each of its step sizes) are tried in turn, at an equal number of evaluations,
    the vector's first; a try's error is `stage_error`, and the lowest mean over rooms wins.
    """
    trace: dict[str, Any] = {}
    for name, stage in settings.stages.items():
        settings = settings.with_stage(name, **stage.tries[0], iterations=search_iterations[name])
    attack = ATTACKS.load(settings.method)
    for name, stage in settings.stages.items():
        errors: dict[str, float] = {}
        for candidate in stage.tries if len(stage.tries) > 1 else ():
            tried = _only_up_to(settings.with_stage(name, **candidate), name)
            found = attack(update, tried, seed=seed, device=device, memory_limit=memory_limit)
            errors[_named(candidate)] = float(stage_error(name, found, truth).mean())
        if errors:
            best = min(stage.tries, key=lambda candidate: errors[_named(candidate)])
            settings = settings.with_stage(name, **best)
        trace[name] = {
            "optimiser": getattr(settings, name).optimiser,
            "step_size": getattr(settings, name).step_size,
            "search_iterations": search_iterations[name],
            "error": errors,
        }
    for name in settings.stages:
        settings = settings.with_stage(name, iterations=iterations[name])
    return settings, trace


def _named(candidate: Mapping[str, Any]) -> str:
    return f"{candidate['optimiser']} {candidate['step_size']:g}"


def _only_up_to(settings: AttackSettings, stage: str) -> AttackSettings:
    """Settings that spend nothing on an image while the vector's step size is sought."""
    if stage == "vector" and settings.image is not None and not settings.joint:
        return settings.with_stage("image", iterations=1)
    return settings


def stage_error(stage: str, found: Reconstruction, truth: Observation) -> Tensor:
    """How wrong a stage is, (N,): the image's mean squared error, or the box's (largest of its four sides).

    Where a state has no box, stage 1's matching loss, which needs no truth.
    """
    if stage == "image":
        return (found.image - truth["image"]).square().flatten(1).mean(dim=1)
    if truth.get("vector") is None:
        return found.trust["matching_loss_vector"]
    return (found.vector - truth["vector"]).abs().amax(dim=1)

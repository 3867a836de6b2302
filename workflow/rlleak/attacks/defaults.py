"""An attack by name, with settings of its own: what somebody runs who has an update and no configuration.

config/attacks.yaml says what the paper's tables are made with and leaves step sizes to tuning; here everything has a
value. What both name is the same (tested).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from rlleak.attacks import ATTACKS, METHODS
from rlleak.attacks.reconstruction import Reconstruction
from rlleak.configuration.attacks import AttackSettings, StageSettings
from rlleak.errors import ConfigurationError, ResourceError
from rlleak.registry import unknown_name
from rlleak.sharing.update import SharedUpdate

ITERATIONS = 1000
"""Gradient evaluations per stage: what the reduced scale gives (config/scales/reduced.yaml)."""

STEP_SIZE = 0.3
"""The middle of the candidates that tuning tries for every published stage."""

PREFERRED = ("best", "batch_heads", *METHODS)
"""In which order attacks are asked whether they take an update that comes without an attack's name."""


def default_settings(name: str) -> AttackSettings:
    """Settings with which an attack runs as it is. Raises ConfigurationError for an unknown name."""
    if name not in ATTACKS:
        raise unknown_name("attack", name, ATTACKS.names)
    stages = {stage: StageSettings(step_size=STEP_SIZE, iterations=ITERATIONS) for stage in METHODS[name].stages}
    return AttackSettings(method=name, **stages)


def changed(settings: AttackSettings, changes: Mapping[str, Any]) -> AttackSettings:
    """Settings with some values changed; `iterations` and `step_size` are those of every stage.

    Raises ConfigurationError for a value that attacks do not have.
    """
    for key, value in changes.items():
        try:
            settings = _changed(settings, key, value)
        except ValidationError as error:
            raise ConfigurationError(f"setting '{key}' of an attack: {error.errors()[0]['msg']}") from error
    return settings


def _changed(settings: AttackSettings, key: str, value: Any) -> AttackSettings:
    if key in ("iterations", "step_size") and settings.stages:
        for stage in settings.stages:
            settings = settings.with_stage(stage, **{key: value})
        return settings
    if key in AttackSettings.model_fields and key != "method":
        return AttackSettings.model_validate(settings.model_dump() | {key: value})
    steps = {"iterations", "step_size"} if settings.stages else set()
    known = sorted({*AttackSettings.model_fields, *steps} - {"method"})
    raise unknown_name("setting of an attack", key, known)


def attack_for(update: SharedUpdate) -> str:
    """The first of `PREFERRED` that takes updates of this loss over so many transitions."""
    kind = update.loss.get("kind")
    for name in PREFERRED:
        if kind in METHODS[name].learners and (update.batch_size == 1 or METHODS[name].batches):
            return name
    over = "" if update.batch_size == 1 else f" over {update.batch_size} transitions"
    raise ConfigurationError(f"no attack takes {kind} updates{over}; there is: {', '.join(ATTACKS)}")


def usable(device: str | torch.device) -> torch.device:
    """The device, if torch can compute there."""
    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ConfigurationError(f"device '{device}' is none that torch knows; choose cpu or cuda") from error
    if found.type not in ("cpu", "cuda"):
        raise ConfigurationError(f"attacks do not run on device '{device}'; choose cpu or cuda")
    if found.type == "cuda" and not torch.cuda.is_available():
        raise ResourceError("device is cuda, but torch sees no GPU; choose cpu, or mend the driver")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise ResourceError(f"device is '{device}', but torch sees {torch.cuda.device_count()} GPUs, counted from 0")
    return found


def attack(
    name: str | SharedUpdate | None = None,
    update: SharedUpdate | AttackSettings | None = None,
    settings: AttackSettings | None = None,
    *,
    seed: int = 0,
    device: str | torch.device = "cpu",
    memory_limit_gb: float | None = None,
    checkpoint: str | Path | None = None,
    progress: Callable[[str, int, int, float], None] | None = None,
    knowledge: Mapping[str, Any] | None = None,
    **changes: Any,
) -> Reconstruction:
    """From a shared update back to experience: attack("peel", update), or attack(update) for the best one there is.

    name: in rlleak.attacks.METHODS; default: that of the settings. settings: an `AttackSettings`; default: the
    package's own for this attack, with `changes`: iterations, step_size (of every stage), tv_weight, restarts, and
    other fields of `AttackSettings`. seed: the attacker's. memory_limit_gb: what tensors may hold; work is cut to fit.
    knowledge: what some attacks are told besides (`knows` in METHODS). progress: called with (stage, done, of, loss).
    checkpoint: a file in which long work keeps how far it got, and from which the same call goes on; remove it after.

    The reconstruction's `image` (V, C, H, W) is in [0, 1] and its `vector` as the network reads it;
    `update.observation(reconstruction)` gives both as the network's own observations. Raises ConfigurationError where
    the attack does not take such an update or such knowledge, and for a device that torch does not know; ResourceError
    for one that is not there.
    """
    if isinstance(name, SharedUpdate) and (update is None or settings is None):
        name, update, settings = None, name, settings or update  # without a name: attack(update, settings)
    if not isinstance(update, SharedUpdate):
        raise ConfigurationError("attack needs an update: rlleak.attack('peel', rlleak.share(network, ...))")
    if not isinstance(settings, AttackSettings | None):
        raise ConfigurationError(
            f"an attack's settings are an AttackSettings, not a {type(settings).__name__}; name it first, and single "
            "values by their names: rlleak.attack('qgi', update, iterations=100)"
        )
    name = name or (attack_for(update) if settings is None else settings.method)
    settings = changed(settings or default_settings(name), changes)
    if settings.method != name:
        raise ConfigurationError(f"settings are for '{settings.method}', not '{name}'; name that attack")
    if not all(isinstance(value, Mapping) for name, value in (knowledge or {}).items() if name == "public"):
        raise ConfigurationError("knowledge 'public' is no mapping; give rooms by component: {'image': (P, C, H, W)}")
    if unheard := sorted(set(knowledge or {}) - set(METHODS[name].knows)):
        takes = " and ".join(METHODS[name].knows) or "nothing"
        raise ConfigurationError(f"attack '{name}' is told of {takes} besides, not of '{unheard[0]}'; leave that out")
    return ATTACKS.load(name)(
        update,
        settings,
        seed=seed,
        device=usable(device),
        memory_limit=None if memory_limit_gb is None else int(memory_limit_gb * 2**30),
        checkpoint=None if checkpoint is None else Path(checkpoint),
        progress=progress,
        knowledge=knowledge,
    )

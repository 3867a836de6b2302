"""What an attacker knows without any gradient: the average of its own public rooms. The floor of every table."""

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from rlleak.attacks.reconstruction import Reconstruction
from rlleak.attacks.running import Progress, assemble
from rlleak.configuration.attacks import AttackSettings
from rlleak.errors import ConfigurationError
from rlleak.sharing.update import SharedUpdate

_MEANS = ("image", "vector", "predicted_q", "target_q", "reward", "probabilities")


def prior_only(
    update: SharedUpdate,
    settings: AttackSettings,
    *,
    seed: int,
    device: str | torch.device = "cpu",
    memory_limit: int | None = None,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    public: Mapping[str, Tensor] | None = None,
) -> Reconstruction:
    """The same guess for every victim; only their number is taken from the update.

    public: the attacker's own rooms, (P, ...) each: image, vector, action and whatever of predicted_q, target_q,
    reward, probabilities it has. The guess is their mean, and the commonest action. The other arguments are not
    used. Raises ConfigurationError without public rooms.
    """
    started = time.perf_counter()
    if not public or any(len(value) == 0 for value in public.values()):
        raise ConfigurationError("attack 'prior_only' knows nothing but public rooms and got none; set public_victims")
    victims = len(update)
    found = {name: public[name].float().mean(dim=0) for name in _MEANS if public.get(name) is not None}
    if public.get("action") is not None:
        found["action"] = public["action"].mode().values
    repeated = {name: value.expand(victims, *value.shape).clone() for name, value in found.items()}
    seconds = (time.perf_counter() - started) / victims
    return assemble(repeated, settings, torch.device("cpu"), seconds)

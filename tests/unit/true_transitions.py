"""True transitions in the shapes of environments, and reconstructions of them that are off by a known amount."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from rlleak.attacks.transitions.reconstruction import TransitionReconstruction
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.configuration.thresholds import TransitionThresholds
from rlleak.metrics import TRANSITION_METRICS
from rlleak.metrics.transition_comparison import TransitionComparison, Units, compare_transitions
from rlleak.sharing.private import PrivateSide

UNITS = Units(np.array(2.0), 0.5)
PLACE = {
    **{"simulator": "rooms", "scale": "reduced", "learner": "dqn", "network": "mlp256", "seed": 0, "actions": "any"},
    **{"precision": "float32", "defence": "none", "policy": "random"},
}


def rule(states: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """What follows in these environments: an action moves every number of a state."""
    pushes = actions.astype(np.float32).reshape(len(states), -1).mean(axis=1)
    return (states + pushes[:, None]).astype(np.float32)


def private_side(setting: str, victims: int = 3, batch: int = 2, seed: int = 0) -> PrivateSide:
    """victims * batch transitions that follow `rule`."""
    environment, generator = ENVIRONMENTS[setting], torch.Generator().manual_seed(seed)
    count = victims * batch
    component = "vector" if environment.image_shape is None else "image"
    state = torch.rand(count, *(environment.image_shape or (environment.vector_size,)), generator=generator)
    numbers = 2 * torch.rand(count, environment.actions, generator=generator) - 1
    taken = torch.randint(environment.actions, (count,), generator=generator)
    if component == "image":
        following = torch.cat([state[:, 1:], torch.rand(state[:, :1].shape, generator=generator)], dim=1)
    else:
        following = torch.from_numpy(rule(state.numpy(), (numbers if environment.continuous else taken).numpy()))
    return PrivateSide(
        action=torch.zeros_like(taken) if environment.continuous else taken,
        victim=torch.arange(count) // batch,
        reward=torch.randn(count, generator=generator),
        continuous_action=numbers if environment.continuous else None,
        **{component: state, f"next_{component}": following},
    )


def reconstruction_of(
    private: PrivateSide,
    setting: str,
    batch: int = 2,
    restarts: int = 2,
    noise: Callable[[Tensor], Tensor] = lambda part: part,
) -> TransitionReconstruction:
    """The truth, `restarts` times, each part changed by `noise`."""
    environment = ENVIRONMENTS[setting]
    victims = len(private) // batch
    image = environment.image_shape is not None
    if environment.continuous:
        action = private.continuous_action
    else:
        action = torch.nn.functional.one_hot(private.action, environment.actions).float()
    parts = {
        "state": private.image if image else private.vector,
        "action": action,
        "reward": private.reward,
        "next_state": private.next_image if image else private.next_vector,
    }
    repeated = {
        name: noise(part.unflatten(0, (victims, 1, batch)).repeat(1, restarts, *[1] * part.dim()))
        for name, part in parts.items()
    }
    return TransitionReconstruction(
        **repeated,
        chosen=torch.zeros(victims, dtype=torch.int64),
        gradient_error=torch.zeros(victims, restarts),
        trust={"matching_loss": torch.arange(victims * restarts).view(victims, restarts).float()},
        metadata={"attack": "rgia", "seconds_per_victim": 0.5},
    )


def compared(
    found: TransitionReconstruction, private: PrivateSide, setting: str, successor=rule
) -> TransitionComparison:
    return compare_transitions(found, private, ENVIRONMENTS[setting], UNITS, TransitionThresholds(), successor)


def measured(name: str, *about, **more) -> np.ndarray | None:
    return TRANSITION_METRICS.load(name)(compared(*about, **more))


def blurred(deviation: float, seed: int = 0):
    """Adds the same noise each time it is asked for parts of the same shapes."""
    generator = torch.Generator().manual_seed(seed)
    return lambda part: part + deviation * torch.randn(part.shape, generator=generator)

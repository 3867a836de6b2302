"""Small worlds in the shapes of environments, whose transitions are known."""

import numpy as np
import torch
from torch import Tensor

from rlleak.simulators.transitions import Transitions

HOPPER_STATE, HOPPER_ACTION = 11, 3


def linear_world(count: int, seed: int = 0) -> dict[str, Tensor]:
    """Transitions of a linear system in the shapes of Hopper's."""
    own = torch.Generator().manual_seed(7)
    matrix = 0.3 * torch.randn(HOPPER_STATE, HOPPER_STATE, generator=own)
    push = torch.randn(HOPPER_ACTION, HOPPER_STATE, generator=own)
    generator = torch.Generator().manual_seed(seed)
    state = torch.randn(count, HOPPER_STATE, generator=generator) * torch.linspace(0.1, 3, HOPPER_STATE) + 1
    action = 2 * torch.rand(count, HOPPER_ACTION, generator=generator) - 1
    return {"state": state, "action": action, "next_state": state + state @ matrix + action @ push}


def hopper_transitions(count: int, seed: int = 0, players: int = 20) -> Transitions:
    """A bent linear world as the attacker's own transitions; rewards are the last number's sign."""
    world = linear_world(count, seed)
    following = world["next_state"] + torch.sin(world["state"])
    return Transitions(
        "Hopper",
        {"vector": world["state"].numpy()},
        {"vector": following.numpy()},
        world["action"].numpy(),
        reward=np.sign(world["state"][:, -1].numpy()),
        return_to_go=np.zeros(count, np.float32),
        terminated=np.zeros(count, bool),
        victim=np.arange(count) * players // count,
    )


def pong_transitions(count: int, seed: int = 0) -> Transitions:
    """A bright square that moves right by 4 pixels on a dark stack of frames, or down where the action is 1."""
    own = np.random.default_rng(seed)
    action, corner = own.integers(2, size=count), own.integers(8, 40, size=(count, 2))
    frames = np.zeros((count, 5, 84, 84), np.uint8)
    for row, (y, x) in enumerate(corner):
        places = [(y, x + 4 * frame) for frame in range(4)]
        places.append((y + 4, x + 12) if action[row] else (y, x + 16))
        for frame, (top, left) in enumerate(places):
            frames[row, frame, top : top + 8, left : left + 8] = 200
    flat = np.zeros(count, np.float32)
    observed = {"image": frames[:, :4]}, {"image": frames[:, 1:]}
    return Transitions("Pong", *observed, action, flat, flat, np.zeros(count, bool), np.arange(count))

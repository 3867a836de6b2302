"""Torch modules as users have them, small: for tests of reading, sharing and auditing."""

import torch
from torch import Tensor, nn

torch.set_num_threads(1)


class NatureLike(nn.Module):
    """Shapes as in CleanRL's QNetwork for Atari: bytes in, scaled inside, one nn.Sequential."""

    def __init__(self, actions: int = 5, side: int = 20, padding: int = 0) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 8, 4, 2, padding=padding), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Flatten()]
        with torch.no_grad():
            width = nn.Sequential(*layers)(torch.zeros(1, 3, side, side)).shape[1]
        self.network = nn.Sequential(*layers, nn.Linear(width, 32), nn.ReLU(), nn.Linear(32, actions))

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x / 255.0)


class ActorCritic(nn.Module):
    """Actor and critic on a shared trunk; the value comes first and without its last dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 24), nn.Tanh())
        self.policy, self.critic = nn.Linear(24, 4), nn.Linear(24, 1)
        self.log_std = nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        features = self.trunk(x)
        return {"value": self.critic(features).squeeze(-1), "logits": self.policy(features)}


class CleanRLAgent(nn.Module):
    """CleanRL's PPO agent for vectors: no forward, actor and critic with no layer in common."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 1))
        self.actor = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


class TwoObservations(nn.Module):
    """A camera with its channels last and a box, joined vector first, in an order that no specification has."""

    def __init__(self) -> None:
        super().__init__()
        self.eye, self.box = nn.Conv2d(3, 5, 4, 2), nn.Linear(4, 7)
        self.joint, self.q = nn.Linear(7 + 5 * 49, 20), nn.Linear(20, 3)

    def forward(self, observation: dict[str, Tensor]) -> Tensor:
        image = torch.relu(self.eye(observation["camera"].permute(0, 3, 1, 2)))
        box = torch.relu(self.box(observation["box"]))
        joined = torch.cat([box, image.permute(0, 2, 3, 1).flatten(1)], dim=1)
        return self.q(torch.relu(self.joint(joined)))


def transitions(count: int, shape: tuple[int, ...] = (6,), actions: int = 4, seed: int = 0) -> dict:
    """As stable-baselines3's and CleanRL's buffers name them."""
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *size: torch.rand(*size, generator=generator)  # noqa: E731
    return {
        "obs": draw(count, *shape),
        "next_obs": draw(count, *shape),
        "actions": torch.randint(actions, (count, 1), generator=generator),
        "rewards": draw(count, 1) - 0.5,
        "dones": (draw(count) < 0.3).float(),
    }


def q_network(bias: bool = True) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 24, bias=bias), nn.ReLU(), nn.Linear(24, 4, bias=bias))

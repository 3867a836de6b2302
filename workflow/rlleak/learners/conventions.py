"""How well-known libraries call their policies, where module(observation) does not give Q-values or logits."""

from collections.abc import Callable
from typing import Any

from torch import nn

Forward = Callable[[nn.Module, Any], Any]


def forward_of(module: nn.Module) -> Forward | None:
    """The function that gives logits and value, or Q-values; None where that is the module's own forward."""
    if all(hasattr(module, part) for part in ("extract_features", "mlp_extractor", "action_net", "value_net")):
        return _sb3_actor_critic
    if hasattr(module, "q_net") and hasattr(module, "q_net_target"):
        return _sb3_q_network
    if type(module).forward is nn.Module.forward and hasattr(module, "actor") and hasattr(module, "critic"):
        return _cleanrl_agent
    return None


def _sb3_actor_critic(module: nn.Module, observation: Any) -> Any:
    """stable-baselines3's ActorCriticPolicy: logits and value from its parts; forward draws an action from them."""
    features = module.extract_features(observation)
    if isinstance(features, tuple):
        actor, critic = (
            module.mlp_extractor.forward_actor(features[0]),
            module.mlp_extractor.forward_critic(features[1]),
        )
    else:
        actor, critic = module.mlp_extractor(features)
    return module.action_net(actor), module.value_net(critic)


def _sb3_q_network(module: nn.Module, observation: Any) -> Any:
    """stable-baselines3's DQNPolicy: its forward gives the greedy action."""
    return module.q_net(observation)


def _cleanrl_agent(module: nn.Module, observation: Any) -> Any:
    """CleanRL's PPO agents have no forward; `network` is what actor and critic share, and gets bytes over 255."""
    features = observation
    if hasattr(module, "network"):
        features = module.network(observation / 255.0 if observation.dim() == 4 else observation)
    return module.actor(features), module.critic(features)

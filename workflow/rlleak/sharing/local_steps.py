"""Federated averaging: several steps at home before anything is shared (McMahan et al. 2017, algorithm 1)."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from rlleak.errors import ConfigurationError
from rlleak.sharing.sending import Client, Gradients, Sent, Train


def local_steps(sent: Sent, client: Client, *, steps: int, step_size: float) -> Sent:
    """How far the weights moved, per step and unit of step size: (w_0 - w_E) / (step_size * E), a gradient's unit.

    The batch is cut into E minibatches in an order that the device draws and keeps to itself; one step of plain SGD is
    taken on each. What leaves is thus the mean of the E gradients met on the way, without the weights' rounding; of one
    step it is the gradient itself. A loss's target values are those of the server's network throughout, as with DQN's
    target network. Raises ConfigurationError where the device's training is not given, or holds too little for E steps.
    """
    if client.gradient is None or client.parameters is None:
        raise ConfigurationError(
            "defence 'local_steps' trains, so it needs the device's network, loss and transitions; share those"
        )
    if client.transitions < steps:
        raise ConfigurationError(
            f"{client.transitions} transitions cannot be cut into {steps} local steps; take fewer or a larger batch"
        )
    weights, total = dict(client.parameters), {name: torch.zeros_like(value) for name, value in sent.gradients.items()}
    order = torch.randperm(client.transitions, generator=client.generator)
    for minibatch in order.tensor_split(steps):
        # Sorted: one step is over the batch as it is, to the last bit.
        gradient = client.gradient(weights, minibatch.sort().values)
        weights = {name: value - step_size * gradient[name] for name, value in weights.items()}
        total = {name: value + gradient[name] for name, value in total.items()}
    return sent.with_values({name: value / steps for name, value in total.items()})


def training_of(network: nn.Module, objective: Callable[[nn.Module, Tensor], Tensor]) -> Train:
    """The gradient of `objective(network, rows)`, rows (n,) being transitions' numbers, at other weights.

    The network itself is left as it is. What a loss does not reach has a gradient of 0.
    """
    moved = copy.deepcopy(network)
    own = {name: value for name, value in moved.named_parameters() if value.requires_grad}

    def gradient(weights: Gradients, rows: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(weights[name])
        found = torch.autograd.grad(objective(moved, rows), list(own.values()), allow_unused=True)
        return {
            name: torch.zeros_like(value) if part is None else part
            for (name, value), part in zip(own.items(), found, strict=True)
        }

    return gradient

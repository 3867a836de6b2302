"""What several local steps (FedAvg) leave of some samples, simulated: differentiable, and without forming a gradient.

A sample is what the network read, x, and the error that its loss had at the output, e. Each step's gradient of a linear
layer is sum_i delta_i [x_i, 1]^T, so the weights w_k that a later sample meets are w_0 minus a sum of outer products:
W_k x = W_0 x - step_size sum_i ([x_i, 1] . [x, 1]) delta_i. Of what is shared, random projections from both sides are
compared: for rank-1 terms they are products of small projections.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlleak.attacks.transitions.passes import ValueNetwork
from rlleak.sharing.update import SharedUpdate

OVERSAMPLING = 3
"""Projections per sample: what is left out of a layer has that many times the rank that is sought."""


@dataclass(frozen=True)
class LocalTraining:
    """One victim's local training as a function of its samples, in float64.

    steps, step_size: of the defence. sizes: samples of each step, as the device cuts its batch. projections: layer ->
    (left (outputs, p), right (inputs + 1, q)). shared: (M,), what was shared, projected, of length 1 before.
    """

    network: ValueNetwork
    step_size: float
    sizes: tuple[int, ...]
    projections: Mapping[str, tuple[Tensor, Tensor]]
    shared: Tensor
    length: Tensor

    @classmethod
    def of(cls, update: SharedUpdate, steps: int, step_size: float, seed: int) -> "LocalTraining":
        """Of an update of one victim, whose network has linear layers with biases only."""
        network = ValueNetwork(update.architecture, {key: value.double() for key, value in update.parameters.items()})
        sizes = tuple(len(part) for part in torch.arange(update.batch_size).tensor_split(steps))
        generator, width = torch.Generator().manual_seed(seed), OVERSAMPLING * update.batch_size + 4
        projections, parts = {}, []
        for layer in network.layers:
            gradient = torch.cat(
                [update.gradients[f"{layer}.weight"][0], update.gradients[f"{layer}.bias"][0][:, None]], dim=1
            ).double()
            left, right = (_projection(side, width, generator).to(gradient) for side in gradient.shape)
            projections[layer] = left, right
            parts.append((left.T @ gradient @ right).flatten())
        length = torch.cat([value[0].double().flatten() for value in update.gradients.values()]).norm()
        length = length.clamp_min(torch.finfo(torch.float64).tiny)
        return cls(network, step_size, sizes, projections, torch.cat(parts) / length, length)

    @property
    def alone(self) -> "LocalTraining":
        """A single step over a single sample."""
        return replace(self, sizes=(1,))

    @property
    def step_of(self) -> Tensor:
        """Which step each sample is part of, (B,)."""
        return torch.arange(len(self.sizes)).repeat_interleave(torch.tensor(self.sizes))

    def misfit(self, inputs: Tensor, errors: Tensor) -> Tensor:
        """What samples (R, B, D) with errors (R, B, outputs) leave, less what was shared, projected, (R, M)."""
        left, _ = self(inputs, errors)
        return left - self.shared

    def __call__(self, inputs: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
        """What samples leave, projected, (R, M), and the outputs (R, B, outputs) when they were met."""
        layers = self.network.layers
        seen: dict[str, list[Tensor]] = {layer: [] for layer in layers}
        felt: dict[str, list[Tensor]] = {layer: [] for layer in layers}
        outputs = []
        for own, error in zip(inputs.split(self.sizes, dim=1), errors.split(self.sizes, dim=1), strict=True):
            extended, deltas, output = self._step(own, error, seen, felt)
            outputs.append(output)
            for layer in layers:
                seen[layer].append(extended[layer])
                felt[layer].append(deltas[layer])
        parts = []
        for layer in layers:
            left, right = self.projections[layer]
            terms = (torch.cat(felt[layer], dim=1) @ left).transpose(1, 2) @ (torch.cat(seen[layer], dim=1) @ right)
            parts.append(terms.flatten(1))
        return torch.cat(parts, dim=1) / (len(self.sizes) * self.length), torch.cat(outputs, dim=1)

    def _step(
        self, inputs: Tensor, error: Tensor, seen: Mapping[str, list[Tensor]], felt: Mapping[str, list[Tensor]]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        """One step's inputs [x, 1] and errors by layer, and its outputs, at the weights that earlier steps left."""
        network, layers = self.network, self.network.layers
        extended, slopes, value = {}, {}, inputs
        for layer in layers:
            extended[layer] = own = torch.cat([value, torch.ones_like(value[..., :1])], dim=-1)
            value = value @ network.parameters[f"{layer}.weight"].T + network.parameters[f"{layer}.bias"]
            if seen[layer]:
                before, delta = torch.cat(seen[layer], dim=1), torch.cat(felt[layer], dim=1)
                value = value - self.step_size * (own @ before.transpose(1, 2)) @ delta
            if layer != "head":
                value, slopes[layer] = network.activate(value)
        deltas, back = {"head": error}, error
        for above, below in zip(reversed(layers), reversed(layers[:-1]), strict=False):
            under = back @ network.parameters[f"{above}.weight"]
            if seen[above]:
                before, delta = torch.cat(seen[above], dim=1)[..., :-1], torch.cat(felt[above], dim=1)
                under = under - self.step_size * (back @ delta.transpose(1, 2)) @ before
            deltas[below] = back = under * slopes[below]
        return extended, deltas, value


def _projection(side: int, width: int, generator: torch.Generator) -> Tensor:
    """(side, width) with orthonormal columns, or all of it."""
    if side <= width:
        return torch.eye(side, dtype=torch.float64)
    return torch.linalg.qr(torch.randn(side, width, generator=generator, dtype=torch.float64))[0]

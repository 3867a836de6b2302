"""Where the same units of a ReLU network are open its gradient is linear, and so least squares are exact there.

Over one sample with the error e at one output a linear layer's gradient, the bias's behind it, is e d (T [1, x])^T. d,
the error there for e = 1, and T, the layer's input as an affine function of x, what the network reads, depend on x only
through which units are open. So all entries of all layers are linear in e [1, x]: a few numbers, however few entries
arrived, and however little is known of them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlleak.attacks.transitions.exactness import precisions
from rlleak.learners.specification import NetworkSpec
from rlleak.sharing.update import SharedUpdate


def applies(spec: NetworkSpec) -> bool:
    """Whether a network is made of linear layers and ReLUs alone."""
    return spec.image_shape is None and spec.activation == "relu"


@dataclass(frozen=True)
class Pieces:
    """V updates of such a network, entry by entry as exact as it arrived.

    weights, biases: by layer, in order, float64. precision, weighted: by layer (V, outputs, inputs + 1), 1 over each
    entry's variance (0: did not arrive), and the gradient times that. square, count: (V,), the sum of squares of what
    arrived in deviations, and of how many entries.
    """

    weights: dict[str, Tensor]
    biases: dict[str, Tensor]
    precision: dict[str, Tensor]
    weighted: dict[str, Tensor]
    square: Tensor
    count: Tensor

    @classmethod
    def of(cls, update: SharedUpdate, least: float = 0.0) -> "Pieces":
        """least: deviation that every entry is taken to have, relative to the root mean square of its layer's: the
        larger, the less it matters just which units are open.
        """
        spec = update.architecture
        names = ["vector"] if spec.vector_width else []
        names += [*(f"hidden.{index}" for index in range(len(spec.hidden))), "head"]
        exact, parameters = precisions(update), {name: value.double() for name, value in update.parameters.items()}
        weights = {name: parameters[f"{name}.weight"] for name in names}
        biases = {name: parameters.get(f"{name}.bias", weights[name].new_zeros(len(weights[name]))) for name in names}
        precision, weighted, square = {}, {}, 0.0
        for name in names:
            parts = [(exact[f"{name}.weight"], update.gradients[f"{name}.weight"])]
            if spec.bias:
                parts.append((exact[f"{name}.bias"][:, :, None], update.gradients[f"{name}.bias"][:, :, None]))
            else:
                parts.append(tuple(torch.zeros_like(part[:, :, :1]) for part in parts[0]))
            own = torch.cat([part for part, _ in parts], dim=2)
            shared = torch.cat([part for _, part in parts], dim=2).double()
            size = _each(shared.square()) / _each((own > 0).double()).clamp_min(1)
            precision[name] = own / (1 + own * (least**2 * size)[:, None, None])
            weighted[name] = precision[name] * shared
            square = square + _each(weighted[name] * shared)
        count = sum(_each((precision[name] > 0).double()) for name in names)
        return cls(weights, biases, precision, weighted, square, count)

    def select(self, victims: slice) -> "Pieces":
        """Some of the victims."""
        own = ({name: value[victims] for name, value in group.items()} for group in (self.precision, self.weighted))
        return Pieces(self.weights, self.biases, *own, self.square[victims], self.count[victims])

    def normal_equations(self, inputs: Tensor, taken: Tensor) -> tuple[Tensor, Tensor]:
        """Of guesses at K samples, inputs (V, C, K, D) and whose error stands at outputs `taken` (V, C, K).

        (V, C, n, n) and (V, C, n), n = K (D + 1): a guess's squared distance from what arrived, in deviations, is
        square - 2 t . second + t . first t, where t = e [1, x] for its samples one after another, as long as the same
        units are open.
        """
        victims, candidates, samples, width = inputs.shape
        with_one = torch.cat([torch.ones_like(inputs[..., :1]), inputs], dim=3)
        table = torch.eye(width + 1, dtype=inputs.dtype, device=inputs.device)[1:].expand(*inputs.shape[:3], -1, -1)
        constant = torch.eye(width + 1, dtype=inputs.dtype, device=inputs.device)[:1].expand(*inputs.shape[:3], -1, -1)
        tables, is_open = {}, {}
        for name, weight in self.weights.items():
            tables[name] = torch.cat([table, constant], dim=3)
            table = weight @ table + self.biases[name][:, None] * constant
            is_open[name] = (table @ with_one[..., None])[..., 0] > 0
            table = table * is_open[name][..., None]
        delta = torch.nn.functional.one_hot(taken, len(self.biases["head"])).to(inputs)
        size = samples * (width + 1)
        first, second = inputs.new_zeros(victims, candidates, size, size), inputs.new_zeros(victims, candidates, size)
        for name in reversed(self.weights):
            if name != "head":
                delta = delta * is_open[name]
            pairs = (delta[:, :, :, None] * delta[:, :, None]).flatten(1, 3) @ self.precision[name]
            pairs = pairs.view(victims, candidates, samples, samples, -1)
            own = (delta.flatten(1, 2) @ self.weighted[name]).view(victims, candidates, samples, -1)
            first += torch.einsum("vckli,vckia,vclib->vckalb", pairs, tables[name], tables[name]).reshape_as(first)
            second += torch.einsum("vcki,vckia->vcka", own, tables[name]).reshape_as(second)
            delta = delta @ self.weights[name]
        return first, second


def _each(value: Tensor) -> Tensor:
    return value.flatten(1).sum(dim=1)

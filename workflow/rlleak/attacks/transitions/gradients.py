"""How far candidates' gradients are from shared ones, as far as these arrived, and hardly ever formed themselves.

A row's gradient of a linear layer is a sum of K outer products, sum_k delta_k x_k^T. Its square is a sum over pairs of
(delta_k . delta_l)(x_k . x_l + 1), its product with the shared gradient G* a sum of delta_k^T G* x_k; all restarts and
variants of one victim share G*. Where G* has at most rank 2 K, as without noise, it too is taken as factors. Of a layer
of which only some entries arrived candidates are compared at those.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rlleak.attacks.transitions.exactness import entries_known, longest
from rlleak.learners.specification import Convolution
from rlleak.sharing.update import SharedUpdate

EXTRA = 4
"""Columns that are probed beyond the rank that is expected."""
EXACT = 1e-5
"""Relative residual below which a shared gradient is what its factors say; rounding gives 1e-7."""

Products = tuple[Tensor, Tensor]
"""(|g|^2, <g, g*>), each (V, P): of P candidates for each of V victims."""


@dataclass(frozen=True)
class LinearTarget:
    """Shared gradients of a linear layer, (V, outputs, inputs): left (V, outputs, r) @ right (V, r, inputs), or `right`
    alone. bias: (V, outputs) or None.
    """

    left: Tensor | None
    right: Tensor
    bias: Tensor | None

    @classmethod
    def of(cls, weight: Tensor, bias: Tensor | None, rank: int) -> "LinearTarget":
        """As factors if the rank is no higher than said, to rounding, and that is worth it."""
        width = min(rank + EXTRA, *weight.shape[1:])
        if rank == 1 or 4 * width < min(weight.shape[1:]):
            generator = torch.Generator().manual_seed(0)
            probe = torch.randn(weight.shape[2], width, generator=generator, dtype=weight.dtype).to(weight.device)
            left = torch.linalg.qr(weight @ probe)[0]
            turned, sizes, right = torch.linalg.svd(left.transpose(1, 2) @ weight, full_matrices=False)
            left, right = left @ turned[:, :, :rank], sizes[:, :rank, None] * right[:, :rank]
            rest = torch.stack([(whole - a @ b).norm() for whole, a, b in zip(weight, left, right, strict=True)])
            if bool((rest <= EXACT * weight.flatten(1).norm(dim=1)).all()):
                return cls(left, right, bias)
        return cls(None, weight, bias)

    def products(self, delta: Tensor, inputs: Tensor, candidates: int) -> Products:
        """Of delta (N, K, outputs) and inputs (N, K, inputs), N = V * candidates."""
        flat, read = (value.view(-1, candidates * value.shape[1], value.shape[2]) for value in (delta, inputs))
        if self.left is not None and self.right.shape[1] == 1:
            # Sums of products: a batched product with a single column is slow.
            inner = (flat * self.left.transpose(1, 2)).sum(dim=2) * (read * self.right).sum(dim=2)
        else:
            across = flat if self.left is None else flat @ self.left
            inner = (torch.bmm(read, self.right.transpose(1, 2)) * across).sum(dim=2)
        if self.bias is not None:
            inner = inner + (flat * self.bias[:, None]).sum(dim=2)
        inner = inner.view(-1, candidates, delta.shape[1]).sum(dim=2)
        if delta.shape[1] == 1:
            square = delta.square().sum(dim=(1, 2)) * (inputs.square().sum(dim=(1, 2)) + float(self.bias is not None))
        else:
            gram = torch.bmm(inputs, inputs.transpose(1, 2)) + float(self.bias is not None)
            square = (torch.bmm(delta, delta.transpose(1, 2)) * gram).sum(dim=(1, 2))
        return square.view(-1, candidates), inner


@dataclass(frozen=True)
class PartialLinearTarget:
    """Shared gradients [weight, bias] of a linear layer, (V, outputs, inputs + 1); 0 where `known`, as large, is."""

    shared: Tensor
    known: Tensor

    def products(self, delta: Tensor, inputs: Tensor, candidates: int) -> Products:
        """As `LinearTarget.products`, over the known entries."""
        samples = delta.shape[1]
        inputs = torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=2)
        flat, read = (value.reshape(-1, candidates * samples, value.shape[2]) for value in (delta, inputs))
        inner = ((flat @ self.shared) * read).sum(dim=2).view(-1, candidates, samples).sum(dim=2)
        if samples == 1:
            return ((flat.square() @ self.known) * read.square()).sum(dim=2), inner
        formed = torch.bmm(delta.transpose(1, 2), inputs).view(-1, candidates, *self.shared.shape[1:])
        return (formed.square() * self.known[:, None]).sum(dim=(2, 3)), inner


@dataclass(frozen=True)
class ConvolutionTarget:
    """Shared gradients of a convolution, kernels (V, K, C, k, k) and bias (V, K) or None; known: which entries of both
    arrived, or None: all.
    """

    layer: Convolution
    kernels: Tensor
    bias: Tensor | None
    known: tuple[Tensor | None, Tensor | None] = (None, None)

    def products(self, delta: Tensor, inputs: Tensor, candidates: int) -> Products:
        """Of delta (N, samples, K, h, w) and inputs (N, samples, C, H, W): a batched correlation per row."""
        rows, samples = delta.shape[:2]
        patches = F.unfold(
            inputs.flatten(0, 1), self.layer.kernel, padding=self.layer.padding, stride=self.layer.stride
        )
        # The samples' places one after another: one product sums over both.
        patches = patches.unflatten(0, (rows, samples)).transpose(1, 2).flatten(2)
        errors = delta.flatten(3).transpose(1, 2).flatten(2)
        formed = torch.bmm(errors, patches.transpose(1, 2)).view(-1, candidates, self.kernels[0].numel())
        shared = self.kernels.flatten(1)
        if self.known[0] is not None:
            formed = formed * self.known[0].flatten(1)[:, None]
        square, inner = formed.square().sum(dim=2), torch.bmm(formed, shared[..., None])[..., 0]
        if self.bias is not None:
            summed = errors.sum(dim=2).view(-1, candidates, errors.shape[1])
            if self.known[1] is not None:
                summed = summed * self.known[1][:, None]
            square, inner = square + summed.square().sum(dim=2), inner + torch.bmm(summed, self.bias[..., None])[..., 0]
        return square, inner


class SharedGradients:
    """The shared gradients of V victims as targets, by layer. samples: how many outer products each is a sum of.

    Where gradients were shortened to a norm before they were shared, so are candidates'; but not where some entries did
    not arrive, since then a candidate's length is not known without forming all of it.
    """

    def __init__(self, update: SharedUpdate, samples: int) -> None:
        spec, shared = update.architecture, update.gradients
        self.longest = None if update.known else longest(update)
        self.square = sum(value.double().flatten(1).square().sum(dim=1) for value in shared.values())
        dtype = next(iter(shared.values())).dtype
        self.inverse = torch.where(self.square > 0, 1 / self.square.clamp_min(1e-300), 0.0).to(dtype)
        self.square = self.square.to(dtype)
        self.targets: dict[str, LinearTarget | PartialLinearTarget | ConvolutionTarget] = {}
        for index, layer in enumerate(spec.convolutions):
            name = f"convolutions.{index}"
            known = tuple(update.known.get(f"{name}.{kind}") for kind in ("weight", "bias"))
            self.targets[name] = ConvolutionTarget(layer, shared[f"{name}.weight"], shared.get(f"{name}.bias"), known)
        for name in ("vector", *(f"hidden.{index}" for index in range(len(spec.hidden))), "head"):
            if {f"{name}.weight", f"{name}.bias"} & set(update.known):
                self.targets[name] = _partial(update, name)
            elif f"{name}.weight" in shared:
                self.targets[name] = LinearTarget.of(shared[f"{name}.weight"], shared.get(f"{name}.bias"), samples)

    def products(
        self, deltas: Mapping[str, Tensor], inputs: Mapping[str, Tensor], rows: int, candidates: int
    ) -> Products:
        """From (rows * samples, ...) by layer, rows = V * candidates, a row's samples one after another."""
        parts = [
            target.products(deltas[name].unflatten(0, (rows, -1)), inputs[name].unflatten(0, (rows, -1)), candidates)
            for name, target in self.targets.items()
        ]
        return sum(square for square, _ in parts), sum(inner for _, inner in parts)

    def difference(self, products: Products) -> Tensor:
        """|g - g*|^2 / |g*|^2, (V, P); 0 where nothing was shared."""
        square, inner = products
        if self.longest is not None:
            shrink = (self.longest / square.clamp_min(torch.finfo(square.dtype).tiny).sqrt()).clamp(max=1)
            square, inner = square * shrink.square(), inner * shrink
        return (square - 2 * inner + self.square[:, None]).clamp_min(0) * self.inverse[:, None]

    def angle(self, products: Products) -> Tensor:
        """1 - cos(g, g*), (V, P); 0 where nothing was shared."""
        square, inner = products
        length = (square.clamp_min(torch.finfo(square.dtype).tiny)).sqrt() * self.square.sqrt()[:, None]
        return (length - inner) / length.clamp_min(torch.finfo(square.dtype).tiny)


def _partial(update: SharedUpdate, name: str) -> PartialLinearTarget:
    shared, known = [], []
    for kind in ("weight", "bias"):
        key = f"{name}.{kind}"
        if key in update.gradients:
            part, arrived = update.gradients[key], entries_known(update, key)
            shared.append(part.unsqueeze(-1) if kind == "bias" else part)
            known.append(arrived.unsqueeze(-1) if kind == "bias" else arrived)
    if len(shared) == 1:  # no bias at all
        shared.append(torch.zeros_like(shared[0][:, :, :1]))
        known.append(torch.zeros_like(known[0][:, :, :1]))
    return PartialLinearTarget(torch.cat(shared, dim=2), torch.cat(known, dim=2).to(shared[0]))

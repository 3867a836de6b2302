"""Fewer numbers: the largest, or some at random. Which ones are sent, the server sees: indices travel with them."""

import math

import torch
from torch import Tensor

from rlleak.sharing.sending import Client, Sent

_SEED_BITS = 64


def top_k(sent: Sent, client: Client, *, share: float) -> Sent:
    """The `share` of all numbers of the update that is largest in magnitude (Aji and Heafield 2017), as they are."""
    flat = torch.cat([gradient.flatten() for gradient in sent.gradients.values()]).abs()
    kept = max(1, round(share * len(flat)))
    chosen = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
    chosen[flat.topk(kept, sorted=False).indices] = True
    # One index each, or one bit for every number where that is less.
    indices = min(kept * math.ceil(math.log2(max(2, len(flat)))), len(flat))
    return sent.only(_cut(chosen, sent), beside=sent.beside + indices)


def random_k(sent: Sent, client: Client, *, share: float) -> Sent:
    """A `share` of all numbers, drawn evenly, as they are; a server that wants them unbiased divides by the share.

    Which ones, a seed tells that travels along.
    """
    count = sum(gradient.numel() for gradient in sent.gradients.values())
    device = next(iter(sent.gradients.values())).device
    chosen = torch.zeros(count, dtype=torch.bool)
    chosen[torch.randperm(count, generator=client.generator)[: max(1, round(share * count))]] = True
    return sent.only(_cut(chosen.to(device), sent), beside=sent.beside + _SEED_BITS)


def _cut(flat: Tensor, sent: Sent) -> dict[str, Tensor]:
    parts = flat.split([gradient.numel() for gradient in sent.gradients.values()])
    return {name: part.view_as(sent.gradients[name]) for name, part in zip(sent.gradients, parts, strict=True)}

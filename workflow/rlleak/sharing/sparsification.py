"""Fewer numbers: the largest, or some at random. Which ones are sent, the server sees: indices travel with them."""

import math

import torch
from torch import Tensor

from rlleak.sharing.sending import Client, Sent

_SEED_BITS = 64


def top_k(sent: Sent, client: Client, *, share: float, error_feedback: bool = False) -> Sent:
    """The `share` of all numbers of the update that is largest in magnitude (Aji and Heafield 2017), as they are.

    error_feedback: what is not sent is kept, and added the next time (Stich et al. 2018, algorithm 1).
    """
    sent = _with_kept(sent, client) if error_feedback else sent
    flat = torch.cat([gradient.flatten() for gradient in sent.gradients.values()]).abs()
    kept = max(1, round(share * len(flat)))
    chosen = torch.zeros_like(flat, dtype=torch.bool).scatter(0, flat.topk(kept, sorted=False).indices, True)
    # One index each, or one bit for every number where that is less.
    indices = min(kept * math.ceil(math.log2(max(2, len(flat)))), len(flat))
    return _only(sent, _cut(chosen, sent), error_feedback, beside=sent.beside + indices)


def random_k(sent: Sent, client: Client, *, share: float, error_feedback: bool = False) -> Sent:
    """A `share` of all numbers, drawn evenly, as they are; a server that wants them unbiased divides by the share.

    Which ones, a seed tells that travels along. error_feedback: as of `top_k`.
    """
    sent = _with_kept(sent, client) if error_feedback else sent
    count = sum(gradient.numel() for gradient in sent.gradients.values())
    device = next(iter(sent.gradients.values())).device
    drawn = torch.randperm(count, generator=client.generator)[: max(1, round(share * count))]
    chosen = torch.zeros(count, dtype=torch.bool).scatter(0, drawn, True)
    return _only(sent, _cut(chosen.to(device), sent), error_feedback, beside=sent.beside + _SEED_BITS)


def _with_kept(sent: Sent, client: Client) -> Sent:
    """With what the device kept the time before; parts that do not leave at all are not kept either."""
    if client.kept is None:
        return sent
    return sent.with_values({name: value + client.kept[name] for name, value in sent.gradients.items()})


def _only(sent: Sent, chosen: dict[str, Tensor], error_feedback: bool, beside: float) -> Sent:
    left = sent.kept
    if error_feedback:
        # A server leaves an update with NaN or Inf out. Kept, they would be in every later one.
        going = {name: chosen[name] | ~torch.isfinite(value) for name, value in sent.gradients.items()}
        left = {name: value.masked_fill(going[name], 0.0) for name, value in sent.gradients.items()}
    return sent.only(chosen, beside=beside, kept=left)


def _cut(flat: Tensor, sent: Sent) -> dict[str, Tensor]:
    parts = flat.split([gradient.numel() for gradient in sent.gradients.values()])
    return {name: part.view_as(sent.gradients[name]) for name, part in zip(sent.gradients, parts, strict=True)}

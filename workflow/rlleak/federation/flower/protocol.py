"""Secure aggregation's messages as named arrays, and a client's side of them.

Each round of the protocol is a question and its answers: `step` says which, the arrays are bytes by the number of the
client that they belong to, and one masked update.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from rlleak.errors import ProtocolError
from rlleak.federation.flower.messages import Groups
from rlleak.federation.secure_aggregation.agreement import Agreement
from rlleak.federation.secure_aggregation.client import Client, Request, Revealed
from rlleak.federation.secure_aggregation.primitives import PublicKeys

Step = Literal["advertise", "share", "mask", "reveal"]
Update = Callable[[], Mapping[str, Tensor]]
Kept = dict[str, Any]
_MASKED = "masked"
_NUMBER = re.compile("[0-9]{1,9}")
# What a client keeps before the first question: the last round that it answered in the open, and the last one for which
# it advertised keys, with the step that is next in it.
_NEVER: Kept = {"plain": -1, "round": -1, "stage": "end"}


def arrays_of(parts: Mapping[int, bytes]) -> dict[str, Tensor]:
    """Bytes by a client's number, as uint8 arrays."""
    return {str(client): torch.from_numpy(np.frombuffer(part, np.uint8).copy()) for client, part in parts.items()}


def bytes_of(arrays: Mapping[str, Tensor]) -> dict[int, bytes]:
    """What `arrays_of` was given. Raises ProtocolError for anything else."""
    odd = [name for name, array in arrays.items() if not _NUMBER.fullmatch(name) or array.dtype != torch.uint8]
    if odd:
        raise ProtocolError(f"'{odd[0][:40]}' holds no bytes of a client; send what `arrays_of` makes")
    return {int(name): array.numpy().tobytes() for name, array in arrays.items()}


def groups_of_keys(keys: Mapping[int, PublicKeys]) -> Groups:
    """Public keys by client, as arrays."""
    return {name: arrays_of({who: getattr(pair, name) for who, pair in keys.items()}) for name in PublicKeys._fields}


def keys_of(groups: Mapping[str, Mapping[str, Tensor]]) -> dict[int, PublicKeys]:
    """What `groups_of_keys` was given. Raises ProtocolError for anything else."""
    sealing, masking = (bytes_of(groups.get(name, {})) for name in PublicKeys._fields)
    if set(sealing) != set(masking):
        raise ProtocolError("a client's public keys are not two; send both")
    return {client: PublicKeys(key, masking[client]) for client, key in sealing.items()}


def revealed_of(groups: Mapping[str, Mapping[str, Tensor]]) -> Revealed:
    """A client's answer to the last question. Raises ProtocolError for what is none."""
    return Revealed(*(bytes_of(groups.get(name, {})) for name in Revealed._fields))


def masked_of(groups: Mapping[str, Mapping[str, Tensor]]) -> np.ndarray:
    """A masked update, of any type and shape. Raises ProtocolError where there is none."""
    arrays = groups.get(_MASKED, {})
    if set(arrays) != {"update"}:
        raise ProtocolError("there is no masked update in what it sent")
    return arrays["update"].numpy()


def answered(
    number: int, kept: Kept | None, groups: Groups, said: Mapping[str, Any], update: Update
) -> tuple[Groups, Kept]:
    """A client's answer to one of the server's questions, and what it keeps on its device for the next one.

    kept: from the question before, whatever server asked it; None before the first. After the last step it holds no
    secret. update: makes what is masked; asked in "mask" alone.

    A client reveals once per round, and answers no round both masked and in the open: two sums over other survivors
    differ by single updates, since in one round a client has one update. Masks that nobody took off tell nothing: until
    then a round may begin again. Raises ProtocolError there, where the client refuses otherwise
    (`rlleak.federation.secure_aggregation.client.Client`), and for questions out of order or of another round than the
    keys were for.
    """
    step, round, before = said["step"], said["round"], {**_NEVER, **(kept or {})}
    if step == "advertise":
        _check_may_begin(number, before, round)
        client = Client(number, Agreement.of(said["agreement"]))
    elif before["round"] != round:
        raise ProtocolError(f"client {number} advertised no keys in round {round}; begin with them")
    elif before["stage"] == _NEVER["stage"]:
        raise ProtocolError(f"client {number} refuses to {step}: round {round} is over; go on with a later round")
    else:
        client = Client.restored(before)
    answer = _answer(client, step, groups, said, update)
    return answer, {**client.kept(), "plain": before["plain"], "round": round}


def answered_in_the_open(number: int, kept: Kept | None, round: int) -> Kept:
    """What a client keeps that answers a plain question, as `answered` does.

    Raises ProtocolError for a round up to the last one that it began to answer masked.
    """
    before = {**_NEVER, **(kept or {})}
    if round <= before["round"]:
        raise ProtocolError(
            f"client {number} refuses to answer round {round} in the open: round {before['round']} is masked; "
            f"leave plain_rounds as it was, or go on with a later round"
        )
    # An earlier round that did not come to its end does not go on.
    return {**_NEVER, "plain": max(round, before["plain"]), "round": before["round"]}


def check_summed(number: int, least: int, said: Mapping[str, Any]) -> None:
    """Raises ProtocolError where a client's update could be told among fewer than `least`, whoever asks: in the open,
    or in a sum that may be of fewer."""
    if least <= 1 or said.get("step", "advertise") != "advertise":
        return
    alone = "step" not in said
    threshold = 1 if alone else Agreement.of(said["agreement"]).threshold
    if threshold < least:
        raise ProtocolError(
            f"client {number} shares in sums of {least} or more alone, and is asked "
            f"{'in the open' if alone else f'for one of {threshold}'}; raise secure_aggregation's threshold, without "
            "plain_rounds"
        )


def _check_may_begin(number: int, before: Kept, round: int) -> None:
    if round <= before["plain"]:
        raise ProtocolError(
            f"client {number} refuses to mask round {round}: it answered round {before['plain']} in the open; "
            f"leave plain_rounds as it was, or go on with a later round"
        )
    over = before["stage"] == _NEVER["stage"]
    if round < before["round"] or (over and round == before["round"]):
        raise ProtocolError(
            f"client {number} refuses to begin round {round}: it is in round {before['round']}"
            f"{', which is over' if over else ''}; go on with a later round"
        )


def _answer(client: Client, step: str, groups: Groups, said: Mapping[str, Any], update: Update) -> Groups:
    match step:
        case "advertise":
            return groups_of_keys({client.number: client.advertise()})
        case "share":
            return {"shares": arrays_of(client.share(keys_of(groups)))}
        case "mask":
            masked = client.mask(bytes_of(groups.get("shares", {})), update())
            return {_MASKED: {"update": torch.from_numpy(masked)}}
        case "reveal":
            revealed = client.reveal(Request(tuple(said["survivors"]), tuple(said["dropped"])))
            return {name: arrays_of(getattr(revealed, name)) for name in Revealed._fields}
    raise ProtocolError(f"the protocol has no step '{step}'")

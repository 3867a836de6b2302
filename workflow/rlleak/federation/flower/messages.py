"""What clients and server say to each other: named arrays, and a few words about them; never pickled objects."""

import json
from collections.abc import Mapping
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile

import torch
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from torch import Tensor

from rlleak.errors import ProtocolError

Groups = dict[str, dict[str, Tensor]]
"""Tensors by group ("parameters", "gradients", "known") and name."""

_SAID = "said"
# What JSON and numpy's format raise, of bytes that anybody may have made up: headers that end early, shapes beyond all
# memory, archives in place of arrays.
_UNREADABLE = (
    *(BadZipFile, EOFError, KeyError, MemoryError, OverflowError, RecursionError, TokenError, TypeError, ValueError),
)


def packed(groups: Mapping[str, Mapping[str, Tensor]], said: Mapping[str, Any]) -> RecordDict:
    """A message's content. said: what goes with the arrays, JSON-serialisable; a group without arrays is left out."""
    content = RecordDict({_SAID: ConfigRecord({"json": json.dumps(said)})})
    for group, tensors in groups.items():
        if tensors:
            content[group] = ArrayRecord(
                {name: Array(tensor.detach().cpu().contiguous().numpy()) for name, tensor in tensors.items()}
            )
    return content


def unpacked(content: RecordDict) -> tuple[Groups, dict[str, Any]]:
    """What was packed. Arrays are read without unpickling.

    Raises ProtocolError for a content that `packed` did not make: another process may have sent anything.
    """
    try:
        said = json.loads(str(content.config_records[_SAID]["json"]))
        groups = {
            group: {name: torch.from_numpy(array.numpy()) for name, array in record.items()}
            for group, record in content.array_records.items()
        }
    except _UNREADABLE as error:
        raise ProtocolError(f"a message cannot be read ({error}); send what `packed` makes") from error
    if not isinstance(said, dict):
        raise ProtocolError("what a message says about its arrays is no mapping; send what `packed` makes")
    return groups, said

"""Several defences, one after another."""

from collections.abc import Mapping, Sequence
from typing import Any

# Named here so that the workflow knows what a composition depends on; it may be of any of them.
from rlleak.sharing import local_steps, noise, quantisation, sparsification, withholding  # noqa: F401
from rlleak.sharing.defences import applied
from rlleak.sharing.sending import Client, Sent


def composed(sent: Sent, client: Client, *, steps: Sequence[Mapping[str, Any]]) -> Sent:
    """Each step takes what the one before sends. steps: entries as in config/defences.yaml."""
    for step in steps:
        sent = applied(sent, client, step)
    return sent

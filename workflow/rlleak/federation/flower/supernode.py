"""Flower's SuperNode, which looks for messages more often: `python -P supernode.py` with its arguments.

After a look that finds nothing, Flower 1.41 sleeps for 3 seconds, and no setting changes that. A round of secure
aggregation is four questions, each of which comes just after such a look.
"""

import sys
import time
from types import SimpleNamespace

from flwr.supernode import start_client_internal
from flwr.supernode.cli import flower_supernode

_PAUSE = 0.4
"""Seconds at most between two looks."""


def _pause(seconds: float) -> None:
    time.sleep(min(seconds, _PAUSE))


if __name__ == "__main__":
    start_client_internal.time = SimpleNamespace(**{**vars(time), "sleep": _pause})
    sys.exit(flower_supernode())

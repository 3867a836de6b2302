"""The client's side as a Flower app: one message in, one out, and in between a device's `update`.

What a device alone knows is in the file that its node configuration names as `client`; nothing of it is sent. Which
rounds it answered, and its secrets in a round of secure aggregation, lie beside its memory, or beside that file, in
`<name>.rounds.json`: Flower's own state of a client ends with the run, and a server that is started again is another
run, of the same rounds.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from rlleak.artefacts import read_json, write_json
from rlleak.federation.flower.messages import Groups, packed, unpacked
from rlleak.federation.flower.protocol import answered, answered_in_the_open, check_summed
from rlleak.sharing.sending import Sent

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answers the server's parameters with an update, or with what the protocol asks for in its place."""
    with _for_its_user_alone():
        return _answered(message, context)


def _answered(message: Message, context: Context) -> Message:
    groups, said = unpacked(message.content)
    path = str(context.node_config["client"])
    own = read_json(path)
    number, rounds = own["client"], Path(f"{own.get('memory', path)}.rounds.json")
    kept = read_json(rounds) if rounds.exists() else None
    check_summed(number, own.get("least_summed", 1), said)
    if "step" in said:
        answer, kept = answered(number, kept, groups, said, lambda: _update(path, groups, said).gradients)
    else:
        kept = answered_in_the_open(number, kept, said["round"])
        sent = _update(path, groups, said)
        answer = {"gradients": sent.gradients, "known": sent.known}
    # Before anything is sent: what is forgotten would be answered again.
    write_json(rounds, kept)
    return Message(content=packed(answer, {"client": number, "round": said["round"]}), reply_to=message)


@contextmanager
def _for_its_user_alone() -> Iterator[None]:
    """No other user of this machine may read what is written: secrets of a round, and in a memory transitions."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _update(path: str, groups: Groups, said: Mapping[str, Any]) -> Sent:
    # A device brings environments and learners along; three of the protocol's four messages need none of that.
    from rlleak.federation.flower.devices import device_of

    return device_of(path, said).update(groups["parameters"], said["round"])

"""The client's side as a Flower app: one message in, one out, and in between a device's `update`.

What a device alone knows is in the file that its node configuration names as `client`; nothing of it is sent. Secrets
of secure aggregation stay in the memory of its node between the messages of a round.
"""

import json
from collections.abc import Mapping
from typing import Any

from flwr.app import ConfigRecord, Context, Message
from flwr.clientapp import ClientApp

from rlleak.artefacts import read_json
from rlleak.federation.flower.messages import Groups, packed, unpacked
from rlleak.federation.flower.protocol import answered
from rlleak.sharing.sending import Sent

_SECRETS = "secure aggregation"

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answers the server's parameters with an update, or with what the protocol asks for in its place."""
    groups, said = unpacked(message.content)
    path = str(context.node_config["client"])
    number = read_json(path)["client"]
    if "step" in said:
        known = context.state.config_records.get(_SECRETS)
        kept = json.loads(str(known["json"])) if known else None
        answer, kept = answered(number, kept, groups, said, lambda: _update(path, groups, said).gradients)
        context.state[_SECRETS] = ConfigRecord({"json": json.dumps(kept)})
    else:
        sent = _update(path, groups, said)
        answer = {"gradients": sent.gradients, "known": sent.known}
    return Message(content=packed(answer, {"client": number, "round": said["round"]}), reply_to=message)


def _update(path: str, groups: Groups, said: Mapping[str, Any]) -> Sent:
    # A device brings environments and learners along; three of the protocol's four messages need none of that.
    from rlleak.federation.flower.devices import device_of

    return device_of(path, said).update(groups["parameters"], said["round"])

"""The client's side as a Flower app: one message in, one out, and in between a device's `update`.

What a device alone knows is in the file that its node configuration names as `client`; nothing of it is sent.
"""

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from rlleak.federation.flower.devices import device_of
from rlleak.federation.flower.messages import packed, unpacked

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Answers the server's parameters with an update."""
    groups, said = unpacked(message.content)
    device = device_of(str(context.node_config["client"]), said)
    sent = device.update(groups["parameters"], said["round"])
    groups = {"gradients": sent.gradients, "known": sent.known}
    return Message(content=packed(groups, {"client": device.number, "round": said["round"]}), reply_to=message)

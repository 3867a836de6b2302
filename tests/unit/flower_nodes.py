"""Nodes of a federation over Flower, and a grid that stands in for Flower's own, for tests."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import torch
from flwr.app import Error, Message, RecordDict

from rlleak.artefacts import read_tensors
from rlleak.configuration.federation import FederatedSettings
from rlleak.federation.client import Client
from rlleak.federation.flower.keeping import MASKED
from rlleak.federation.flower.messages import packed, unpacked
from rlleak.federation.flower.task import Task
from rlleak.federation.secure_aggregation.agreement import Agreement

TRAINING = FederatedSettings.model_validate(
    {
        **{"environment": "CartPole", "learner": "dqn", "network": {"vector_width": 0, "hidden": [64, 64]}},
        **{"clients": 2, "steps": 1, "warm_up": 20, "replay": 50, "exploration": 0.1, "learning_rate": 1e-3},
        "size": {"runs": 1, "rounds": 4, "evaluations": 1, "episodes": 1},
    }
)
UNDEFENDED = {"method": "none"}
SEEDS = (11, 12, 13)
LIMIT = 64.0
"""Beyond all numbers of these updates."""


def task(folder: Path, **changes: object) -> Task:
    asked = {"training": TRAINING, "clients": 2, "seed": 5, "keeps": str(folder / "kept"), "round_timeout": 60}
    return Task.model_validate({**asked, **changes})


def own_files(folder: Path) -> list[dict[str, str]]:
    """What each node alone is told."""
    told = []
    for number, seed in enumerate(SEEDS[:2]):
        own = folder / f"client{number}.json"
        knows = {"client": number, "seed": seed, "memory": str(folder / f"memory{number}"), "defence": UNDEFENDED}
        own.write_text(json.dumps(knows))
        told.append({"client": str(own)})
    return told


def masked(folder: Path, round: int, client: int) -> np.ndarray:
    """What arrived of a client behind secure aggregation."""
    return read_tensors(folder / "kept" / f"round{round}" / f"masked{client}.safetensors", MASKED)[0]["update"].numpy()


def says_nothing_of(numbers: np.ndarray, update: Mapping[str, torch.Tensor], agreement: Agreement) -> bool:
    """Whether what is masked, decoded as a sum is, has no more to do with an update than random numbers have."""
    decoded, plain = (
        torch.cat([group[name].flatten().double() for name in agreement.shapes])
        for group in (agreement.decode(numbers), update)
    )
    # The correlation of N independent pairs is beyond 5 / sqrt(N) once in two million times.
    return bool(torch.corrcoef(torch.stack([decoded, plain]))[0, 1].abs() < 5 / agreement.numbers**0.5)


class Wire:
    """Stands in for Flower's grid: each node answers as its function says, or not at all (None)."""

    def __init__(self, *nodes: Callable[[RecordDict], RecordDict | Error | None]) -> None:
        self.nodes = nodes
        self._waiting: dict[str, Message] = {}

    def get_node_ids(self) -> Iterable[int]:
        return range(len(self.nodes))

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        names = []
        for message in messages:
            names.append(f"{message.metadata.group_id}/{message.metadata.dst_node_id}")
            message.metadata.__dict__["_message_id"] = names[-1]
            self._waiting[names[-1]] = message
        return names

    def pull_messages(self, names: Iterable[str]) -> Iterable[Message]:
        answers = []
        for name in names:
            question = self._waiting.pop(name, None)
            answer = self.nodes[question.metadata.dst_node_id](question.content) if question else None
            if answer is not None:
                answers.append(Message(answer, reply_to=question))
        return answers


def honest(number: int) -> Callable[[RecordDict], RecordDict]:
    """A client that plays, in this process."""
    client = Client(TRAINING, UNDEFENDED, SEEDS[number])

    def answer(question: RecordDict) -> RecordDict:
        groups, said = unpacked(question)
        client.play(groups["parameters"], said["round"])
        sent = client.update(groups["parameters"], said["round"])
        return packed({"gradients": sent.gradients}, {"client": number, "round": said["round"]})

    return answer


def torch_file(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "kept" / "server.safetensors")

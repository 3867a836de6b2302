"""Behaviour policies as they are kept: tensors and what networks they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from rlleak.artefacts import read_tensors, write_tensors

KIND = "behaviour policy"


@dataclass(frozen=True)
class Behaviour:
    """A trained policy's networks, each under the parameter names of a `NetworkSpec`.

    networks: `critic`: Q(s, .) with one output per action; where actions are continuous Q(s, a), the action behind the
    state's vector, and beside it TD3's second, `critic2`, and `actor`: its outputs' tanh is the action. architectures:
    the `NetworkSpec` of each as a dictionary. metadata: how it was trained.
    """

    environment: str
    networks: Mapping[str, Mapping[str, Tensor]]
    architectures: Mapping[str, Mapping[str, Any]]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: str | Path) -> None:
        """Writes one safetensors file: "actor/hidden.0.weight" and so on."""
        tensors = {
            f"{role}/{name}": value for role, network in self.networks.items() for name, value in network.items()
        }
        described = {"environment": self.environment, "architectures": dict(self.architectures)}
        write_tensors(path, KIND, tensors, {**self.metadata, **described})

    @classmethod
    def load(cls, path: str | Path) -> "Behaviour":
        """Reads what `save` wrote. Raises CorruptArtefactError if it is anything else."""
        tensors, metadata = read_tensors(path, KIND)
        networks: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            role, _, name = key.partition("/")
            networks.setdefault(role, {})[name] = tensor
        environment, architectures = metadata.pop("environment"), metadata.pop("architectures")
        return cls(environment, networks, architectures, metadata)

"""A shared update: everything an honest-but-curious server holds, and nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from rlleak.artefacts import provenance, read_tensors, write_tensors
from rlleak.errors import CorruptArtefactError
from rlleak.learners.batch import Batch
from rlleak.learners.networks import PolicyNetwork
from rlleak.learners.normalisation import Normalised, Statistics
from rlleak.learners.specification import NetworkSpec

_KIND = "shared update"


@dataclass(frozen=True)
class SharedUpdate:
    """V updates of one network (one per victim), as the server sees them.

    parameters: name -> tensor in the parameter's shape, the same for all victims. gradients: name -> (V, *shape).
    loss: {"kind": "dqn" | "reinforce", and its constants such as gamma, entropy_weight}: the server set them. others:
    public tensors beside the parameters, by name: a critic's actor as "actor/<parameter>", whose architecture stands
    in the loss. known: name -> (V, *shape) bool, which entries arrived; where it lacks a name all of that tensor did.
    What did not arrive is 0 in gradients, and unknown. defence: what the victims did to it, as in config/defences.yaml:
    its parameters are public, its draws are not here. normalised: whether and by whose statistics the victims normalise
    what they observe; shared ones are among the others, those of a client's own are nowhere here.
    """

    architecture: NetworkSpec
    parameters: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    loss: Mapping[str, Any]
    batch_size: int = 1
    others: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)
    known: Mapping[str, Tensor] = field(default_factory=dict, kw_only=True)
    defence: Mapping[str, Any] = field(default_factory=lambda: {"method": "none"}, kw_only=True)
    normalised: Normalised | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(next(iter(self.gradients.values())))

    def select(self, victims: slice | Tensor) -> "SharedUpdate":
        """The same update for some of its victims: in a slice, or those of these numbers, (n,)."""
        gradients, known = (
            {name: tensor[victims] for name, tensor in group.items()} for group in (self.gradients, self.known)
        )
        return replace(self, gradients=gradients, known=known)

    def taken_as_whole(self) -> "SharedUpdate":
        """The same to a server that does not know of the defence: what did not arrive is a 0 like any other."""
        loss = {name: value for name, value in self.loss.items() if name != "shortened"}
        return replace(self, loss=loss, known={}, defence={"method": "none"})

    @property
    def statistics(self) -> Statistics | None:
        """What the victims normalise with, where it is shared."""
        if self.normalised != "shared":
            return None
        return Statistics(*(self.others[f"statistics/{name}"] for name in ("mean", "deviation")))

    def lacks(self, name: str) -> bool:
        """Whether nothing of a tensor arrived, of any victim."""
        return name not in self.gradients or (name in self.known and not bool(self.known[name].any()))

    def to(self, device: str | torch.device) -> "SharedUpdate":
        """The same update on another device."""
        groups = ("parameters", "gradients", "others", "known")
        moved = {group: {name: tensor.to(device) for name, tensor in getattr(self, group).items()} for group in groups}
        return replace(self, **moved)

    def check(self, origin: str = "the shared update") -> "SharedUpdate":
        """Itself. Raises CorruptArtefactError for missing or extra tensors, other shapes, NaN or Inf."""
        victims = len(self)
        if not victims:
            raise CorruptArtefactError(f"{origin} is of no victim; select or share at least one")
        expected = self.architecture.parameter_shapes
        for kind, group, lead in (("parameter", self.parameters, ()), ("gradient", self.gradients, (victims,))):
            if set(group) != set(expected):
                odd = sorted(set(group) ^ set(expected))
                raise CorruptArtefactError(f"{origin}: {kind}s {odd} do not fit its architecture; share it again")
            for name, tensor in group.items():
                if tuple(tensor.shape) != (*lead, *expected[name]):
                    raise CorruptArtefactError(
                        f"{origin}: {kind} '{name}' has shape {tuple(tensor.shape)}, its architecture says "
                        f"{(*lead, *expected[name])}; share it again"
                    )
                if not torch.isfinite(tensor).all():
                    raise CorruptArtefactError(f"{origin}: {kind} '{name}' holds NaN or Inf; the victim diverged")
        for name, mask in self.known.items():
            if name not in expected or mask.shape != self.gradients[name].shape or mask.dtype != torch.bool:
                raise CorruptArtefactError(f"{origin}: what is known of '{name}' does not fit it; share it again")
        return self

    def save(self, path: str | Path) -> None:
        """Writes the file that the server sees; it carries no seed and no layout."""
        tensors = {f"parameter/{name}": tensor for name, tensor in self.parameters.items()}
        tensors |= {f"gradient/{name}": tensor for name, tensor in self.gradients.items()}
        tensors |= {f"other/{name}": tensor for name, tensor in self.others.items()}
        tensors |= {f"known/{name}": tensor for name, tensor in self.known.items()}
        description = {
            "architecture": self.architecture.model_dump(mode="json"),
            "loss": dict(self.loss),
            "batch_size": self.batch_size,
            "defence": dict(self.defence),
            "normalised": self.normalised,
            "provenance": provenance(),
        }
        write_tensors(path, _KIND, tensors, description)

    @classmethod
    def load(cls, path: str | Path) -> "SharedUpdate":
        """Reads and checks a shared file. Raises CorruptArtefactError in one line."""
        tensors, description = read_tensors(path, _KIND)
        try:
            architecture = NetworkSpec.model_validate(description["architecture"])
            loss, batch_size = description["loss"], int(description["batch_size"])
            defence, normalised = description["defence"], description["normalised"]
        except (KeyError, ValidationError) as error:
            raise CorruptArtefactError(f"{path} does not say what it holds ({error}); share it again") from error
        groups: dict[str, dict[str, Tensor]] = {"parameter": {}, "gradient": {}}
        for key, tensor in tensors.items():
            kind, _, name = key.partition("/")
            groups.setdefault(kind, {})[name] = tensor
        if not groups["gradient"]:
            raise CorruptArtefactError(f"{path} holds no gradients; share it again")
        besides = {"others": groups.get("other", {}), "known": groups.get("known", {}), "defence": defence}
        besides["normalised"] = normalised
        return cls(architecture, groups["parameter"], groups["gradient"], loss, batch_size, **besides).check(str(path))


def capture(network: PolicyNetwork, loss: Any, batch: Batch, batch_size: int = 1) -> SharedUpdate:
    """The gradients of a loss over a batch, cut into updates of `batch_size` transitions each (V = N / batch_size)."""
    names, parameters = zip(*network.named_parameters(), strict=True)
    shared = []
    for start in range(0, len(batch), batch_size):
        part = batch.select(slice(start, start + batch_size))
        shared.append(torch.autograd.grad(loss.objective(network, part), parameters))
    gradients = {name: torch.stack(group) for name, group in zip(names, zip(*shared, strict=True), strict=True)}
    detached = {name: parameter.detach() for name, parameter in zip(names, parameters, strict=True)}
    return SharedUpdate(network.spec, detached, gradients, loss.constants, batch_size, others=loss.others)

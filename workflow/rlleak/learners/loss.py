"""What every loss says about itself: its kind and constants, how it is computed, and what else belongs to it."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from rlleak.learners.batch import Batch
from rlleak.learners.networks import Observation, PolicyNetwork


class Loss:
    """Base of the losses in `rlleak.learners.LOSSES`: dataclasses whose fields are constants, called with the output
    (N, outputs) for the batch's observations and the batch.
    """

    kind: ClassVar[str]

    def objective(self, network: PolicyNetwork, batch: Batch) -> Tensor:
        """What is minimised, a scalar, as a function of the network's parameters."""
        return self(network(batch.observation), batch)

    @property
    def constants(self) -> dict[str, Any]:
        """What a server tells everybody about the loss, JSON-serialisable: `kind`, and the loss's arguments."""
        return {"kind": self.kind, **vars(self)}

    @property
    def others(self) -> Mapping[str, Tensor]:
        """Public tensors that the objective needs beside the network's own parameters, by name."""
        return {}

    def state(self, observation: Observation) -> dict[str, Tensor]:
        """The environment's state among what the network reads."""
        return dict(observation)

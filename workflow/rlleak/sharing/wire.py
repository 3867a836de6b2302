"""What becomes of a gradient before it leaves the device, and what a server reads out of what arrives."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rlleak.errors import ConfigurationError
from rlleak.registry import unknown_name

_OPTIMISERS = ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "NAdam", "RAdam")


@dataclass(frozen=True)
class Wire:
    """How an update leaves the device.

    form: the gradient; the optimiser's step (its first, from a fresh optimiser); or the difference of the weights after
    that step and before, which is the step plus the weights' rounding. clip_norm: gradients longer than this over all
    parameters are shortened to it first (torch.nn.utils.clip_grad_norm_). optimiser, learning_rate, options: of
    torch.optim; the server set them. precision: float16 is what half of the bytes costs.
    """

    form: Literal["gradient", "step", "weight_difference"] = "gradient"
    clip_norm: float | None = None
    optimiser: str = "SGD"
    learning_rate: float = 1e-3
    options: Mapping[str, Any] = field(default_factory=dict)
    precision: Literal["float32", "float16"] = "float32"

    def __post_init__(self) -> None:
        if self.form not in ("gradient", "step", "weight_difference"):
            raise unknown_name("form of an update", self.form, ["gradient", "step", "weight_difference"])
        if self.precision not in ("float32", "float16"):
            raise unknown_name("precision", self.precision, ["float32", "float16"])
        if self.optimiser not in _OPTIMISERS:
            raise unknown_name("optimiser", self.optimiser, list(_OPTIMISERS))
        if self.clip_norm is not None and self.clip_norm <= 0:
            raise ConfigurationError("clip_norm must be above 0; leave it out for no clipping")
        if self.learning_rate <= 0:
            raise ConfigurationError("learning_rate must be above 0")

    @property
    def description(self) -> dict[str, Any]:
        """For a header: JSON-serialisable."""
        return asdict(self)

    def send(self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What leaves the device, by the parameters' names.

        Raises ConfigurationError where float16 overflows or an optimiser does not know its options.
        """
        # An optimiser's step is taken in float64, so that it is the step and not the rounding of weights.
        dtype = torch.float64 if self.form == "step" else None
        moved = {name: nn.Parameter(value.detach().clone().to(dtype)) for name, value in parameters.items()}
        for name, parameter in moved.items():
            parameter.grad = gradients[name].detach().clone().to(parameter.dtype)
        if self.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(moved.values(), self.clip_norm)
        if self.form == "gradient":
            sent = {name: parameter.grad for name, parameter in moved.items()}
        else:
            try:
                optimiser = getattr(torch.optim, self.optimiser)(moved.values(), lr=self.learning_rate, **self.options)
            except (TypeError, ValueError) as error:
                raise ConfigurationError(f"optimiser {self.optimiser}: {error}") from error
            optimiser.step()
            sent = {name: (moved[name] - parameters[name]).detach() for name in moved}
        sent = {name: value.to(parameters[name].dtype) for name, value in sent.items()}
        return self._rounded(sent)

    def read(self, sent: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The gradient as the server reads it out of what arrived.

        SGD's first step is a multiple of it, with Nesterov's momentum m 1 + m times as long; `maximize` turns its sign.
        Adam's first step is -lr g / (|g| + eps) (Kingma and Ba 2015, algorithm 1, with both moments' bias corrected),
        which is undone: exact while |g| is not many times eps, else little more than the sign is left. Steps of other
        optimisers are taken as directions.
        """
        if self.form == "gradient":
            return {name: value.to(parameters[name].dtype) for name, value in sent.items()}
        # torch.optim.AdamW decays weights unless told not to; no other optimiser does.
        decay = float(self.options.get("weight_decay", 1e-2 if self.optimiser == "AdamW" else 0.0))
        found = {}
        for name, step in sent.items():
            unit, weight = -step.double() / self.learning_rate, parameters[name].double()
            if self.optimiser == "SGD" and self.options.get("nesterov", False):
                unit = unit / (1 + float(self.options.get("momentum", 0.0)))
            if self.optimiser in ("SGD", "AdamW") and decay:
                unit = unit - decay * weight
            if self.optimiser in ("Adam", "AdamW"):
                unit = self._undo_adam(unit)
                if self.optimiser == "Adam":
                    unit = unit - decay * weight
            found[name] = (-unit if self.options.get("maximize", False) else unit).to(parameters[name].dtype)
        return found

    def _undo_adam(self, unit: Tensor) -> Tensor:
        eps = float(self.options.get("eps", 1e-8))
        # A float32 step knows 1 - |u| no better than this: beyond, only the sign is left.
        room = (1 - unit.abs()).clamp(min=2.0**-24)
        return eps * unit / room

    def _rounded(self, sent: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.precision != "float16":
            return sent
        rounded = {name: value.half() for name, value in sent.items()}
        for name, value in rounded.items():
            if not bool(torch.isfinite(value).all()) and bool(torch.isfinite(sent[name]).all()):
                raise ConfigurationError(f"'{name}' overflows float16; clip the gradient or scale the loss")
        return {name: value.to(sent[name].dtype) for name, value in rounded.items()}

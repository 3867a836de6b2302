"""What a victim may do to its update before it shares it: the entries of `config/defences.yaml`, one model a kind."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from rlleak.configuration.strict import Strict, in_one_line
from rlleak.errors import ConfigurationError


class NoDefence(Strict):
    """The gradient as it is."""

    method: Literal["none"]


class GaussianNoise(Strict):
    """Independent Gaussian noise on every number of the gradient; one of the three measures of it."""

    method: Literal["gaussian_noise"]
    relative_deviation: float | None = Field(
        None, gt=0, le=100, description="the noise's length over the gradient's, both over all parameters of one update"
    )
    variance: float | None = Field(None, gt=0, le=100, description="of each number, absolute")
    snr_db: float | None = Field(None, ge=-40, le=200, description="-20 log10 of relative_deviation")

    @model_validator(mode="after")
    def _one_measure(self) -> "GaussianNoise":
        if sum(value is not None for value in (self.relative_deviation, self.variance, self.snr_db)) != 1:
            raise ValueError("give either relative_deviation, variance or snr_db")
        return self


Norm = Annotated[float, Field(gt=0, le=1e6, description="longest that an update may be, over all its parameters")]


class Clipping(Strict):
    """Updates that are longer are shortened."""

    method: Literal["clipping"]
    norm: Norm


class ClippedGaussian(Strict):
    """Clipping, then noise in units of the norm: what has an epsilon. The last three values only count."""

    method: Literal["clipped_gaussian"]
    norm: Norm
    noise_multiplier: float = Field(gt=0, le=1e3, description="the noise's deviation on each number, over the norm")
    delta: float = Field(1e-5, gt=0, lt=1)
    rounds: int = Field(1, ge=1, description="updates that one victim shares")
    sample_rate: float = Field(1.0, gt=0, le=1, description="chance that a victim takes part in a round")


class Float16(Strict):
    """Rounded to half precision."""

    method: Literal["float16"]


class Int8(Strict):
    """Rounded to 255 levels of each tensor."""

    method: Literal["int8"]


class QSGD(Strict):
    """Rounded at random to levels of each bucket's length (Alistarh et al. 2017)."""

    method: Literal["qsgd"]
    levels: int = Field(ge=1, le=2**15)
    bucket: int = Field(512, ge=1, description="numbers that share a length")


class Sign(Strict):
    """The sign alone, times each tensor's mean magnitude."""

    method: Literal["sign"]


class TopK(Strict):
    """The largest numbers of an update."""

    method: Literal["top_k"]
    share: float = Field(gt=0, le=1, description="of all numbers")
    error_feedback: bool = Field(False, description="in training: what is not sent is added the next time")


class RandomK(Strict):
    """Some numbers of an update, drawn evenly."""

    method: Literal["random_k"]
    share: float = Field(gt=0, le=1, description="of all numbers")
    error_feedback: bool = Field(False, description="in training: what is not sent is added the next time")


class Withheld(Strict):
    """Whole tensors stay at home."""

    method: Literal["withheld"]
    parts: tuple[Literal["biases", "first_layer", "body"], ...] = Field(
        min_length=1, description="body: all but the head"
    )


class PrunedRepresentation(Strict):
    """Soteria's idea on the first linear layer's gradient."""

    method: Literal["pruned_representation"]
    share: float = Field(gt=0, le=1, description="of the layer's inputs that are not 0")
    probes: int = Field(64, ge=1, description="random directions that tell how an input follows the observation")


MOST_STEPS = 1000


class LocalSteps(Strict):
    """Federated averaging: steps of SGD at home, and what leaves is how far the weights moved, in a gradient's unit."""

    method: Literal["local_steps"]
    steps: int = Field(
        ge=1, le=MOST_STEPS, description="each on its own part of the batch, in an order of the device's"
    )
    step_size: float = Field(gt=0, le=10)


_Single = Annotated[
    NoDefence
    | LocalSteps
    | GaussianNoise
    | Clipping
    | ClippedGaussian
    | Float16
    | Int8
    | QSGD
    | Sign
    | TopK
    | RandomK
    | Withheld
    | PrunedRepresentation,
    Field(discriminator="method"),
]


class Composed(Strict):
    """Several, one after another; local steps come first, since they train."""

    method: Literal["composed"]
    steps: tuple[_Single, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _fit_together(self) -> "Composed":
        if any(isinstance(step, LocalSteps) for step in self.steps[1:]):
            raise ValueError("local_steps makes the update that the others change; put it first")
        if sum(getattr(step, "error_feedback", False) for step in self.steps) > 1:
            raise ValueError("what is not sent is kept once; leave error_feedback to one of the steps")
        return self


DefenceSettings = Annotated[_Single | Composed, Field(discriminator="method")]
"""Any entry. A new kind of defence: a model here, and the function of the same name in rlleak.sharing.DEFENCES."""


def parts_of(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries that an entry consists of: those of a composition, or itself."""
    return list(settings["steps"]) if settings["method"] == "composed" else [settings]


def relative_of(part: Mapping[str, Any]) -> float | None:
    """How long an entry's noise is, of the gradient it is added to: as given, or by its ratio in dB; else None.

    relative_deviation, or snr_db = -20 log10 of it.
    """
    if part.get("snr_db") is not None:
        return 10 ** (-part["snr_db"] / 20)
    return part.get("relative_deviation")


def defence_settings(given: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]) -> dict[str, Any]:
    """A defence's entry with all its values, of a method's name, an entry, or a list of such.

    Raises ConfigurationError in one line.
    """
    if isinstance(given, str):
        content: Any = {"method": given}
    elif isinstance(given, Sequence):
        content = {"method": "composed", "steps": [{"method": one} if isinstance(one, str) else one for one in given]}
    else:
        content = given
    try:
        return TypeAdapter(DefenceSettings).validate_python(content).model_dump(mode="json")
    except ValidationError as error:
        raise ConfigurationError(f"defence: {in_one_line(error)}") from error

"""What a victim may do to its gradient before it shares it: the entries of `config/defences.yaml`, one model a kind."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlleak.configuration.strict import Strict


class NoDefence(Strict):
    """The gradient as it is."""

    method: Literal["none"]


class GaussianNoise(Strict):
    """Independent Gaussian noise on every number of the gradient; one of the two measures of it."""

    method: Literal["gaussian_noise"]
    relative_deviation: float | None = Field(
        None, gt=0, description="the noise's length over the gradient's, both over all parameters of one update"
    )
    deviation: float | None = Field(None, gt=0, description="of each number, absolute")

    @model_validator(mode="after")
    def _one_measure(self) -> "GaussianNoise":
        if (self.relative_deviation is None) == (self.deviation is None):
            raise ValueError("give either relative_deviation or deviation")
        return self


DefenceSettings = Annotated[NoDefence | GaussianNoise, Field(discriminator="method")]
"""Any entry. A new kind of defence: a model here, and the function of the same name in rlleak.sharing.DEFENCES."""

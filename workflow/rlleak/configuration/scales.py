"""Sizes of a run, and nothing else: every scale takes the same code path."""

from pydantic import Field, model_validator

from rlleak.configuration.strict import Strict


class Iterations(Strict):
    """Gradient evaluations per victim and restart; every compared attack gets the same."""

    vector: int = Field(gt=0, description="stage 1 (linear inputs)")
    image: int = Field(gt=0, description="stage 2 (images)")
    search_vector: int = Field(gt=0, description="per candidate of the step-size search on public rooms")
    search_image: int = Field(gt=0)


class DetectorSize(Strict):
    """How much the detector sees and how long it learns."""

    layouts: int = Field(gt=0, description="public layouts to learn from")
    held_out_layouts: int = Field(gt=0, description="other public layouts, to score it on")
    views_per_layout: int = Field(gt=0)
    epochs: int = Field(gt=0)


class Scale(Strict):
    """How many victims, iterations, samples."""

    victims: int = Field(gt=0, le=10_000, description="private transitions; victim i lives in room type i % 4")
    victims_per_shard: int = Field(gt=0, description="victims that one job treats")
    network_seeds: int = Field(1, gt=0, description="initialised networks per learner, network and setting")
    public_victims: int = Field(gt=0, description="the attacker's own transitions, for its step-size search and prior")
    iterations: Iterations
    detector: DetectorSize
    bootstrap_samples: int = Field(gt=0, description="resamples behind each confidence interval")

    @model_validator(mode="after")
    def _shards_are_not_larger_than_the_whole(self) -> "Scale":
        if self.victims_per_shard > self.victims:
            raise ValueError(f"victims_per_shard ({self.victims_per_shard}) exceeds victims ({self.victims})")
        return self

    @property
    def shards(self) -> int:
        return -(-self.victims // self.victims_per_shard)

    def shard(self, index: int) -> range:
        """The victims of a shard, by their global index."""
        return range(index * self.victims_per_shard, min((index + 1) * self.victims_per_shard, self.victims))

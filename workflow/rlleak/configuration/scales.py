"""Sizes of a run, and nothing else: every scale takes the same code path."""

from typing import Annotated

from pydantic import Field, model_validator

from rlleak.configuration.axes import TRAINED_IN
from rlleak.configuration.environments import ENVIRONMENTS, EnvironmentName
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


class ReplaySize(Strict):
    """Clients that keep what they live through, for updates over several transitions and for training networks."""

    clients: int = Field(gt=0, description="private clients; each shares one update per batch size")
    transitions: int = Field(gt=1, description="that a client keeps: the largest batch that is run")
    public_clients: int = Field(gt=0, description="the attacker's own clients")
    updates: int = Field(gt=0, description="updates of a trained network, on the public clients' transitions")


class CandidateSize(Strict):
    """The homes among which an onlooker looks for the one that a reconstruction shows."""

    rooms: int = Field(gt=0, le=120, description="private layouts: the first victims', or all 120")
    photographs_per_room: int = Field(gt=0)
    target_epochs: int = Field(gt=0, description="of the classifier of target objects")


class StateSize(Strict):
    """Attacks on whole transitions, where a state is a vector or an image."""

    victims: int = Field(gt=0, description="updates that are attacked")
    restarts: int = Field(gt=0, description="starting points per victim")
    iterations: int = Field(gt=0, description="gradient evaluations of each; every compared attack gets the same")
    search_iterations: int = Field(gt=0, description="of each candidate step size, on the attacker's own transitions")
    epochs: int = Field(gt=0, description="of the transition model")
    policy_steps: int = Field(gt=0, description="that a trained behaviour policy learns from")


class TransitionSize(Strict):
    """Environments, and attacks on their transitions (s, a, r, s')."""

    vector: StateSize
    image: StateSize
    policy_episodes: int = Field(gt=0, description="that tell how good a behaviour policy is")
    policy_horizon: int | None = Field(None, gt=0, description="steps of each of them at most; null: its own")
    settings: tuple[EnvironmentName, ...] | None = Field(None, description="the others are left out; null: all")
    batch: int | None = Field(None, gt=0, description="transitions of the largest update that is attacked; null: any")
    levels: int | None = Field(None, gt=0, description="of a defence in one product, the last among them; null: all")

    def of(self, setting: str) -> StateSize:
        """The sizes for an environment."""
        return self.vector if ENVIRONMENTS[setting].image_shape is None else self.image


class TrainingSize(Strict):
    """Federated training in one kind of environment."""

    runs: int = Field(gt=0, description="that differ in all seeds")
    rounds: int = Field(gt=0, description="updates of each client")
    evaluations: int = Field(gt=0, description="points of a learning curve, evenly spaced")
    episodes: int = Field(gt=0, description="of each of them")
    horizon: int | None = Field(None, gt=0, description="steps of each episode at most; null: its own")

    @model_validator(mode="after")
    def _each_point_has_a_round(self) -> "TrainingSize":
        if self.evaluations > self.rounds:
            raise ValueError(f"evaluations ({self.evaluations}) exceed rounds ({self.rounds})")
        return self


class FederationSize(Strict):
    """Federated training, by kind of environment."""

    classic: TrainingSize
    control: TrainingSize
    grid: TrainingSize
    image: TrainingSize
    rooms: TrainingSize

    def of(self, setting: str) -> TrainingSize:
        """The sizes for an environment."""
        kind = TRAINED_IN[setting].kind
        return self.image if kind in ("atari", "driving") else getattr(self, kind)


class OverheadSize(Strict):
    """How much of what protection costs is measured."""

    networks: int = Field(gt=0, le=3, description="of the small, the medium and the large one, in this order")
    clients: tuple[Annotated[int, Field(ge=2, le=1000)], ...] = Field(min_length=1, description="that share in a round")


class Scale(Strict):
    """How many victims, iterations, samples."""

    victims: int = Field(gt=0, le=10_000, description="private transitions; victim i lives in room type i % 4")
    victims_per_shard: int = Field(gt=0, description="victims that one job treats")
    network_seeds: int = Field(1, gt=0, description="initialised networks per learner, network and setting")
    public_victims: int = Field(gt=0, description="the attacker's own transitions, for its step-size search and prior")
    few_victims: int = Field(gt=0, description="transitions that slow attacks and studies of defences meet")
    levels: int | None = Field(None, gt=0, description="of a defence in one product, as `transitions.levels`, of rooms")
    replay: ReplaySize
    iterations: Iterations
    detector: DetectorSize
    candidates: CandidateSize
    transitions: TransitionSize
    federation: FederationSize
    overheads: OverheadSize
    prior_iterations: int = Field(gt=0, description="batches of patches that the prior over images is learnt from")
    bootstrap_samples: int = Field(gt=0, description="resamples behind each confidence interval")

    @model_validator(mode="after")
    def _shards_are_not_larger_than_the_whole(self) -> "Scale":
        if self.candidates.rooms < min(self.victims, 120):
            raise ValueError(f"candidates.rooms ({self.candidates.rooms}) leaves out rooms of {self.victims} victims")
        most = max(self.transitions.vector.victims, self.transitions.image.victims)
        if most > self.victims_per_shard:
            # How far victims lie apart is measured among those of one file.
            raise ValueError(f"attacks on transitions meet {most} victims, more than victims_per_shard")
        if self.victims_per_shard > self.victims:
            raise ValueError(f"victims_per_shard ({self.victims_per_shard}) exceeds victims ({self.victims})")
        return self

    @property
    def shards(self) -> int:
        """How many files hold all victims."""
        return shards_of(self.victims, self.victims_per_shard)

    def shard(self, index: int) -> range:
        """The places of a shard in the victims' order."""
        return _part(index, self.victims, self.victims_per_shard)

    def updates(self, batch: int, few: bool = False) -> int:
        """How many updates an attack meets: one per victim, or one per client if over several transitions.

        Few are so many transitions in all, and one update at least: what a slow attack takes grows with both.
        """
        most = self.victims if batch == 1 else self.replay.clients
        return min(max(1, self.few_victims // batch), most) if few else most

    def in_shard(self, index: int, updates: int) -> int:
        """How many of the first so many updates lie in a shard: the first of its file."""
        return len(_part(index, updates, self.victims_per_shard))

    def client_shard(self, index: int) -> range:
        """The places of a shard in the clients' order."""
        return _part(index, self.replay.clients, self.victims_per_shard)


def shards_of(count: int, each: int) -> int:
    """How many shards hold `count` things."""
    return -(-count // each)


def _part(index: int, count: int, each: int) -> range:
    return range(index * each, min((index + 1) * each, count))

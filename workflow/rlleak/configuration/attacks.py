"""What an attack may be told: its method and how its optimisation runs. Step sizes are found by tuning."""

from typing import Any, Literal

from pydantic import Field, model_validator

from rlleak.configuration.strict import Strict

Optimiser = Literal["adam", "signed_adam"]


class StageSettings(Strict):
    """How one stage of an attack is optimised."""

    optimiser: Optimiser = Field(
        "adam", description="signed_adam: Adam on the sign of the gradient (Geiping et al. 2020)"
    )
    optimisers: tuple[Optimiser, ...] = Field((), description="that tuning tries, each with each of the candidates")
    momentum: float = Field(0.9, ge=0, lt=1, description="decay of the gradient's running mean")
    schedule: Literal["constant", "cosine", "exponential", "steps"] = Field(
        "cosine", description="steps: a tenth after 3/8, 5/8 and 7/8 of the iterations (Geiping et al. 2020)"
    )
    final_step: float = Field(0.01, gt=0, le=1, description="last step size as a share of the first")
    candidates: tuple[float, ...] = Field((), description="step sizes that tuning tries")
    step_size: float | None = Field(None, gt=0, description="first step size; null until tuned")
    iterations: int | None = Field(None, ge=1, description="gradient evaluations; null until the scale says")

    @model_validator(mode="after")
    def _positive(self) -> "StageSettings":
        if any(candidate <= 0 for candidate in self.candidates):
            raise ValueError("candidates must be above 0")
        return self

    @property
    def tries(self) -> list[dict[str, Any]]:
        """The values that tuning tries, by key; a single one where there is nothing to choose."""
        steps = self.candidates or (self.step_size,)
        return [
            {"optimiser": name, "step_size": step} for name in self.optimisers or (self.optimiser,) for step in steps
        ]


class Noise(Strict):
    """Gaussian noise from which a reconstruction starts."""

    mean: float = 0.0
    deviation: float = Field(1.0, ge=0)


class SeparationSettings(Strict):
    """When the samples of a batch are claimed, and how long they are searched for."""

    claim_error: float = Field(1e-3, gt=0, description="relative error that a claimed sample shall stay below")
    rounds: int = Field(60, ge=0, description="of 256 starts each, for errors at several outputs")


class LikeliestSettings(Strict):
    """When an image is sought between a guess and too few equations, and how."""

    # Rooms: the last convolution says 0.05 numbers of an image's with 4, 8 and 8 channels, 0.12 with 8, 16 and 16, and
    # the likeliest image comes closest; with the default network in S1 0.57.
    below: float = Field(0.25, ge=0, description="the last convolution's equations per number of the image up to which")
    # S1 under noise as long as the gradient (this is then 0.45), depth: 34.1 dB, and 19.1 by total variation; of a
    # tenth of it total variation reaches 33.1.
    noisy: float = Field(0.3, ge=0, description="relative noise of the last kernels' gradient from which, too")
    # S2 depth with the fewest channels: 37.9, 38.7 and 37.8 dB at 0.001, 0.003 and 0.01.
    error: float = Field(0.003, gt=0, description="errors, in image units, below which equations count the same")
    # The same: 37.8 and 39.1 dB after 5 and 20 rounds.
    rounds: int = Field(10, ge=1, description="times that the network is linearised")
    steps: int = Field(20, ge=1, description="conjugate-gradient steps in each round")


class PeelSettings(Strict):
    """How convolutions are undone, one by one, and the image found behind them.

    Chosen on public rooms by hand, two to four of them; `make calibrate` tries those that matter most again.
    """

    feature_iterations: int = Field(400, ge=1, description="projected gradient steps for a convolution's input")
    polish_rounds: int = Field(3, ge=0, description="revisions of its support, in float64")
    iterations: int = Field(600, ge=1, description="steps for the image, from the second convolution's equations")
    step_size: float = Field(0.03, gt=0, description="the first of those, in image units")
    variation: tuple[float, float] = Field((30.0, 0.3), description="total variation's weight, first and last")
    activation_iterations: int = Field(1000, ge=1, description="steps for the second convolution's input, from there")
    refining: float = Field(0.1, gt=0, description="error of the image that refining starts from, in image units")
    edge: float = Field(1e-3, gt=0, description="below this a difference between pixels is no edge but rounding")
    mask_misfit: float = Field(1e-5, gt=0, description="share of a channel's error by which its bias may disagree")
    image_tolerance: float = Field(
        2e-3, gt=0, description="errors, in image units, below which equations count the same"
    )
    # S1: 0.5, 0.75 and 0.95 give the same.
    confirmed: float = Field(
        0.75,
        ge=0,
        le=1,
        description="share of the first layer's masks confirmed from which its values do at first",
    )
    # S1 RGB (Y), depth: 40.9, 45.5 dB at 0.0025, 41.2, 46.0 at 0.005, 41.2, 46.2 at 0.01.
    learnt_error: float = Field(0.005, gt=0, description="error, in image units, that a learnt prior is led down to")
    likeliest: LikeliestSettings = LikeliestSettings()


class BestSettings(Strict):
    """When `best` matches, and against what, under noise.

    Comments give what four public rooms said (`make calibrate`, results/reference/calibration).
    """

    # S2 under noise 3 and 10 times as long as the gradient: 0 to 0.75 give the same, 1 costs 9 and 2 dB of depth.
    heard: float = Field(
        0.5, ge=0, le=1, description="squared cosine with the true features below which no image is sought behind them"
    )
    # Mean over noise 1, 3 and 10 times as long as the gradient, S2 depth: 30.1 dB at 0.1, 29.7 at 0.5, 30.3 at 0.9.
    loud: float = Field(0.9, gt=0, description="share of noise from which a convolution's gradient is not matched")
    # 0.25, 1 and 2 give the same in S1 and S2, without noise and up to a tenth of the gradient.
    matched: float = Field(
        1.0, gt=0, description="the second kernels' numbers per number of the image from which it matches under noise"
    )
    # S2 depth, noise of a tenth and once the gradient's length: 38.0 and 37.0 dB at 2, 39.4 and 35.5 at 4; who never
    # takes it for stuck loses 12 dB at a thousandth.
    stuck: float = Field(
        2.0, ge=1, description="times the matching loss that noise leaves of the truth from which matching got stuck"
    )
    # S2 depth under noise 3 and 10 times as long: 28.8 and 20.5 dB at 0, 32.6 and 26.0 at 1, 27.0 and 18.5 at 2.
    variation_growth: float = Field(
        1.0, ge=0, description="total variation's weight grows with this power of a gradient's length over its signal's"
    )


class AttackSettings(Strict):
    """An entry of `config/attacks.yaml`."""

    method: str = Field(description="a name in rlleak.attacks.ATTACKS")
    vector: StageSettings | None = Field(None, description="stage 1: vector, linear inputs, target, action")
    image: StageSettings | None = Field(None, description="stage 2: image (in a joint attack: image and vector)")
    tv_weight: float = Field(0.1, ge=0, description="lambda of the total variation, of the mean over pixels")
    restarts: int = Field(1, ge=1, description="starting points per victim; the best matching loss wins")
    bounded: bool = Field(True, description="keep image in [0, 1], vector in [-1, 1] and ReLU outputs above 0")
    slow: bool = Field(False, description="meets only the scale's few_victims, the first in the victims' order")
    adaptive: bool = Field(True, description="knows which entries of an update arrived; else takes the rest for 0")
    short: bool = Field(False, description="no more iterations than a try of the search for step sizes gets")
    joint: bool = Field(False, description="image and vector in one stage, which gets both stages' iterations")
    separation: SeparationSettings = SeparationSettings()
    peel: PeelSettings = PeelSettings()
    best: BestSettings = BestSettings()
    initial_image: Noise = Noise()
    initial_vector: Noise = Noise()

    @property
    def stages(self) -> dict[str, StageSettings]:
        """The stages that this attack has, by name, in order."""
        return {name: stage for name in ("vector", "image") if (stage := getattr(self, name)) is not None}

    def with_stage(self, name: str, **changes: object) -> "AttackSettings":
        """The same settings with some of a stage's values changed, validated again."""
        stage = getattr(self, name).model_dump() | changes
        return AttackSettings.model_validate(self.model_dump() | {name: stage})


Priors = Literal["none", "weights", "100", "300", "0.1%", "0.3%", "0.5%", "1%", "biased"]
"""What the attacker knows beforehand: how many transitions of a nominal million; nothing; or what weights tell."""

PRIOR_SIZES: dict[str, int] = {
    "none": 0, "weights": 0, "100": 100, "300": 300, "0.1%": 1000, "0.3%": 3000, "0.5%": 5000, "1%": 10_000,
    "biased": 3000,
}  # fmt: skip
"""How many transitions each is learnt from: the paper's fractions are of a nominal million, which it does not name."""


class TransitionSettings(Strict):
    """An attack on whole transitions (s, a, r, s'); its loss is distance + alpha R_s + beta R_r + gamma R_f."""

    method: str = Field(description="a name in rlleak.attacks.transitions.ATTACKS")
    alpha: float = Field(0.0, ge=0, description="weight of R_s, states like the prior's")
    beta: float = Field(0.0, ge=0, description="weight of R_r, rewards within the prior's range")
    gamma: float = Field(0.0, ge=0, description="weight of R_f, next states as the transition model foretells")
    prior: Priors = "0.3%"
    distance: Literal["l2", "cosine"] = Field("l2", description="between gradients: squared difference, or 1 - cosine")
    tv_weight: float = Field(0.0, ge=0, description="of the total variation of images, a mean over pixels")
    candidates: tuple[float, ...] = Field((0.01, 0.03, 0.1, 0.3), description="step sizes that tuning tries")
    step_size: float | None = Field(None, gt=0, description="first step size; null: the attacker tries the candidates")
    schedule: Literal["constant", "cosine"] = "cosine"
    iterations: int = Field(300, ge=1, description="gradient evaluations of each restart")
    search_iterations: int = Field(100, ge=1, description="of each candidate, on the attacker's own transitions")
    restarts: int = Field(4, ge=1, description="starting points per victim; all are kept, the lowest loss is chosen")
    adaptive: bool = Field(True, description="knows the defence, and which entries arrived; else takes all as it is")

    @model_validator(mode="after")
    def _has_a_step(self) -> "TransitionSettings":
        if not self.candidates and self.step_size is None:
            raise ValueError("give a step_size, or candidates to try")
        if any(candidate <= 0 for candidate in self.candidates):
            raise ValueError("candidates must be above 0")
        return self

"""An experiment is a file: what is run, what is measured, what is published, and what the paper says about it."""

from collections.abc import Iterable
from difflib import get_close_matches
from fnmatch import fnmatchcase
from itertools import product
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from rlleak.configuration.axes import (
    AXES,
    Actions,
    Cell,
    Learner,
    Policy,
    Precision,
    RoomType,
    ScaleName,
    Setting,
    Simulator,
)
from rlleak.configuration.strict import Strict

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
Metric = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$|^trust_[A-Za-z0-9_.]*\*?$")]
TRUST = "trust_"
"""How metrics begin that an attack measures itself, without the truth: trust_<its name in the reconstruction>."""
Statistic = Literal["mean", "median", "std", "max", "min", "count_above", "share_above"]


class Selection(Strict):
    """Which rows of the metrics a term is computed from; network and room type are not restricted if left out."""

    learner: Learner
    attack: Name
    setting: Setting
    network: Name | None = None
    batch: int = 1
    actions: Actions = "any"
    precision: Precision = "float32"
    defence: Name = "none"
    policy: Policy = "random"
    room_type: RoomType | None = None

    def holds(self, cell: Cell) -> bool:
        """Whether the cell's rows are among the chosen."""
        return all(getattr(self, axis) in (None, getattr(cell, axis)) for axis in AXES if axis != "seed")


class Term(Strict):
    """One number: a statistic of a metric over the victims that `where` selects."""

    metric: Metric
    where: Selection
    statistic: Statistic = "mean"
    threshold: float | None = Field(None, description="for count_above and share_above: strictly above")

    @model_validator(mode="after")
    def _threshold_where_needed(self) -> "Term":
        if self.statistic.endswith("_above") != (self.threshold is not None):
            raise ValueError("a threshold belongs to count_above and share_above, and to nothing else")
        return self


class Comparable(Strict):
    """Where a claim may be judged; elsewhere its verdict is NOT COMPARABLE."""

    simulators: tuple[Simulator, ...] = Field(min_length=1)
    scales: tuple[ScaleName, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _smoke_judges_nothing(self) -> "Comparable":
        if "smoke" in self.scales:
            raise ValueError("scale smoke judges nothing; name reduced or paper")
        return self


# Values depend on Unity's images and on 240 samples; relations between methods hold in any rooms, if enough of them.
_COMPARABLE = {
    "value": Comparable(simulators=("thor",), scales=("paper",)),
    "relation": Comparable(simulators=("rooms", "thor"), scales=("reduced", "paper")),
}


class Claim(Strict):
    """What a paper says, made checkable: `left op factor * right + margin`, with the sentence it was read from."""

    id: Name
    where: str = Field(min_length=1, description="its place in the paper, e.g. Table I, QGI S1 RGB")
    quote: str = Field(min_length=1)
    kind: Literal["value", "relation"]
    left: Term
    op: Literal[">", "<", ">=", "<=", "within"]
    right: float | Term
    factor: float = Field(
        1.0,
        gt=0,
        description="left op factor * right, where right is a term (0.4: down by 60 %); of a negative right, which no "
        "multiple makes larger: right + (factor - 1) * |right|",
    )
    margin: float = Field(0.0, description="left op right + margin; for > and < (and >=, <=)")
    tolerance: float | None = Field(None, ge=0, description="for within: |left - right| <= tolerance")
    each: Literal["room_type"] | None = Field(None, description="must hold for every one of them")
    given: Name | None = Field(
        None,
        description="the claim of this experiment without which this one says nothing, e.g. that there is something "
        "to destroy: unless it is reproduced, this one is inconclusive",
    )
    comparable_on: Comparable | None = Field(None, description="default: by kind")
    source: Literal["paper", "summary", "ours"] = "paper"
    note: str = Field("", description="e.g. where the paper contradicts itself")

    @model_validator(mode="before")
    @classmethod
    def _comparable_by_kind(cls, content):
        if isinstance(content, dict) and content.get("comparable_on") is None and content.get("kind") in _COMPARABLE:
            content = {**content, "comparable_on": _COMPARABLE[content["kind"]]}
        return content

    @model_validator(mode="after")
    def _tolerance_where_needed(self) -> "Claim":
        if (self.op == "within") != (self.tolerance is not None):
            raise ValueError("a tolerance belongs to op 'within', and to nothing else")
        if self.op == "within" and self.margin:
            raise ValueError("a margin has no meaning with op 'within'; use tolerance")
        if self.factor != 1 and not isinstance(self.right, Term):
            raise ValueError("a factor belongs to a comparison of two terms; multiply the number instead")
        return self

    @property
    def terms(self) -> list[Term]:
        """What is computed: the left side, and the right where it is no number."""
        return [self.left, *([self.right] if isinstance(self.right, Term) else [])]


class Publication(Strict):
    """A table or a figure made from the experiment's metrics."""

    kind: Literal["table", "figure"]
    name: Name
    builder: Name
    caption: str = Field(min_length=1)


class Product(Strict):
    """Axes of which every combination is run."""

    learner: tuple[Learner, ...] = Field(min_length=1)
    attack: tuple[Name, ...] = Field(min_length=1)
    setting: tuple[Setting, ...] = Field(min_length=1)
    network: tuple[Name, ...] = Field(("mnih2015",), min_length=1)
    batch: tuple[Annotated[int, Field(gt=0)], ...] = Field((1,), min_length=1, description="transitions per update")
    actions: tuple[Actions, ...] = Field(("any",), min_length=1, description="shared: all of an update took the same")
    precision: tuple[Precision, ...] = Field(("float32",), min_length=1, description="of the victim's computation")
    defence: tuple[Name, ...] = Field(("none",), min_length=1, description="names in config/defences.yaml")
    policy: tuple[Policy, ...] = Field(("random",), min_length=1, description="of environments: what chose the actions")
    scales: tuple[ScaleName, ...] = Field(
        get_args(ScaleName), min_length=1, description="at which these cells run; left out: all"
    )

    @model_validator(mode="after")
    def _one_transition_shares_nothing(self) -> "Product":
        if "shared" in self.actions and 1 in self.batch:
            raise ValueError("a batch of 1 has one action anyway; give actions 'shared' batches above 1 only")
        return self

    def cells(self, seeds: int) -> set[Cell]:
        """Every combination; seeds are 0, 1, ..."""
        given = {"seed": range(seeds)}
        return {
            Cell(*combination) for combination in product(*(given.get(axis, getattr(self, axis, ())) for axis in AXES))
        }


def measures(metrics: Iterable[str], metric: str) -> bool:
    """Whether a metric is among those that an experiment lists."""
    return any(fnmatchcase(metric, pattern) for pattern in metrics)


def _never_met(asked: Selection, cells: Iterable[Cell]) -> str:
    """The axes of which no cell has the value that a claim asks for, with the values that there are; or nothing."""
    there = {axis: {getattr(cell, axis) for cell in cells} for axis in AXES if axis in Selection.model_fields}
    odd = {axis: value for axis in there if (value := getattr(asked, axis)) not in (None, *there[axis])}
    return "".join(
        f" ({axis} {value}; there is: {', '.join(map(str, sorted(there[axis])))})" for axis, value in odd.items()
    )


class Experiment(Strict):
    """One table or figure's worth of work; its cells are the union of its grid's products."""

    id: Name
    paper: str = Field(min_length=1)
    title: str = Field(min_length=1)
    grid: tuple[Product, ...] = Field(min_length=1)
    metrics: tuple[Metric, ...] = Field(min_length=1, description="what is published; trust_* is all that begins so")
    publishes: tuple[Publication, ...] = ()
    claims: tuple[Claim, ...] = ()

    @model_validator(mode="after")
    def _claims_lie_in_the_grid(self) -> "Experiment":
        cells = self.cells(1)
        for claim in self.claims:
            for term in claim.terms:
                asked = term.where
                if not any(asked.holds(cell) for cell in cells):
                    raise ValueError(
                        f"claim '{claim.id}' is about {asked.attack} on {asked.learner} in {asked.setting}, "
                        f"which the grid does not run{_never_met(asked, cells)}; add it to the grid or mend the claim"
                    )
                if not measures(self.metrics, term.metric):
                    close = get_close_matches(term.metric, self.metrics, n=1)
                    mend = f"did you mean '{close[0]}'? Else add it" if close else "add it"
                    raise ValueError(f"claim '{claim.id}' needs metric '{term.metric}'; {mend} to metrics")
        names = [claim.id for claim in self.claims]
        for claim in self.claims:
            if claim.given == claim.id or claim.given not in (None, *names):
                raise ValueError(
                    f"claim '{claim.id}' is given '{claim.given}', which is no other claim of this experiment; name one"
                )
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled:
            raise ValueError(f"claim '{doubled}' stands twice; give each its own id")
        return self

    def cells(self, network_seeds: int) -> list[Cell]:
        """Every cell once, in a fixed order; seeds are 0, 1, ... What a scale leaves out is among them."""
        return sorted(set().union(*(part.cells(network_seeds) for part in self.grid)))

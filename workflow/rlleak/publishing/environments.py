"""How good behaviour policies are and how well transition models foretell, as the report shows them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from rlleak.artefacts import read_json, read_table
from rlleak.configuration.environments import ENVIRONMENTS
from rlleak.priors.transition_prior import TransitionPrior
from rlleak.publishing.statements import number

Rows = list[list[str]]
_POLICIES = ("random", "trained")
COLUMNS = (
    *("environment", "policy", "transitions", "held_out_error", "no_change_error", "learnt"),
    *(f"{policy}_{what}" for policy in _POLICIES for what in ("return", "return_std")),
    *("steps", "episodes", "horizon"),
)


def describe(priors: Iterable[tuple[str, Path]], returns: Iterable[Path]) -> pd.DataFrame:
    """One row per environment and policy, columns `COLUMNS`; NaN where a policy was not trained.

    priors: (policy, file) of what the attacker learnt from transitions under it. returns: files that `train_policy`
    wrote. Raises CorruptArtefactError for files that are neither.
    """
    scored = {scores["environment"]: scores for scores in map(read_json, returns)}
    rows = []
    for policy, path in priors:
        prior = TransitionPrior.load(path)
        row: dict[str, Any] = {"environment": prior.environment, "policy": policy, "learnt": prior.learnt}
        row["transitions"] = prior.metadata.get("transitions")
        row |= {name: getattr(prior, name) for name in ("held_out_error", "no_change_error")}
        scores: Mapping[str, Any] = scored.get(prior.environment, {})
        row |= {name: scores.get(name) for name in ("steps", "episodes", "horizon")}
        for name, earned in scores.get("returns", {}).items():
            row |= {f"{name}_return": earned["mean"], f"{name}_return_std": earned["std"]}
        rows.append(row)
    places = list(ENVIRONMENTS)
    rows.sort(key=lambda row: (places.index(row["environment"]), row["policy"]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def environment_rows(path: str | Path) -> Rows:
    """Headings, then one row per environment and policy."""
    rows = [["environment", "policy", "f's error", "of no change", "f is used", "random return", "trained return"]]
    for row in read_table(path).to_dict("records"):
        earned = [_earned(row, policy) for policy in _POLICIES]
        errors = [number(row[name]) for name in ("held_out_error", "no_change_error")]
        rows.append([row["environment"], row["policy"], *errors, "yes" if row["learnt"] else "no", *earned])
    return rows


def _earned(row: Mapping[str, Any], policy: str) -> str:
    mean, deviation = (row[f"{policy}_{what}"] for what in ("return", "return_std"))
    return "–" if pd.isna(mean) else f"{number(mean)} ± {number(deviation)}"

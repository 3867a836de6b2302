"""The base of all configuration models: unknown keys are refused with a hint, values cannot change once validated."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """A model whose unknown keys are errors that say what was probably meant."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, content: Any) -> Any:
        if isinstance(content, Mapping):
            for key in content:
                if key not in cls.model_fields:
                    close = get_close_matches(str(key), cls.model_fields, n=1)
                    hint = f"did you mean '{close[0]}'?" if close else "there is: " + ", ".join(cls.model_fields)
                    raise PydanticCustomError("unknown_key", "unknown key '{key}'; {hint}", {"key": key, "hint": hint})
        return content


# Where pydantic speaks of Python and not of YAML.
_PLAINLY = {
    "union_tag_not_found": "Give its 'method'",
    **dict.fromkeys(("model_attributes_type", "model_type", "dict_type"), "Input should be keys with values"),
    "tuple_type": "Input should be a list",
    "too_short": "Give at least one",
    "string_pattern_mismatch": "Input should be letters, digits and _",
}


def in_one_line(error: ValidationError) -> str:
    """A validation error as one line for people: where, what, and what was found there."""
    problems = error.errors(include_url=False)
    worst = min(problems, key=_clearness)
    where = ".".join(part for part in map(str, worst["loc"]) if not part.startswith("function-"))
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return " ".join(f"{where + ': ' if where else ''}{_said(worst)}{more}".split())


def _clearness(problem: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    """Least for what tells most: where a number or keys may stand, keys are never meant as a number."""
    no_number = problem["type"] == "float_type" and isinstance(problem["input"], Mapping)
    return no_number, "did you mean" not in problem["msg"], problem["type"] != "unknown_key"


def _said(problem: Mapping[str, Any]) -> str:
    kind, found, about = problem["type"], problem["input"], problem.get("ctx", {})
    if kind in ("literal_error", "union_tag_invalid"):
        name, options = about.get("tag", found), about.get("expected", about.get("expected_tags", ""))
        unknown, known = "unknown " + "method " * ("tag" in about) + repr(name), re.findall(r"'([^']*)'", options)
        if close := get_close_matches(str(name), known, n=1):
            return f"{unknown}; did you mean '{close[0]}'?"
        if "tag" in about:
            return f"{unknown}; there is: {', '.join(known)}"
    said = _PLAINLY.get(kind, problem["msg"]).removeprefix("Value error, ")
    if isinstance(found, str | int | float | bool) and not said.startswith("unknown"):
        said += f", not {found!r}"
    elif found is None and kind != "missing":
        said += ", not null"
    return said

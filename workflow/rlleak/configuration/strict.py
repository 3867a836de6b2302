"""The base of all configuration models: unknown keys are refused with a hint, values cannot change once validated."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError


class Strict(BaseModel):
    """A model whose unknown keys are errors that say what was probably meant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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
    "model_attributes_type": "Input should be keys with values",
    "tuple_type": "Input should be a list",
}


def in_one_line(error: ValidationError) -> str:
    """A validation error as one line for people: where, what, and what was found there."""
    problems = error.errors(include_url=False, include_context=False)
    first = problems[0]
    where = ".".join(str(part) for part in first["loc"])
    said = _PLAINLY.get(first["type"], first["msg"]).removeprefix("Value error, ")
    found = first["input"]
    if isinstance(found, str | int | float | bool) and not said.startswith("unknown"):
        said += f", not {found!r}"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return " ".join(f"{where + ': ' if where else ''}{said}{more}".split())

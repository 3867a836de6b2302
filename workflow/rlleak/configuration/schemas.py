"""JSON schemas of the configuration files, for editors: `python -m rlleak.configuration.schemas workflow/schemas`.

Generated from the models, which are what validates; never edited by hand.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rlleak.configuration.attacks import AttackSettings, TransitionSettings
from rlleak.configuration.axes import Setting
from rlleak.configuration.defences import DefenceSettings
from rlleak.configuration.experiments import Experiment, Name
from rlleak.configuration.federation import FederatedConstants
from rlleak.configuration.general import Configuration
from rlleak.configuration.scales import Scale

_MODELS = {
    "config": Configuration,
    "scale": Scale,
    "experiment": Experiment,
    "attacks": dict[Name, AttackSettings],
    "transition_attacks": dict[Name, TransitionSettings],
    "defences": dict[Name, DefenceSettings],
    "federation": dict[Setting, FederatedConstants],
}


def schemas() -> dict[str, str]:
    """File name -> content."""
    return {f"{name}.schema.json": _text(TypeAdapter(model).json_schema()) for name, model in _MODELS.items()}


def _text(schema: dict[str, Any]) -> str:
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(described, indent=2) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in schemas().items():
        folder.joinpath(name).write_text(content)

"""Reads the files of a configuration, and turns each mistake in one into a line with the file and the mend."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

from rlleak.configuration.strict import in_one_line
from rlleak.errors import ConfigurationError

Model = TypeVar("Model", bound=BaseModel)


class _OnceOnly(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # libyaml's, ten times as fast, is not in every build
    """YAML whose keys stand once: of two, the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        met: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in met:
                raise yaml.MarkedYAMLError(problem=f"'{key.value}' stands twice", problem_mark=key.start_mark)
            met.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file. Raises ConfigurationError if it is missing, not YAML, or has a key twice."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _OnceOnly)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror}); restore it") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: is not text in UTF-8 ({error.reason}); restore it") from error
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        said = error.problem or "it cannot be parsed"
        raise ConfigurationError(f"{path}: is not YAML: {line}{' '.join(said.split())}; mend that line") from error
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error


def validated(model: type[Model], content: Any, origin: str | Path) -> Model:
    """The content as a model. Raises ConfigurationError in one line that starts with where it came from."""
    try:
        return TypeAdapter(model).validate_python(content)
    except ValidationError as error:
        raise ConfigurationError(f"{origin}: {in_one_line(error)}") from error

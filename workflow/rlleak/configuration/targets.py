"""Tables and figures that are asked for by name: whether the study makes them, and which experiment else would."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from rlleak.configuration.files import read_yaml
from rlleak.errors import ConfigurationError
from rlleak.registry import unknown_name


def check_targets(words: Iterable[str], published: Collection[str], folder: Path) -> None:
    """Raises ConfigurationError if a file of tables or figures is among the words that the study does not make.

    words: of a command line, its targets among them. published: the names of the study's tables and figures. folder:
    the configuration's, whose experiments may be left out of the study.
    """
    for target in map(Path, words):
        parts = target.parts
        if len(parts) != 4 or (parts[0], parts[2] in ("tables", "figures")) != ("results", True):
            continue
        if target.stem in published:
            continue
        for file in sorted(folder.glob("experiments/*.yaml")):
            if _makes(read_yaml(file), target.stem):
                raise ConfigurationError(
                    f"{target}: experiment '{file.stem}' makes it and is not run; add it to experiments in "
                    f"{folder}/config.yaml"
                )
        raise ConfigurationError(f"{target}: {unknown_name('table or figure', target.stem, sorted(published))}")


def _makes(content: Any, name: str) -> bool:
    """Whether an experiment's file, which nobody validated, says that it publishes something of that name."""
    published = content.get("publishes") if isinstance(content, dict) else None
    return any(isinstance(made, dict) and made.get("name") == name for made in published or ())

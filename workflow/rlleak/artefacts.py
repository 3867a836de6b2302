"""Files that are written whole or not at all, and that say where they come from.

Arrays are stored as safetensors (never pickle), tables as Parquet or CSV, the rest as JSON or text. A file is written
to a temporary name in the same folder and renamed, so a killed job never leaves half of one.

torch is imported where arrays are read or written, pandas where tables are: a job starts seconds sooner without torch,
half a second sooner without pandas.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import metadata as package_metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from rlleak.errors import CorruptArtefactError, ResourceError

if TYPE_CHECKING:
    import pandas as pd
    import torch

PACKAGES = (
    "torch",
    "numpy",
    "mujoco",
    "ai2thor",
    "gymnasium",
    "ale-py",
    "stable-baselines3",
    "snakemake",
    "scikit-image",
)


def _write(path: str | Path, write: Callable[[Path], None]) -> None:
    """Raises ResourceError, and leaves what was there, if the disk is full or the folder may not be written."""
    try:
        _replace(Path(path), write)
    except (OSError, SafetensorError) as error:
        said = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ResourceError(
            f"{path} cannot be written ({said}); free some disk or make its folder writable, and run again: what is "
            "finished is kept"
        ) from error


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_tensors(
    path: str | Path, kind: str, tensors: Mapping[str, torch.Tensor | np.ndarray], description: Mapping[str, Any]
) -> None:
    """Writes named arrays, what kind of thing they are, and a JSON-serialisable description to one safetensors file."""
    import torch
    from safetensors.torch import save_file

    stored = {
        name: (torch.from_numpy(np.ascontiguousarray(value)) if isinstance(value, np.ndarray) else value.detach())
        .cpu()
        .contiguous()
        for name, value in tensors.items()
    }
    described = {"description": json.dumps({**description, "kind": kind}, sort_keys=True)}
    _write(path, lambda temporary: save_file(stored, str(temporary), metadata=described))


def read_tensors(
    path: str | Path, kind: str | tuple[str, ...], required: Iterable[str] = ()
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Arrays and description that `write_tensors` wrote; kind: what the file must hold, one or any of several.

    Raises CorruptArtefactError if the file is missing, truncated, of another kind, or lacks a required array.
    """
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise CorruptArtefactError(f"{path} does not exist; let the workflow make it (make plan shows how)")
    try:
        with safe_open(str(path), framework="pt") as handle:
            description = dict(json.loads((handle.metadata() or {}).get("description", "")))
        tensors = load_file(str(path))
    except (SafetensorError, OSError, ValueError, TypeError) as error:  # json's own errors derive from ValueError
        raise CorruptArtefactError(
            f"{path} is truncated or not a file of this project ({error}); delete it and run again"
        ) from error
    if (found := description.pop("kind", "something else")) not in (kind if isinstance(kind, tuple) else (kind,)):
        kind = kind if isinstance(kind, str) else " or ".join(kind)
        raise CorruptArtefactError(f"{path} holds no {kind} but {found}; delete it and run again")
    if missing := [name for name in required if name not in tensors]:
        raise CorruptArtefactError(
            f"{path} holds no whole {found} (missing: {', '.join(missing)}); delete it, run again"
        )
    return tensors, description


def write_table(path: str | Path, table: pd.DataFrame) -> None:
    """Writes Parquet, or CSV where the file does not end in .parquet."""
    if Path(path).suffix == ".parquet":
        _write(path, lambda temporary: table.to_parquet(temporary, index=False))
    else:
        _write(path, lambda temporary: table.to_csv(temporary, index=False))


def read_table(path: str | Path) -> pd.DataFrame:
    """Reads what `write_table` wrote. Raises CorruptArtefactError if it cannot."""
    import pandas as pd

    try:
        return pd.read_parquet(path) if Path(path).suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:  # pyarrow's and pandas' own errors derive from these
        raise CorruptArtefactError(f"{path} cannot be read as a table ({error}); delete it and run again") from error


def write_json(path: str | Path, content: Any) -> None:
    """Writes JSON with sorted keys, so that equal contents are equal files."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_json(path: str | Path) -> Any:
    """Reads what `write_json` wrote. Raises CorruptArtefactError if it cannot."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # not UTF-8, or not JSON
        raise CorruptArtefactError(f"{path} cannot be read as JSON ({error}); delete it and run again") from error


def write_text(path: str | Path, text: str) -> None:
    """Writes text, in UTF-8."""
    _write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_bytes(path: str | Path, content: bytes) -> None:
    """Writes bytes as they are: pictures."""
    _write(path, lambda temporary: temporary.write_bytes(content))


@cache
def _git_revision() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


@cache
def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = package_metadata.version(package)
        except package_metadata.PackageNotFoundError:
            found[package] = "absent"
    return found


def device_name(device: str | torch.device = "cpu") -> str:
    """The hardware in words: the GPU's name, or the CPU's architecture and core count."""
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.get_device_name(torch.device(device))
    return f"{platform.machine()} CPU, {os.cpu_count()} cores"


def provenance(**extra: Any) -> dict[str, Any]:
    """Where an artefact comes from: git revision, package versions, and what the caller adds (config hash, seed).

    What the server sees must be described *without* anything the private side could be regenerated from: pass no seed
    and no layout there.
    """
    return {"revision": _git_revision(), "versions": _versions(), **extra}

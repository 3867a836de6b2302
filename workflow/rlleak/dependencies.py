"""Which library files a workflow script depends on, read from its imports: a rerun redoes what a change touches.

Snakemake does not follow imports. Each rule takes these files as inputs instead. Package `__init__` files are left out:
here they hold docstrings and registries of strings only (a test sees to it), and what a job takes from a registry is
named by the rule. So a new entry in a registry makes nothing outdated.
"""

import ast
from functools import cache
from pathlib import Path

import grimp

PACKAGE = "rlleak"
LIBRARY = Path(__file__).resolve().parent


@cache
def _graph() -> grimp.ImportGraph:
    return grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)


def _file(module: str) -> Path | None:
    """The file of a module; None for a package, whose `__init__` does not count."""
    path = LIBRARY.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return path if path.is_file() else None


@cache
def imported_modules(script: Path) -> frozenset[str]:
    """The modules of the library that a script imports, anywhere in it. Raises SyntaxError if it is not Python."""
    known = _graph().modules
    found = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from package import name`: the name may be a module of its own.
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(found & known)


@cache
def library_files(script: Path, *modules: str) -> tuple[Path, ...]:
    """The script, and every library file that it or the given modules import, directly or not; sorted."""
    start = imported_modules(script) | set(modules)
    reached = start.union(*(_upstream(module) for module in start))
    files = {file for module in reached if (file := _file(module)) is not None}
    return tuple(sorted({script, *files}))


@cache
def _upstream(module: str) -> frozenset[str]:
    return frozenset(_graph().find_upstream_modules(module))

"""What a script depends on follows from its imports, and nothing hides in a package's `__init__`."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from rlleak.attacks import ATTACKS
from rlleak.dependencies import LIBRARY, imported_modules, library_files
from rlleak.sharing import DEFENCES

SCRIPTS = LIBRARY.parent / "scripts"


def names(files: tuple[Path, ...]) -> set[str]:
    return {str(file.relative_to(LIBRARY.parent)) for file in files}


def test_a_script_depends_on_itself_and_on_what_it_imports_at_any_distance() -> None:
    files = names(library_files(SCRIPTS / "share.py"))
    assert {"scripts/share.py", "rlleak/sharing/update.py", "rlleak/artefacts.py", "rlleak/errors.py"} <= files


def test_a_module_from_a_registry_is_added() -> None:
    without, with_it = (library_files(SCRIPTS / "invert.py", *extra) for extra in ((), ("rlleak.attacks.qgi",)))
    assert "rlleak/attacks/qgi.py" not in names(without)
    assert "rlleak/attacks/qgi.py" in names(with_it)
    assert "rlleak/attacks/rgi.py" not in names(with_it)


@pytest.mark.parametrize("script", ["invert.py", "tune.py"])
def test_attacks_do_not_depend_on_scores(script: str) -> None:
    files = names(library_files(SCRIPTS / script, *map(ATTACKS.module, ATTACKS)))
    assert "rlleak/attacks/qgi.py" in files
    assert not {name.split("/")[1] for name in files} & {"metrics", "publishing"}


def test_inverting_never_imports_what_reads_the_private_side() -> None:
    modules = imported_modules(SCRIPTS / "invert.py")
    assert not any(part in module for module in modules for part in ("private", "simulators", "metrics"))
    assert not any("simulators/" in name for name in names(library_files(SCRIPTS / "invert.py", "rlleak.attacks.qgi")))


def test_imports_inside_functions_count(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("def f():\n    from rlleak import seeds\n")
    assert imported_modules(script) == {"rlleak", "rlleak.seeds"}
    assert library_files(script) == tuple(sorted({script, LIBRARY / "seeds.py"}))


@pytest.mark.parametrize("package", sorted(LIBRARY.rglob("__init__.py")), ids=lambda path: path.parent.name)
def test_a_package_holds_names_and_no_code(package: Path) -> None:
    """Changing an `__init__` makes nothing outdated, so nothing in it may matter to a result."""
    for node in ast.walk(ast.parse(package.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.module in ("rlleak.registry", "importlib")
        assert not isinstance(node, ast.Import | ast.ClassDef)


def test_a_composition_depends_on_every_defence() -> None:
    """Its steps come from the registry; it names their modules, for they are the job's inputs, too."""
    files = names(library_files(SCRIPTS / "share.py", DEFENCES.module("composed")))
    assert {f"{DEFENCES.module(name).replace('.', '/')}.py" for name in DEFENCES} <= files


def test_the_package_names_what_it_imports_and_nothing_else() -> None:
    project = tomllib.loads((LIBRARY.parents[1] / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[\[<>=]", requirement)[0] for requirement in project["dependencies"]}
    roots = {name.split(".")[0] for file in LIBRARY.rglob("*.py") for name in _imports(ast.parse(file.read_text()))}
    installed = packages_distributions()
    from_ = {
        root: {name.lower().replace("_", "-") for name in installed.get(root, [root])}
        for root in roots - {"rlleak", *sys.stdlib_module_names}
    }
    # pydantic_core is pydantic's own; breaching is compared with in a benchmark where it is installed.
    assert not [root for root, names in from_.items() if not names & (named | {"pydantic-core", "breaching"})]
    # pyarrow is what pandas reads Parquet with.
    assert not named - {"pyarrow"} - set().union(*from_.values())


def _imports(tree: ast.AST) -> set[str]:
    nodes = list(ast.walk(tree))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return plain | {
        node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level
    }

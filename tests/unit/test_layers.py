"""The tables of docs/architecture.md hold: which package imports which, and who touches a foreign library."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "runner"
MOST_PACKAGES, MOST_LEVELS = 26, 9
PURE = ["autotune", "config", "experiment", "loop", "placement", "records", "search", "texts"]


def table(header: str) -> list[list[str]]:
    """The cells of the table of docs/architecture.md that begins with this header, row by row."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    _, _, after = text.partition(f"\n{header}\n")
    lines = after.split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@cache
def allowed() -> dict[str, set[str]]:
    """What each package may import, by the table."""
    names = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in table("| package | duty | may import |")}
    return {"__init__": {"api", "data", "errors", "recording"}, **names}


@cache
def owners() -> dict[str, set[str]]:
    """Which packages may import each foreign library, by the table."""
    found: dict[str, set[str]] = {}
    for libraries, packages in table("| library | imported by |"):
        for library in re.findall(r"`(\w+)`", libraries):
            found[library] = set(re.findall(r"`(\w+)`", packages))
    return found


def modules() -> list[tuple[str, Path]]:
    return [(path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path) for path in sorted(PACKAGE.rglob("*.py"))]


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize(
    ("unit", "path"), modules(), ids=lambda value: value.name if isinstance(value, Path) else value
)
def test_a_module_imports_only_what_its_package_may(unit: str, path: Path) -> None:
    for name in imports(path):
        first, *rest = name.split(".")
        if first == "runner" and rest and rest[0] in allowed():
            assert rest[0] in {unit, *allowed()[unit]}, f"{path.relative_to(ROOT)} imports {name}"
        if first in owners():
            assert unit in owners()[first], f"{path.name} imports {name}, which only {sorted(owners()[first])} may"


def test_the_table_has_every_package_and_no_other() -> None:
    assert {unit for unit, _ in modules()} == set(allowed())


def test_the_table_has_no_permission_that_nobody_uses() -> None:
    used: dict[str, set[str]] = {name: set() for name in allowed()}
    for unit, path in modules():
        used[unit] |= {name.split(".")[1] for name in imports(path) if name.startswith("runner.")} & set(allowed())
    for unit, names in allowed().items():
        assert names <= used[unit], f"{unit} does not import {sorted(names - used[unit])}"


def test_packages_stand_on_few_levels_without_a_circle() -> None:
    levels: dict[str, int] = {}
    left = {name: below for name, below in allowed().items() if name != "__init__"}
    while left:
        lowest = [name for name, below in left.items() if below <= set(levels)]
        assert lowest, f"these import each other: {sorted(left)}"
        level = len(set(levels.values()))
        levels |= dict.fromkeys(lowest, level)
        left = {name: below for name, below in left.items() if name not in levels}
    assert len(set(levels.values())) <= MOST_LEVELS
    assert len(levels) <= MOST_PACKAGES


def test_pure_packages_work_without_tensorflow_ray_and_mlflow() -> None:
    paths = [path.relative_to(ROOT).with_suffix("") for unit, path in modules() if unit in PURE]
    dotted = [".".join(path.parts).removesuffix(".__init__") for path in paths]
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'ray', 'mlflow'): sys.modules[name] = None\n"
        f"import {', '.join(dotted)}\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_public_names_are_these() -> None:
    import runner

    assert runner.__all__ == [
        "Comparison", "ConfigError", "Data", "ExperimentCheck", "ExperimentError", "FleetError", "JournalError",
        "NothingToShowError", "PlacementError", "Plan", "Result", "RunnerError", "RunningSweep", "Session",
        "StorageError", "SweepBusyError", "SweepNotFoundError", "SweepProgress", "TooManyFailuresError",
        "TrackingError", "TrialEndedError", "best_of", "check", "compare", "doctor", "integers", "interval", "load",
        "log_artifact", "log_figure", "log_integers", "log_metric", "loguniform", "new", "plan", "resume", "sweep",
        "sweeps", "trial_folder",
    ]  # fmt: skip
    assert all(getattr(runner, name) is not None for name in runner.__all__)


def test_private_parts_of_keras_and_tensorflow_are_used_in_two_modules() -> None:
    private = re.compile(r"(keras\.src|tensorflow\.python)\b")
    users = {path.relative_to(PACKAGE).as_posix() for _, path in modules() if any(map(private.match, imports(path)))}
    assert users == {"worker/private.py", "worker/stacking/private.py"}

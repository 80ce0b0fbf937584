"""The layer table of docs/architecture.md holds: who may import whom, and what the pure layers need."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "runner"
LAYERS = {
    "__init__": 0,
    "errors": 0,
    "records": 0,
    "data": 0,
    "overheads": 1,
    "compilation": 0,
    "redaction": 0,
    "secret_shapes": 0,
    "texts": 0,
    "collecting": 0,
    "excerpt": 0,
    "config": 1,
    "placement": 1,
    "search": 1,
    "schedule": 1,
    "progress": 1,
    "rebuilding": 1,
    "seams": 2,
    "testing": 2,
    "retrace": 3,
    "recovery": 3,
    "lockstep": 3,
    "shares": 3,
    "logged": 3,
    "worker": 4,
    "fleet": 4,
    "journal": 4,
    "tracking": 4,
    "console": 4,
    "machine": 4,
    "container": 4,
    "mps": 4,
    "measurements": 4,
    "timings": 4,
    "processes": 4,
    "output": 4,
    "signals": 4,
    "snapshots": 4,
    "review": 5,
    "keeping": 5,
    "disk": 5,
    "cleaning": 5,
    "recording": 5,
    "results": 5,
    "settle": 5,
    "probe": 5,
    "doctor": 5,
    "training": 5,
    "preflight": 5,
    "preparation": 5,
    "cluster": 5,
    "checking": 5,
    "sweep": 5,
    "resume": 5,
    "plan": 5,
    "ui": 5,
    "cli": 5,
    "__main__": 5,
}
# The adapters are the only places that touch their library; besides them an adapter knows records and seams.
OWNERS = {
    "tensorflow": {"worker"},
    "keras": {"worker"},
    "ray": {"fleet"},
    "mlflow": {"tracking"},
    "rich": {"console", "cli", "results", "sweep", "training", "resume", "plan"},
    "optuna": {"search"},
    "hydra": {"config"},
    "omegaconf": {"config"},
    "pydantic": {"config"},
    "pynvml": {"machine"},
    "click": {"cli"},
}
ADAPTERS_THAT_MEET = {("fleet", "worker"), ("fleet", "placement"), ("tracking", "journal"), ("console", "progress")}
ADAPTERS_THAT_MEET |= {("snapshots", "journal")}
ADAPTERS_THAT_MEET |= {
    ("fleet", "machine"),
    ("machine", "placement"),
    ("machine", "mps"),
    ("machine", "container"),
    ("timings", "measurements"),
    ("fleet", "processes"),
    ("signals", "processes"),
    ("signals", "output"),
    ("worker", "processes"),
}
PURE = ["runner.config", "runner.placement", "runner.search.propose", "runner.search.stop", "runner.schedule"]
PURE += ["runner.progress", "runner.seams", "runner.testing", "runner.retrace", "runner.recovery", "runner.lockstep"]


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
def test_a_module_imports_only_from_layers_above_it(unit: str, path: Path) -> None:
    for name in imports(path):
        first, *rest = name.split(".")
        if first == "runner" and rest and rest[0] in LAYERS:
            other = rest[0]
            allowed = (unit, other) in ADAPTERS_THAT_MEET or LAYERS[unit] == 5 or other == unit
            if LAYERS[unit] == 4:  # adapters know records and seams, and not each other
                allowed = allowed or LAYERS[other] in (0, 2)
            else:
                allowed = allowed or LAYERS[other] <= LAYERS[unit]
            assert allowed, f"{path.name} (layer {LAYERS[unit]}) imports {name} (layer {LAYERS[other]})"
        if first in OWNERS:
            assert unit in OWNERS[first], f"{path.name} imports {name}, which only {sorted(OWNERS[first])} may"


def test_every_module_has_its_layer() -> None:
    assert {unit for unit, _ in modules()} == set(LAYERS)


def test_layers_0_to_3_work_without_tensorflow_ray_and_mlflow() -> None:
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'keras', 'ray', 'mlflow'): sys.modules[name] = None\n"
        f"import {', '.join(PURE)}\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_public_names_are_these() -> None:
    import runner

    assert runner.__all__ == ["Data"]

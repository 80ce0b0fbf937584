"""Imports of an experiment that cannot succeed: found by looking for the modules, without running anything."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path

from runner.errors import did_you_mean
from runner.records import Source

# What changes where modules are found: then it cannot be told.
_CHANGES_PATH = re.compile(
    r"sys\s*\.\s*(?:path|meta_path|modules)|addsitedir|from sys import|import_module|__import__"
    r"|pyximport|\binstall\s*\("  # hooks that find, or make, a module at its import
)
_PACKAGES = {
    "PIL": "pillow",
    "cv2": "opencv-python",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "skimage": "scikit-image",
}
_COMMON = ("keras", "matplotlib", "numpy", "pandas", "scipy", "sklearn", "tensorflow")


def import_problems(source: Source, *, here: bool) -> Iterator[str]:
    """Says what of an experiment's imports fails wherever it runs.

    Only imports that always run are looked at: none within a function, `try` or `if`.

    Args:
        source: its code, valid Python.
        here: its workers run on this machine, in this environment; else only what fails on any machine is told.
    """
    root, folder = Path(source.root), Path(source.path).parent
    free = here and not any(_CHANGES_PATH.search(text) for _, text in source.files)
    for name, text in source.files:
        shown = source.path if name == source.module else str(folder / name)
        for statement in ast.parse(text).body:
            where = f"{shown}:{getattr(statement, 'lineno', 1)}"
            if isinstance(statement, ast.ImportFrom) and statement.level:
                if statement.level > len(Path(name).parent.parts):
                    yield f"{where}: {_relative(statement)}"
            elif free and isinstance(statement, ast.ImportFrom) and statement.module:
                yield from (f"{where}: {text}" for text in _missing(statement.module, root))
            elif free and isinstance(statement, ast.Import):
                yield from (f"{where}: {text}" for alias in statement.names for text in _missing(alias.name, root))


def _relative(statement: ast.ImportFrom) -> str:
    names = ", ".join(alias.name for alias in statement.names)
    module = statement.module or ""
    instead = f"from {module} import {names}" if module else f"import {names}"
    return (
        f"from {'.' * statement.level}{module} import {names}: an experiment is a file by itself and no part of a "
        f"package, so that nothing is relative to it; write `{instead}`, and start in the folder that has it, put that "
        "into PYTHONPATH, or install the package"
    )


def _missing(module: str, root: Path) -> Iterator[str]:
    name = module.partition(".")[0]
    if name in sys.stdlib_module_names or PathFinder.find_spec(name, [str(root)]) is not None:  # compiled ones too
        return
    try:
        found = name in sys.modules or importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return
    if not found:
        hint = did_you_mean(name, _COMMON) if name not in _PACKAGES else ""
        package = _PACKAGES.get(name, name)
        advice = f"; install it: {sys.executable} -m pip install {package}; or put {name}.py beside the experiment"
        yield f"import {module}: this environment has no module {name}{hint or advice}"

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

# Code that changes where modules are found, or makes them when they are imported: what is missing may then be found.
_CHANGES_PATH = re.compile(
    r"sys\s*\.\s*(path|meta_path|modules)|addsitedir|from sys import|import_module|__import__|pyximport|\binstall\s*\("
)
_PACKAGES = {"PIL": "pillow", "cv2": "opencv-python", "yaml": "pyyaml"}
_PACKAGES |= {"sklearn": "scikit-learn", "skimage": "scikit-image"}
_COMMON = ("keras", "matplotlib", "numpy", "pandas", "scipy", "sklearn", "tensorflow")


def import_problems(source: Source, *, here: bool) -> Iterator[str]:
    """Says which of an experiment's imports fail wherever it runs.

    Only imports that always run are examined: none within a function, `try` or `if`.

    Args:
        source: its code, valid Python.
        here: its workers run on this machine, in this environment; else only what fails on any machine is reported.
    """
    root, folder = Path(source.root), Path(source.path).parent
    looks = here and not any(_CHANGES_PATH.search(text) for _, text in source.files)
    for name, text in source.files:
        shown = source.path if name == source.module else str(folder / name)
        for statement in ast.parse(text).body:
            problems: list[str] = []
            if isinstance(statement, ast.ImportFrom) and statement.level:
                outside = statement.level > len(Path(name).parent.parts)
                problems = [_relative(statement)] if outside else []
            elif looks and isinstance(statement, ast.ImportFrom):
                problems = [_missing(statement.module or "", root)]
            elif looks and isinstance(statement, ast.Import):
                problems = [_missing(alias.name, root) for alias in statement.names]
            yield from (f"{shown}:{statement.lineno}: {problem}" for problem in problems if problem)


def _relative(statement: ast.ImportFrom) -> str:
    names = ", ".join(alias.name for alias in statement.names)
    module = statement.module or ""
    instead = f"from {module} import {names}" if module else f"import {names}"
    return (
        f"from {'.' * statement.level}{module} import {names}: an experiment is a file by itself and no part of a "
        f"package, so that nothing is relative to it; write `{instead}`, and start in the folder that has it, put that "
        "into PYTHONPATH, or install the package"
    )


def _missing(module: str, root: Path) -> str:
    """What is wrong with importing a module; empty if it is found, or cannot be looked for."""
    name = module.partition(".")[0]
    if name in sys.stdlib_module_names or PathFinder.find_spec(name, [str(root)]) is not None:  # compiled ones too
        return ""
    try:
        if name in sys.modules or importlib.util.find_spec(name) is not None:
            return ""
    except (ImportError, ValueError):
        return ""
    hint = did_you_mean(name, _COMMON) if name not in _PACKAGES else ""
    package = _PACKAGES.get(name, name)
    advice = f"; install it: {sys.executable} -m pip install {package}; or put {name}.py beside the experiment"
    return f"import {module}: this environment has no module {name}{hint or advice}"

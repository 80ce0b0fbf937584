"""Makes one module of functions of a notebook or a script: their source, with everything that they name.

Nothing is pickled, and nothing is executed: functions and classes are taken as text, modules as import statements,
plain values as they are now.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

from runner.errors import ConfigError
from runner.experiment import refusals
from runner.experiment.collector import Asker, Collector
from runner.experiment.module_text import module_text
from runner.experiment.scopes import unwrapped

NOTEBOOK = "notebook.py"
_INSTALLED = {"site-packages", "dist-packages"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Collected:
    """Functions as a module.

    Args:
        text: of the module.
        name: of its file: that of the script, or `notebook.py`.
        root: the folder whose modules it imports: the script's, or the current one.
    """

    text: str
    name: str
    root: Path


def collect(functions: Mapping[str, object]) -> Collected:
    """Collects an experiment's functions.

    Args:
        functions: each by the name that it gets in the module, whatever its own.

    Raises:
        ConfigError: listing everything that cannot be carried: where it is named, what it is, and what to do.
    """
    problems = [problem for name, value in functions.items() if (problem := refusals.of_function(name, value))]
    if problems:
        raise ConfigError(problems)
    targets = [target for value in functions.values() if isinstance(target := unwrapped(value), FunctionType)]
    given = {id(value): name for name, value in functions.items()}
    if len(given) < len(functions):
        raise ConfigError(f"{' and '.join(functions)} are one function; give one for each")
    collector = Collector(homes=[target.__globals__ for target in targets], given=given)
    for name, value in functions.items():
        collector.take(name, value, Asker(name=name))
    if collector.problems:
        raise ConfigError(tuple(dict.fromkeys(collector.problems)))
    name, root = _home(targets)
    title = f"{' and '.join(functions)}, as runner.sweep has collected them from {name}. Edits here change nothing."
    return Collected(text=module_text(collector.contents, title), name=name, root=root)


def _home(functions: Sequence[FunctionType]) -> tuple[str, Path]:
    """The name of the file that most of the functions are of, and its folder; a notebook is in the current folder."""
    files = [Path(function.__code__.co_filename) for function in functions]
    scripts = [file for file in files if file.is_file() and not _INSTALLED & {*file.parts}]
    in_cells = any(not file.is_file() for file in files)
    if in_cells or not scripts:
        return NOTEBOOK, Path.cwd()
    (function,) = [one for one in functions if Path(one.__code__.co_filename) == scripts[-1]][-1:]
    file = scripts[-1].absolute()
    root = _root(file, function.__globals__)
    is_free = root == file.parent or not (root / file.name).exists()
    return file.name if is_free else "_".join(file.relative_to(root).parts), root


def _root(file: Path, namespace: Mapping[str, object]) -> Path:
    """The folder from which a file's module is imported: above the package that it is in."""
    name = getattr(namespace.get("__spec__"), "name", None) or namespace.get("__name__")
    parts = str(name).split(".")
    if file.stem == "__init__":
        parts.append(file.stem)
    inside = file.with_suffix("").parts[-len(parts) :]
    return file.parents[len(parts) - 1] if list(inside) == parts else file.parent

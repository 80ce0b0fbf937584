"""Imports of an experiment's code: it finds its own files first, and files that nothing records are listed."""

from __future__ import annotations

import ast
import functools
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Collection, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from runner.records import Source, has_python_text

_PACKAGE = Path(__file__).parents[1]


class Neighbours(MetaPathFinder):
    """Finds the modules beside an experiment, before libraries of the same name.

    It finds only modules that the experiment's code imports, so that libraries do not get other files of that folder.

    Args:
        root: the experiment's folder on this machine.
        source: its code.
    """

    def __init__(self, root: Path, source: Source) -> None:
        self._root, self._source = str(root), source
        names = {Path(name).parts[0].removesuffix(".py") for name, _ in source.files}
        self._names = names - {Path(source.module).stem}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As `MetaPathFinder.find_spec`."""
        if path is not None or fullname not in self._names:
            return None
        return PathFinder.find_spec(fullname, [self._root])

    def refuse_imported(self, modules: Mapping[str, ModuleType]) -> None:
        """Refuses a module beside the experiment if an imported module has its name, because Python would return that.

        The other module cannot be removed for a while: libraries that are imported then would get the user's.

        Args:
            modules: all that are imported before the experiment's file.

        Raises:
            ImportError: it names both.
        """
        for name, text in self._source.files[1:]:
            top = Path(name).parts[0].removesuffix(".py")
            found = modules.get(top)
            if found is None or top not in self._names or name not in (f"{top}.py", f"{top}/__init__.py"):
                continue
            file = _file(found)
            if file is None or not has_python_text(file, text):
                raise ImportError(
                    f"{Path(self._source.path).parent / name} has the name of a module that is imported already, "
                    f"{top} ({'built into Python' if file is None else file}), so that `import {top}` gives that one; "
                    "rename your file"
                )


def free_name(file: Path) -> str:
    """A name for an experiment's module that no library has, because a `keras.py` would hide Keras from itself."""
    name = file.stem
    while _is_taken(name, file):
        name += "_"
    return name


def _is_taken(name: str, file: Path) -> bool:
    if name in sys.modules or name in sys.stdlib_module_names:
        return True
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    return (
        found is not None
        and found.origin is not None
        and is_installed(Path(found.origin))
        and found.origin != str(file)
    )


def outside_of(source: Source, modules: Mapping[str, ModuleType], own: Collection[Path]) -> tuple[str, ...]:
    """Files of modules that an experiment has imported and that are neither its own nor installed.

    Args:
        source: the experiment's code.
        modules: all imported modules.
        own: the experiment's files.
    """
    imported = {name for _, text in source.files for name in _top_names(text)}
    outside = {name for name in imported if (file := _file(modules.get(name))) and not _is_known(file, own)}
    if not outside:  # the usual case: no need to look at thousands of modules
        return ()
    files = {_file(module) for name, module in modules.items() if name.partition(".")[0] in outside}
    return tuple(sorted(_shown(file) for file in files if file and file.suffix == ".py" and not _is_known(file, own)))


def _file(module: ModuleType | None) -> Path | None:
    """A module's file, or the folder of a package without a file."""
    file = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return Path(file) if isinstance(file, str) else None


def _is_known(file: Path, own: Collection[Path]) -> bool:
    return file in own or file.resolve() in own or is_installed(file.resolve()) or is_installed(file)


@functools.lru_cache(maxsize=64)
def _top_names(text: str) -> frozenset[str]:
    names = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return frozenset(names)


def is_installed(path: Path) -> bool:
    """Whether a file belongs to Python, to an installed package, or to this program."""
    parts = set(path.parts)
    if parts & {"site-packages", "dist-packages"}:
        return True
    return any(path.is_relative_to(folder) for folder in _installed_folders())


@functools.lru_cache(maxsize=1)
def _installed_folders() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    folders = [sysconfig.get_paths()[name] for name in names] + [*site.getsitepackages(), site.getusersitepackages()]
    return (_PACKAGE, *(Path(folder) for folder in folders), *(Path(folder).resolve() for folder in folders))


def _shown(path: Path) -> str:
    """The path relative to the current folder if it is inside, else the absolute path."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)

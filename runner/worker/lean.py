"""Imports Keras without its large optional packages, and adds each package later, when it is first needed.

Keras imports several large packages if they are installed and works without them otherwise; together they double its
import time. A module decides once, when it is executed, whether a package is there. So each module that was executed
without a package is executed again when code imports the package, or reads a name that was defined without it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any, TypeAlias

_Bring: TypeAlias = Callable[[], None]


class Deferral(MetaPathFinder):
    """Postpones imports of packages, and adds the packages later to the modules that tried to import them.

    Args:
        packages: top-level names. Packages that are imported already are not affected.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = tuple(packages)
        self._is_hiding = False
        self._tried: dict[str, list[list[str]]] = {}
        self._lacking: dict[str, list[str]] = {}

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Makes an import of these packages fail inside, as if they were not installed."""
        sys.meta_path.insert(0, self)
        self._is_hiding = True
        try:
            yield
        finally:
            self._is_hiding = False
            for package, tries in self._tried.items():
                # If a module's own import failed, the module that imports it works without the package.
                found = (next((name for name in chain if name in sys.modules), "") for chain in tries)
                own = (name for name in found if name.partition(".")[0] in _IMPORTED)  # others are other threads'
                self._lacking[package] = list(dict.fromkeys(own))
            self._watch()
            if not self._lacking:
                sys.meta_path.remove(self)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Hides a package, or arranges that modules without it are executed again once it is imported."""
        if name not in self._packages:
            return None
        if self._is_hiding:
            self._tried.setdefault(name, []).append(_importing(sys._getframe(1)))
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name not in self._lacking:
            return None
        spec = _found_by_others(self, name, path, target)
        if spec is not None and spec.loader is not None:
            loader: Any = spec.loader  # of this one spec
            execute: Callable[[ModuleType], None] = loader.exec_module

            def execute_and_add(module: ModuleType) -> None:
                del loader.exec_module
                execute(module)
                self._add(name)

            loader.exec_module = execute_and_add
        return spec

    def _add(self, package: str) -> None:
        """Executes the modules that lack the package again, in the same order, and replaces their names everywhere."""
        for name in self._lacking.pop(package, ()):
            module = sys.modules.get(name)
            if module is not None:
                before = dict(vars(module))
                importlib.reload(module)
                _replace(_changed(name, before, vars(module)), name.partition(".")[0])

    def _watch(self) -> None:
        """Makes a module of Keras import a package when code reads a name that was defined without it."""
        lacks: dict[str, list[str]] = {}
        for package, modules in self._lacking.items():
            for name in modules:
                lacks.setdefault(name, []).append(package)
        for name, module in sys.modules.copy().items():
            if type(module) is ModuleType and name.partition(".")[0] == "keras":
                watched = _made_without(module, lacks)
                if watched:
                    vars(module)[_MARK] = {
                        name: [self._bring(p) for p in packages] for name, packages in watched.items()
                    }
                    module.__class__ = _Watched

    def _bring(self, package: str) -> _Bring:
        def bring() -> None:
            if package in self._lacking and package not in sys.modules:
                try:
                    importlib.import_module(package)
                except ImportError:  # not installed: there is nothing to add
                    self._lacking.pop(package, None)

        return bring


_IMPORTED = ("keras", "tensorflow")
_MARK = "__lean__"


class _Watched(ModuleType):
    """A module some of whose names were defined without a package: it imports the package before they are read."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__"):
            watched = super().__getattribute__("__dict__").get(_MARK, {})
            for bring in watched.pop(name, ()):
                bring()
        return super().__getattribute__(name)


def _made_without(module: ModuleType, lacks: dict[str, list[str]]) -> dict[str, list[str]]:
    """Names of a module whose values were defined in a module that lacks packages, with those packages."""
    own = lacks.get(module.__name__, [])
    homes = {name: lacks.get(_home(value) or "", own) for name, value in vars(module).items() if name[:2] != "__"}
    return {name: packages for name, packages in homes.items() if packages}


def _importing(frame: FrameType | None) -> list[str]:
    """Names of the modules that are being executed, innermost first."""
    found = []
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            found.append(frame.f_globals["__name__"])
        frame = frame.f_back
    return found


def _found_by_others(
    self: MetaPathFinder, name: str, path: Sequence[str] | None, target: ModuleType | None
) -> ModuleSpec | None:
    for finder in sys.meta_path:
        spec = None if finder is self else finder.find_spec(name, path, target)
        if spec is not None:
            return spec
    return None


def _home(value: object) -> str | None:
    """The name of the module in which a class or a function was defined."""
    return getattr(value, "__module__", None) if callable(value) else None


def _changed(module: str, before: dict[str, object], after: dict[str, object]) -> dict[int, object]:
    """What has replaced the module's own classes and functions, by the addresses of these."""
    return {
        id(value): after[name]
        for name, value in before.items()
        if _home(value) == module and name in after and after[name] is not value
    }


def _replace(changed: dict[int, object], package: str) -> None:
    """Replaces the former classes and functions in all modules of the package."""
    for module in sys.modules.copy().values():
        if isinstance(module, ModuleType) and module.__name__.partition(".")[0] == package:
            for name, value in list(vars(module).items()):
                if id(value) in changed:
                    vars(module)[name] = changed[id(value)]

"""Imports without packages that the imported code can do without, which get them later as if they had had them.

Keras imports several large packages if it can and does without them otherwise; together they double its import time.
Whether a module found one is decided once, when it is executed. So each module that went without one is executed again
as soon as the package is there: when anybody imports it, or looks at a name that was made without it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import FrameType, ModuleType
from typing import Any


class Deferral(MetaPathFinder):
    """Keeps packages from being imported for a while, and gives them to those who tried.

    Args:
        packages: top-level names. Those imported before stay as they are.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = tuple(packages)
        self._is_hiding = False
        self._tried: dict[str, list[list[str]]] = {}
        self._lacking: dict[str, list[str]] = {}

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Importing one of the packages fails inside, as where it is not installed."""
        sys.meta_path.insert(0, self)
        self._is_hiding = True
        try:
            yield
        finally:
            self._is_hiding = False
            for package, tries in self._tried.items():
                # A module whose own import failed left it to the one that imports it to do without.
                found = (next((name for name in chain if name in sys.modules), "") for chain in tries)
                own = (
                    name for name in found if name.partition(".")[0] in _IMPORTED
                )  # another thread may import others
                self._lacking[package] = list(dict.fromkeys(own))
            self._watch()
            if not self._lacking:
                sys.meta_path.remove(self)

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> Any:
        """As every finder's: hides the package, or has what lacks it executed again once it is imported."""
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

            def execute_and_give(module: ModuleType) -> None:
                del loader.exec_module
                execute(module)
                self._give(name)

            loader.exec_module = execute_and_give
        return spec

    def _give(self, package: str) -> None:
        """Executes again, in their first order, the modules that lack the package, and puts their names in place."""
        for name in self._lacking.pop(package, ()):
            module = sys.modules.get(name)
            if module is not None:
                before = dict(vars(module))
                importlib.reload(module)
                _replace(_changed(name, before, vars(module)), name.partition(".")[0])

    def _watch(self) -> None:
        """Sees to it that whoever looks at a name of Keras that was made without a package brings the package."""
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

    def _bring(self, package: str) -> Callable[[], None]:
        def bring() -> None:
            if package in self._lacking and package not in sys.modules:
                try:
                    importlib.import_module(package)
                except ImportError:  # not installed: there is nothing to give
                    self._lacking.pop(package, None)

        return bring


_IMPORTED = ("keras", "tensorflow")
_MARK = "__lean__"


class _Watched(ModuleType):
    """A module some of whose names were made without a package: they are made with it before they are seen."""

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("__"):
            watched = super().__getattribute__("__dict__").get(_MARK, {})
            for bring in watched.pop(name, ()):
                bring()
        return super().__getattribute__(name)


def _made_without(module: ModuleType, lacks: dict[str, list[str]]) -> dict[str, list[str]]:
    """Names of a module that stand for something made in a module that lacks packages, with those packages."""
    own = lacks.get(module.__name__, [])
    homes = {name: lacks.get(_home(value) or "", own) for name, value in vars(module).items() if name[:2] != "__"}
    return {name: packages for name, packages in homes.items() if packages}


def _importing(frame: FrameType | None) -> list[str]:
    """The modules that are being executed, innermost first."""
    found = []
    while frame is not None:
        if frame.f_code.co_name == "<module>":
            found.append(frame.f_globals["__name__"])
        frame = frame.f_back
    return found


def _found_by_others(self: MetaPathFinder, name: str, path: Any, target: Any) -> ModuleSpec | None:
    for finder in sys.meta_path:
        spec = None if finder is self else finder.find_spec(name, path, target)
        if spec is not None:
            return spec
    return None


def _home(value: Any) -> str | None:
    """The module in which a class or a function was made."""
    return getattr(value, "__module__", None) if callable(value) else None


def _changed(module: str, before: dict[str, Any], after: dict[str, Any]) -> dict[int, Any]:
    """What has taken the place of the module's own classes and functions, by their addresses."""
    return {
        id(value): after[name]
        for name, value in before.items()
        if _home(value) == module and name in after and after[name] is not value
    }


def _replace(changed: dict[int, Any], package: str) -> None:
    """Puts them in the place of the former ones wherever a module of the package imported those."""
    for module in sys.modules.copy().values():
        if isinstance(module, ModuleType) and module.__name__.partition(".")[0] == package:
            for name, value in list(vars(module).items()):
                if id(value) in changed:
                    vars(module)[name] = changed[id(value)]

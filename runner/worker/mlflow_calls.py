"""Ignores an experiment's calls of MLflow that would write, because the program itself logs each trial.

MLflow's fluent interface has one active run in a process, whichever trial works there, and would create a store of its
own. Nothing here imports MLflow: its functions are replaced when the experiment imports it, and only while the
experiment's code runs. Functions that read stay, and so does a client that is created for a named store.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

from runner.worker.ignored import Ignored

WARNING = (
    "warning: MLflow calls in an experiment are ignored, since every trial is logged as a run without them; to record "
    "a value, make it a Keras metric of the model or a parameter of build_model or load_data"
)
# `active_run` and the like are here because they begin a run if there is none.
_WRITING = (
    "active_run", "add_", "autolog", "clear_", "copy_", "create_", "delete_", "disable_", "enable_", "end_",
    "evaluate", "finalize_", "flush_", "get_artifact_uri", "import_", "initialize_", "last_active_run", "link_",
    "log_", "override_", "register_", "remove_", "rename_", "restore_", "set_", "start_", "transition_", "unlink_",
    "update_",
)  # fmt: skip
_READING = ("get_", "last_", "list_", "load_table", "search_")
_HARMLESS = {
    "get_active_model_id", "get_active_trace_id", "get_registry_uri", "get_tracking_uri", "set_registry_uri",
    "set_tracking_uri",
}  # fmt: skip
_PROGRAMS_OWN = "mlflow-"  # threads that follow the journal, if the driver is the worker
_OF_FLAVOURS = ("autolog", "log_model")  # of `mlflow.keras` and the like
_FLUENT = ("mlflow", "mlflow.tracking", "mlflow.tracking.fluent")
_STATE = "mlflow.tracking._tracking_service.utils"
_OWN_STORE = "_of_a_named_store"
_STORES = ("mlflow.db", "mlruns")  # of the working directory
_Address: TypeAlias = tuple[str | None, str | None]
_Function: TypeAlias = Callable[..., Any]
_Owner: TypeAlias = ModuleType | type


class MlflowCalls:
    """Ignores calls of MLflow that would write, while an experiment's code runs.

    Args:
        warn: gets `WARNING` for each call that is ignored.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._changes: dict[tuple[int, str], tuple[_Owner, _Function, _Function]] = {}
        self._addresses: dict[str, _Address] = {}  # as each experiment has set them
        self._complete = False

    @contextmanager
    def ignored(self, experiment: str) -> Iterator[None]:
        """Replaces MLflow's functions inside. A name that the experiment imports from MLflow stays a replacement.

        Args:
            experiment: its identity; a store that it names is for its own trials.
        """
        finder = _Finder(self._changed)
        if "mlflow" in sys.modules and not self._complete:
            self._change_all()
        sys.meta_path.insert(0, finder)
        for owner, _, replacement in list(self._changes.values()):
            setattr(owner, replacement.__name__, replacement)
        outside, environment = _address(), os.environ.get("MLFLOW_TRACKING_URI")
        if experiment in self._addresses:
            _set_address(self._addresses[experiment])
        try:
            yield
        finally:
            self._addresses.pop(experiment, None)
            if _address() != (None, environment):
                self._addresses[experiment] = _address()
            _set_address((outside[0], environment))
            for owner, original, replacement in list(self._changes.values()):
                setattr(owner, replacement.__name__, original)
            sys.meta_path.remove(finder)

    def _changed(self, module: ModuleType) -> None:
        """Replaces functions of a module of MLflow that has just been imported."""
        if module.__name__ == "mlflow":
            self._change_all()
        elif self._complete:  # a flavour, which is imported when it is first used
            self._change(module, _OF_FLAVOURS)

    def _change_all(self) -> None:
        """Replaces the functions that write, in all modules that have them."""
        for name in _FLUENT:
            if (module := sys.modules.get(name)) is not None:
                self._change(module, (*_WRITING, *_READING, "trace"))
        for name, module in sys.modules.copy().items():
            if name.startswith("mlflow.") and name.count(".") == 1 and name not in _FLUENT:
                self._change(module, _OF_FLAVOURS)
        client = getattr(sys.modules["mlflow"], "MlflowClient", None)
        if client is not None:  # otherwise another thread is importing it
            self._change_client(client)
            self._complete = True

    def _change(self, owner: ModuleType, prefixes: tuple[str, ...]) -> None:
        for name, function in list(vars(owner).items()):
            is_function = callable(function) and not isinstance(function, type)
            if is_function and name.startswith(prefixes) and name not in _HARMLESS:
                self._put(owner, name, self._instead_of(name, function))

    def _change_client(self, client: Any) -> None:
        begin = client.__init__

        @functools.wraps(begin)
        def __init__(  # noqa: N807
            own: object, tracking_uri: str | None = None, registry_uri: str | None = None
        ) -> None:
            own.__dict__[_OWN_STORE] = tracking_uri is not None
            if tracking_uri is not None or _has_store():
                begin(own, tracking_uri, registry_uri)

        self._put(client, "__init__", __init__)
        for name, method in list(vars(client).items()):
            if callable(method) and not name.startswith("_"):
                self._put(client, name, self._method_instead_of(name, method))

    def _method_instead_of(self, name: str, method: _Function) -> _Function:
        ignoring = self._instead_of(name, method)

        @functools.wraps(method)
        def call(own: object, *arguments: object, **named: object) -> object:
            theirs = own.__dict__.get(_OWN_STORE, True)  # the program's own clients are created for a store too
            return (method if theirs else ignoring)(own, *arguments, **named)

        return call

    def _instead_of(self, name: str, function: _Function) -> _Function:
        writes = name.startswith(_WRITING)

        @functools.wraps(function)
        def ignored(*arguments: object, **named: object) -> object:
            reads = not writes and name != "trace" and _has_store()
            if reads or threading.current_thread().name.startswith(_PROGRAMS_OWN):
                return function(*arguments, **named)
            self._warn(WARNING)
            if name == "trace":  # a decorator
                return arguments[0] if arguments and callable(arguments[0]) else lambda traced: traced
            return Ignored()

        return ignored

    def _put(self, owner: _Owner, name: str, replacement: _Function) -> None:
        key = (id(owner), name)
        if key not in self._changes:
            replacement.__name__ = name
            self._changes[key] = (owner, getattr(owner, name), replacement)
            setattr(owner, name, replacement)


class _Finder:
    """Calls `imported` with each module of MLflow that has been imported. Other finders find them."""

    def __init__(self, imported: Callable[[ModuleType], None]) -> None:
        self._imported = imported

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] != "mlflow" or name.count(".") > 1:
            return None
        others = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
        for finder in others:
            spec = finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                self._watch(spec.loader)
                return spec
        return None

    def _watch(self, loader: Loader) -> None:
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            self._imported(module)

        loader.exec_module = exec_module  # type: ignore[method-assign]


def _has_store() -> bool:
    """Whether there is a store to read, without a call that would create one."""
    state = sys.modules.get(_STATE)
    named = state is not None and getattr(state, "_tracking_uri", None)
    return bool(named or os.environ.get("MLFLOW_TRACKING_URI")) or any(Path(name).exists() for name in _STORES)


def _address() -> _Address:
    """The store that MLflow's functions use in this process, and the one that the environment names."""
    return getattr(sys.modules.get(_STATE), "_tracking_uri", None), os.environ.get("MLFLOW_TRACKING_URI")


def _set_address(address: _Address) -> None:
    state: Any = sys.modules.get(_STATE)
    if hasattr(state, "_tracking_uri"):
        state._tracking_uri = address[0]
    if address[1] is None:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    else:
        os.environ["MLFLOW_TRACKING_URI"] = address[1]

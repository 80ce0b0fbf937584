"""Imports an experiment's file together with the modules beside it, on any machine."""

from __future__ import annotations

import atexit
import importlib.util
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from runner.data import Data
from runner.records import Source, Trial, encode_python, has_python_text
from runner.worker.global_state import Globals, Settings
from runner.worker.imports import Neighbours, free_name, outside_of
from runner.worker.module_state import ModuleState
from runner.worker.planted import Libraries, imported_packages, may_plant
from runner.worker.process_state import ProcessState
from runner.worker.shared_parts import SharedParts

_PRISTINE = Settings.current()


@dataclass(frozen=True, kw_only=True, slots=True)
class Imported:
    """What the import of an experiment's file left behind.

    Args:
        before: the process before the import.
        process: the process after it.
        modules: the experiment's own modules after it.
        libraries: what the names of other modules stood for after it; None if its code puts nothing there.
    """

    before: ProcessState
    process: ProcessState
    modules: ModuleState
    libraries: Libraries | None


class Experiment:
    """One experiment's functions.

    Its modules are visible to `import` only while its code runs, so that two experiments may each have a `layers.py`
    beside them. Other files of its folder are found after all libraries, so that a `random.py` there breaks none.

    Args:
        source: its code.

    Attributes:
        settings: Keras' global settings as the file left them (it may set a mixed-precision policy, say).
        shared_parts: parts with state that the pipelines of its trials have used.
        imported: the state of process and modules after the import.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._root, file = _place(source)
        self._neighbours = Neighbours(self._root, source)
        self._files = {file, *(self._root / name for name, _ in source.files[1:])}
        self._is_active = False
        self.shared_parts = SharedParts()
        self._modules: dict[str, ModuleType] = {}
        name = free_name(file)
        imported, before = Globals(0, _PRISTINE), ProcessState.current()
        self._neighbours.refuse_imported(sys.modules.copy())
        with imported.active(), self.active():
            spec = importlib.util.spec_from_file_location(name, file)
            if spec is None or spec.loader is None:
                raise ImportError(f"{source.path}: not a Python file")
            self._module = importlib.util.module_from_spec(spec)
            sys.modules[name] = self._module
            spec.loader.exec_module(self._module)
        self.settings = imported.settings
        self.imported = Imported(
            before=before, process=ProcessState.current(), modules=self._state(), libraries=self._libraries()
        )

    def changes(self) -> Iterator[str]:
        """What of its own modules, and of libraries, is not certainly as after their import, for a person."""
        if self.imported.libraries is not None:
            for name in sorted(set(self.imported.libraries.changes(self._names))):
                yield f"it has changed {name}, which is not its own"
        now = self._state()
        now.clear_caches()
        yield from self.imported.modules.changes(now)

    def load_data(self, trial: Trial) -> Data:
        """Calls `load_data` with those of the trial's parameters that it names."""
        with self.active():
            return Data.of(self._module.load_data(**{name: trial.params[name] for name in trial.data_params}))

    def build_model(self, trial: Trial) -> object:
        """Calls `build_model` with those of the trial's parameters that it names; returns what it returned."""
        with self.active():
            return self._module.build_model(**{name: trial.params[name] for name in trial.model_params})

    def callbacks(self, trial: Trial) -> object:
        """Calls `callbacks` with those of the trial's parameters that it names; returns what it returned."""
        with self.active():
            return self._module.callbacks(**{name: trial.params[name] for name in trial.callback_params or ()})

    @property
    def root(self) -> Path:
        """The folder of its code on this machine."""
        return self._root

    @property
    def outside(self) -> tuple[str, ...]:
        """Files that its code has imported and nothing records, because they are neither beside it nor installed."""
        return outside_of(self._source, sys.modules.copy(), self._files)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Lets the experiment's code import the modules beside it. May be nested."""
        if self._is_active:
            yield
            return
        self._is_active = True
        hidden = {name: module for name in self._modules if (module := sys.modules.get(name)) is not None}
        sys.modules.update(self._modules)
        sys.meta_path.insert(0, self._neighbours)
        sys.path.append(str(self._root))
        before = set(sys.modules)
        try:
            yield
        finally:
            self._is_active = False
            sys.meta_path.remove(self._neighbours)
            sys.path.reverse()  # removes the last one, because the folder may be there for other reasons too
            sys.path.remove(str(self._root))
            sys.path.reverse()
            # A copy, because Python removes and adds a module while another thread imports it.
            new = {name: module for name, module in sys.modules.copy().items() if name not in before}
            self._modules.update({name: module for name, module in new.items() if self._is_own(module)})
            for name in self._modules:
                sys.modules.pop(name, None)
            sys.modules.update(hidden)

    def _state(self) -> ModuleState:
        own = {self._module.__name__: self._module, **self._modules}
        return ModuleState.of({module.__name__: module for module in own.values()})

    def _libraries(self) -> Libraries | None:
        texts = [text for _, text in self._source.files]
        return Libraries.current(self._names, imported_packages(texts)) if may_plant(texts) else None

    @property
    def _names(self) -> frozenset[str]:
        """The names of its own modules."""
        return frozenset({self._module.__name__, *(module.__name__ for module in self._modules.values())})

    def _is_own(self, module: ModuleType) -> bool:
        file = getattr(module, "__file__", None)
        return file is not None and Path(file) in self._files  # a library below the folder, in a .venv, is not


def _place(source: Source) -> tuple[Path, Path]:
    """The folder of the code on this machine, and the experiment's file: the user's if unchanged, else copies.

    The user's are preferred, so that tracebacks and breakpoints name the user's file and data beside it is found.
    """
    root, (_, first), others = Path(source.root), source.files[0], source.files[1:]
    if all(has_python_text(root / name, text) for name, text in others):
        for file in map(Path, source.places(source.module)):
            if has_python_text(file, first):
                return root, file.absolute()
    copy = Path(tempfile.mkdtemp(prefix="lockstep-runner-"))  # no other process can write to it
    atexit.register(shutil.rmtree, copy, ignore_errors=True)
    for name, text in source.files:
        path = copy / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(encode_python(text))
    return copy, copy / source.module

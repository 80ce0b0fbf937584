"""An experiment's own modules, while another thread imports others."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

from runner.records import Source


class Importing(ModuleType):
    """A module that another thread imports just now: as Python does then, it is taken out of `sys.modules`."""

    @property
    def __file__(self) -> str:
        for name in [name for name in sys.modules if name.startswith("imported_beside_")]:
            del sys.modules[name]
        return "/elsewhere.py"


@pytest.mark.usefixtures("tensorflow")
def test_modules_that_another_thread_imports_meanwhile_are_in_nobodys_way(tmp_path: Path) -> None:
    from runner.worker.experiment import Experiment

    files = {"mine.py": "import neighbour\n", "neighbour.py": "VALUE = 1\n"}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    experiment = Experiment(Source(path="mine.py", root=str(tmp_path), files=tuple(files.items())))
    with experiment.active():
        assert sys.modules["neighbour"].VALUE == 1
        sys.modules.update({f"imported_beside_{n}": Importing(f"imported_beside_{n}") for n in range(9)})
    assert "neighbour" not in sys.modules
    assert str(tmp_path) not in sys.path

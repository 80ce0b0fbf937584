"""A disk that takes no more: told from an experiment's own errors, wherever it was written to."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runner.records import Export, Failure, Report, Work

pytestmark = pytest.mark.usefixtures("tensorflow")


def chained() -> Exception:
    try:
        try:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        except OSError as err:
            raise ValueError("the cache could not be written") from err
    except ValueError as err:
        return err


def of_tensorflow() -> Exception:
    import tensorflow as tf

    return tf.errors.ResourceExhaustedError(None, None, "/tmp/cache.data-00000: No space left on device")


@pytest.mark.parametrize(
    ("make", "full"),
    [
        (lambda: OSError(errno.ENOSPC, "No space left on device", "/data/a"), True),
        (lambda: OSError(errno.EROFS, "Read-only file system", "/data/a"), True),
        (lambda: OSError("Can't write data (error message = 'No space left on device')"), True),
        (lambda: sqlite3.OperationalError("database or disk is full"), True),
        (chained, True),
        (of_tensorflow, True),
        (lambda: FileNotFoundError(errno.ENOENT, "No such file or directory", "/data/a"), False),
        (lambda: PermissionError(errno.EACCES, "Permission denied", "/data/a"), False),
        (lambda: MemoryError("out of memory"), False),
    ],
)
def test_errors_that_say_that_a_disk_is_full_are_known(make: Callable[[], Exception], full: bool) -> None:
    from runner.worker.storage import is_out_of_space

    assert is_out_of_space(make()) == full


def test_a_folder_of_temporary_files_that_is_gone_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.worker.storage import is_out_of_space

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(FileNotFoundError) as raised:
        tempfile.mkdtemp()
    assert is_out_of_space(raised.value)


def test_a_model_is_saved_where_the_folder_of_temporary_files_is_gone(
    make_trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runner.worker.worker import Worker

    trial, worker = make_trial(epochs=1), Worker()
    assert isinstance(worker.advance([Work(trial=trial, round=0)], [worker.load(trial)])["000"], Report)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    export = worker.export(trial, False, tmp_path)
    assert isinstance(export, Export), export
    assert {path.name for path in tmp_path.iterdir()} == {"000.keras", "000.weights.npz"}
    assert tempfile.tempdir == str(tmp_path / "gone")


def test_another_threads_temporary_files_are_not_made_in_this_ones_folder(tmp_path: Path) -> None:
    from runner.worker.storage import temporary_files_in

    folder, usual = tmp_path / "mine", tempfile.gettempdir()
    folder.mkdir()
    with temporary_files_in(folder), ThreadPoolExecutor(1) as pool:
        with tempfile.NamedTemporaryFile() as mine:
            assert Path(mine.name).parent == folder
        with pool.submit(tempfile.NamedTemporaryFile).result() as theirs:
            assert Path(theirs.name).parent == Path(usual)
    assert tempfile.gettempdir() == usual


@pytest.mark.parametrize("what", ["export", "snapshot", "load"])
def test_a_full_disk_is_no_failure_of_the_trials_own(
    make_trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Where Keras cannot load a model since the disk is full, it is not taken for one that cannot be loaded."""
    import keras
    import numpy as np

    from runner.worker.worker import Worker

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/a")

    trial, worker = make_trial(epochs=1), Worker()
    worker.advance([Work(trial=trial, round=0)], [worker.load(trial)])
    owner, name = (keras.models, "load_model") if what == "load" else (np, "savez")
    monkeypatch.setattr(owner, name, full)
    asked = worker.snapshot([trial], tmp_path)["000"] if what == "snapshot" else worker.export(trial, False, tmp_path)
    assert isinstance(asked, Failure)
    assert (asked.kind, asked.message) == ("disk", "OSError: [Errno 28] No space left on device: '/disk/a'")

"""A full disk and one that cannot be written: a line that says so, nothing torn, and all of it later."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Folder
from small_journal import SYNC, ask, counts, eventually, facts, report, small_sweep

from runner.config import Config
from runner.driver.record import write_config
from runner.errors import JournalError
from runner.journal import FILE, JournalReader, connect
from runner.records import Export, Verdict
from runner.tracking import Projection, artifact_files, sync

TURNS = 500  # that a store without room misses


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)


def fill(disk: Path, leave_kib: int = 0) -> Path:
    """Takes up the free space but for so much; removing the file gives it back."""
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
    filler.write_bytes(b"x" * (free - leave_kib * 1024))
    return filler


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def is_whole(folder: Path) -> bool:
    connection = connect(folder / FILE)
    try:
        return [tuple(row) for row in connection.execute("PRAGMA integrity_check")] == [("ok",)]
    finally:
        connection.close()


def test_a_full_disk_stops_the_journal_with_every_earlier_round_in_it(disk: Path) -> None:
    folder = disk / "s"
    journal = small_sweep(folder, "")
    filler, turn = fill(disk, leave_kib=256), 0
    with pytest.raises(JournalError, match="cannot be written: database or disk is full") as error:  # noqa: PT012
        while turn < 10_000:
            journal.commit({"000": report(0, turn)}, {}, {})
            turn += 1
    assert str(folder) in str(error.value)
    assert turn > 1
    with pytest.raises(JournalError):
        journal.end("failed")
    with JournalReader(folder) as reader:
        assert [row.step for row in reader.metrics()] == list(range(1, turn + 1))
    filler.unlink()
    journal.commit({"000": report(0, turn)}, {}, {})
    journal.end("failed")
    assert is_whole(folder)
    with JournalReader(folder) as reader:
        assert (len(reader.metrics()), reader.sweep().status) == (turn + 1, "failed")


def test_a_model_that_does_not_fit_leaves_neither_half_a_file_nor_an_end(disk: Path) -> None:
    folder = disk / "s"
    journal = small_sweep(folder, "")
    filler = fill(disk, leave_kib=512)
    export = Export(trial_id="000", model=b"m" * 2**20, weights=b"w" * 2**10)
    barrier = {"000": report(0, 0, epoch=1)}, {"000": Verdict(kind="complete")}, {"000": export}
    with pytest.raises(JournalError, match="No space left on device"):
        journal.commit(*barrier)
    with JournalReader(folder) as reader:
        assert (reader.trial("000").status, reader.metrics()) == ("running", ())
    assert not list((folder / "models").glob("*.partial"))
    assert not (folder / "models" / "000.keras").exists()
    filler.unlink()
    journal.commit(*barrier)
    with JournalReader(folder) as reader:
        assert reader.trial("000").status == "complete"
    assert (folder / "models" / "000.keras").read_bytes() == export.model


@pytest.mark.parametrize("what", ["full", pytest.param("read-only", marks=pytest.mark.slow)])
def test_a_store_that_takes_nothing_costs_the_training_nothing_and_has_all_later(
    disk: Path, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.tracking.delivery._LONGEST_PAUSE_S", 0.5)
    folder, store, warnings, took_s = tmp_path / "s", disk / "mlflow.db", [], []
    journal = small_sweep(folder, f"sqlite:///{store}")
    subprocess.run([sys.executable, "-c", SYNC, folder], check=True)
    assert counts(store)["runs"] == 2
    filler = fill(disk) if what == "full" else None
    if what == "read-only":
        remount(disk, "ro")
    with Projection(folder, on_warning=warnings.append, timeout_s=2.0) as projection:
        for turn in range(TURNS):
            began_s = time.monotonic()
            journal.commit({"000": report(0, turn, of=None if turn else facts())}, {}, {})
            took_s.append(time.monotonic() - began_s)
        projection.notify()
        eventually(lambda: bool(warnings), 30)
        journal.end("complete")
    assert max(took_s) < 1.0
    assert len(warnings) == 1
    assert projection.problem is not None
    assert "python -m runner sync tiny-1" in projection.problem
    remount(disk, "rw")
    if filler is not None:
        filler.unlink()
    sync(folder, None, warnings.append)
    assert counts(store)["metrics"] == TURNS
    assert ask(store, "PRAGMA integrity_check") == [("ok",)]
    assert sorted(ask(store, "SELECT status FROM runs")) == [("FINISHED",), ("KILLED",)]


def test_a_config_that_cannot_be_written_is_told(disk: Path) -> None:
    fill(disk)
    with pytest.raises(JournalError, match=r"config\.yaml: cannot be written: No space left on device"):
        write_config(disk, Config())


def test_a_folder_that_cannot_be_written_is_told_before_workers_start(disk: Path) -> None:
    (disk / "a.py").write_text("def load_data(): ...\ndef build_model(): ...\n", encoding="utf-8")
    remount(disk, "ro")
    began_s = time.monotonic()
    ended = Folder(disk).run("sweep", "a.py", code=2)
    assert time.monotonic() - began_s < 10.0
    assert f"{disk}: not writable" in ended.err
    assert "Traceback" not in ended.everything


def test_a_store_on_another_file_system_gets_a_copy(disk: Path, tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"m" * 1000)
    assert not artifact_files.link(tmp_path / "model", disk / "there" / "model")
    folder = tmp_path / "s"
    with small_sweep(folder, f"sqlite:///{disk}/mlflow.db") as journal:
        export = Export(trial_id="000", model=b"m" * 2**16, weights=b"w")
        journal.commit({"000": report(0, 0, epoch=1, of=facts())}, {"000": Verdict(kind="complete")}, {"000": export})
        journal.end("complete")
    sync(folder, None, print)
    copies = list((disk / "mlartifacts").rglob("model.keras"))
    assert [copy.read_bytes() for copy in copies] == [export.model] * 2
    assert len({copy.stat().st_ino for copy in copies}) == 1


TINY = """
import keras
import numpy as np


def load_data():
    x = np.ones((8, 2), "float32")
    return (x, x[:, 0]), (x, x[:, 0])


def build_model(units: int = 300_000) -> keras.Model:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(units), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model
"""


def test_a_sweep_that_does_not_fit_on_its_disk_is_refused_before_training(disk: Path, tmp_path: Path) -> None:
    (disk / "tiny.py").write_text(TINY, encoding="utf-8")
    settings = ("fleet.kind=local", "train.epochs=2", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db")
    folder = Folder(disk, warm=True)
    ended = folder.run("sweep", "tiny.py", *settings, code=2)
    assert "MiB free in sweeps/; not even the snapshots fit; free room there" in ended.err
    assert "Traceback" not in ended.everything
    assert folder.sweeps == []

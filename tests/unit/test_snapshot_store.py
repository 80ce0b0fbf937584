"""Snapshots on disk: every byte is verified, and what is damaged or foreign is told and not used."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.journal.snapshots import SnapshotStore
from runner.records import Snapshot, Trial

STATE = bytes(range(256)) * 2


@pytest.fixture
def trial(make_trial: Any) -> Trial:
    return make_trial(id="007", epochs=3)


class Kept:
    """A store whose sweep has snapshots of the rounds 3, 5 and 9."""

    def __init__(self, folder: Path, trial: Trial) -> None:
        self.told: list[str] = []
        self.folder, self.trial = folder, trial
        self.store = SnapshotStore(folder, {"keras": "3"}, self.told.append)
        for number in (3, 5, 9):
            self.store.write(trial, snapshot(number))

    def newest(self, at_most: int = 99) -> int | None:
        found = self.store.newest(self.trial, at_most)
        if found is None:
            return None
        assert isinstance(found.state, Path)
        read = replace(found, state=found.state.read_bytes())
        assert read == snapshot(found.round), "never another state than was written"
        return found.round

    def file(self, number: int, name: str) -> Path:
        return self.folder / "snapshots" / "007" / f"{number:08}" / name


def snapshot(number: int) -> Snapshot:
    return Snapshot(trial_id="007", round=number, step=4 * number, state=STATE + b"%d" % number)


def full(*_: Any, **__: Any) -> None:
    raise OSError(28, "No space left on device")


@pytest.fixture
def kept(tmp_path: Path, trial: Trial) -> Kept:
    (tmp_path / "sweep-1").mkdir()
    return Kept(tmp_path / "sweep-1", trial)


def test_two_generations_are_kept_and_the_newest_is_used(kept: Kept) -> None:
    assert sorted(path.name for path in kept.file(9, "").parent.iterdir()) == ["00000005", "00000009"]
    assert kept.newest() == 9
    assert kept.newest(at_most=8) == 5
    assert kept.newest(at_most=4) is None
    assert not kept.told


@pytest.mark.parametrize("name", ["state.npz", "manifest.json"])
def test_any_flipped_bit_is_found_and_the_generation_before_is_used(kept: Kept, name: str) -> None:
    file = kept.file(9, name)
    whole = file.read_bytes()
    chance = random.Random(0)
    for index in range(len(whole)):
        damaged = bytearray(whole)
        damaged[index] ^= 1 << chance.randrange(8)
        file.write_bytes(damaged)
        assert kept.newest() == 5, f"byte {index} of {name}: {whole[index]} → {damaged[index]}"
    assert len(kept.told) == len(whole)
    file.write_bytes(whole)
    assert kept.newest() == 9


@pytest.mark.parametrize("name", ["state.npz", "manifest.json"])
@pytest.mark.parametrize("length", [0, 1, 100])
def test_a_truncated_or_lengthened_file_is_found(kept: Kept, name: str, length: int) -> None:
    file = kept.file(9, name)
    whole = file.read_bytes()
    for content in (whole[:length], whole[:-1], whole + b"\0", whole + b"\n"):
        file.write_bytes(content)
        assert kept.newest() == 5


@pytest.mark.parametrize("name", ["state.npz", "manifest.json", ""])
def test_a_missing_file_is_found(kept: Kept, name: str) -> None:
    path = kept.file(9, name)
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert kept.newest() == 5
    assert len(kept.told) == (name != "")


def test_what_is_of_another_sweep_trial_or_round_is_not_used(kept: Kept, tmp_path: Path, trial: Trial) -> None:
    other = tmp_path / "sweep-2"
    shutil.copytree(kept.folder, other)
    told: list[str] = []
    assert SnapshotStore(other, {}, told.append).newest(trial, 99) is None
    assert "its sweep is 'sweep-1', not 'sweep-2'" in told[0]

    shutil.copytree(kept.file(9, ""), kept.file(11, ""))
    assert kept.newest() == 9
    assert "its round is 9" in kept.told[-1]

    shutil.copytree(kept.file(9, "").parent, kept.folder / "snapshots" / "008")
    assert kept.store.newest(replace(trial, id="008"), 99) is None
    assert "its trial is '007', not '008'" in kept.told[-1]

    assert kept.store.newest(replace(trial, seed=1), 99) is None
    assert "other settings or other code" in kept.told[-1]


def test_a_state_that_is_a_file_is_moved_to_its_place(kept: Kept, tmp_path: Path) -> None:
    state = tmp_path / "sweep-1" / "007.state.npz"
    state.write_bytes(STATE + b"12")
    kept.store.write(kept.trial, replace(snapshot(12), state=state))
    assert kept.newest() == 12
    assert not state.exists()


def test_a_file_whose_snapshot_cannot_be_written_does_not_keep_the_room(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "sweep-1" / "007.state.npz"
    state.write_bytes(STATE + b"12")
    monkeypatch.setattr(Path, "mkdir", full)
    kept.store.write(kept.trial, replace(snapshot(12), state=state))
    assert not state.exists()
    assert kept.newest() == 9


def test_a_disk_that_has_become_read_only_ends_no_sweep(
    kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: Any, **__: Any) -> None:
        raise OSError(30, "Read-only file system")

    state = tmp_path / "sweep-1" / "007.state.npz"
    state.write_bytes(STATE + b"12")
    for name in ("mkdir", "unlink"):
        monkeypatch.setattr(Path, name, read_only)
    kept.store.write(kept.trial, replace(snapshot(12), state=state))
    assert "round 12 could not be written: [Errno 30]" in kept.told[0]
    assert kept.newest() == 9


def test_dropped_snapshots_are_gone_and_may_be_dropped_again(kept: Kept) -> None:
    assert kept.store.has_any("007")
    for _ in range(2):
        kept.store.drop("007")
        assert (kept.newest(), kept.store.has_any("007")) == (None, False)
    assert not kept.told


def test_more_epochs_do_not_make_a_snapshot_foreign(kept: Kept, trial: Trial) -> None:
    longer = replace(trial, train=replace(trial.train, epochs=30))
    found = kept.store.newest(longer, 99)
    assert found is not None
    assert found.round == 9


def test_what_was_never_finished_is_not_seen(kept: Kept) -> None:
    kept.file(9, "").rename(kept.file(9, "").with_name(".12.partial"))
    assert kept.newest() == 5
    kept.store.write(kept.trial, snapshot(12))
    assert kept.newest() == 12
    assert not kept.told


def test_a_disk_that_does_not_take_a_snapshot_is_told_and_the_one_before_stays(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", full)
    kept.store.write(kept.trial, snapshot(12))
    assert "round 12 could not be written: [Errno 28]" in kept.told[0]
    assert kept.newest() == 9
    assert sorted(path.name for path in kept.file(9, "").parent.iterdir()) == ["00000005", "00000009"], "room is left"


def test_a_disk_that_does_not_give_a_snapshot_back_is_told_and_the_one_before_is_used(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.file_digest

    def bad_sector(file: Any, name: Any) -> Any:
        if file.name == str(kept.file(9, "state.npz")):
            raise OSError(5, "Input/output error")  # read(2) names no file
        return digest(file, name)

    monkeypatch.setattr(hashlib, "file_digest", bad_sector)
    assert kept.newest() == 5
    assert "Input/output error" in kept.told[0]


def test_what_a_killed_driver_has_left_unfinished_is_removed_with_the_next_snapshot(kept: Kept) -> None:
    shutil.copytree(kept.file(9, ""), kept.file(9, "").with_name(".11.partial"))
    kept.store.write(kept.trial, snapshot(12))
    assert sorted(path.name for path in kept.file(12, "").parent.iterdir()) == ["00000009", "00000012"]


def test_only_the_user_can_read_snapshots(kept: Kept) -> None:
    assert kept.file(9, "").stat().st_mode & 0o077 == 0

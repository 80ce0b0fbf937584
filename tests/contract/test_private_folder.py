"""The folder of a local Ray's files: whose it is, and which ones a later start of Ray removes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.fleet.ray import auth
from runner.host.private_folder import is_ours

LEFT = "import os; from runner.fleet.ray import auth; made = auth._private_folder(); made.__enter__(); os._exit(0)"


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    return tmp_path


def left_behind(parent: Path) -> Path:
    """Of a driver that has ended without leaving it."""
    subprocess.run([sys.executable, "-c", LEFT], check=True)
    (folder,) = parent.glob("lsr-*")
    (folder / "r").mkdir()
    (folder / "r" / "session.log").write_text("of a dead Ray")
    return folder


def test_a_folder_is_this_users_alone_and_removed_on_leaving(parent: Path) -> None:
    with auth._private_folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
        assert list(parent.iterdir()) == [folder]
    assert not list(parent.iterdir())


def test_what_a_killed_driver_has_left_is_removed_and_what_is_in_use_is_not(parent: Path) -> None:
    left = left_behind(parent)
    with auth._private_folder() as first, auth._private_folder() as second:
        assert not left.exists()
        assert first.is_dir()
        assert second.is_dir()


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "notes.txt").write_text("a person's"),
        lambda folder: (folder / "made-by").unlink(),
        lambda folder: (folder / "made-by").write_text("another machine"),
    ],
    ids=["with something else in it", "without the mark", "of another machine"],
)
def test_a_folder_that_may_be_anothers_stays(parent: Path, change: Callable[[Path], object]) -> None:
    left = left_behind(parent)
    change(left)
    with auth._private_folder():
        pass
    assert (left / "r" / "session.log").exists()


def test_a_link_is_not_followed(parent: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    left = left_behind(parent).rename(tmp_path_factory.mktemp("elsewhere") / "kept")
    (parent / "lsr-linked00").symlink_to(left, target_is_directory=True)
    with auth._private_folder():
        pass
    assert (left / "r" / "session.log").exists()


def test_a_folder_that_another_sweep_has_just_removed_is_left_to_it(parent: Path) -> None:
    assert not is_ours(parent / "lsr-removed0", ["r"])

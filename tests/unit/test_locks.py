"""Locks on files and folders between processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.locks import FOLDER, lock

HOLDS = """
import os, subprocess, sys
from pathlib import Path
from runner.locks import FOLDER, lock
with lock(Path(sys.argv[1]), FOLDER):
    subprocess.Popen(["sleep", "60"], close_fds=False, stdout=subprocess.DEVNULL)
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_lock_excludes_other_holders_until_its_process_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(BlockingIOError), lock(tmp_path, FOLDER):
            pass
        other.kill()
        with lock(tmp_path, FOLDER, wait=True):  # a child of the other process still runs
            pass
        os.killpg(other.pid, 9)
    assert not list(tmp_path.iterdir())


def test_a_file_is_private_stays_and_locks_nothing_by_its_presence(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    for _ in range(2):
        with lock(file, os.O_RDWR | os.O_CREAT) as descriptor:
            assert os.fstat(descriptor).st_mode & 0o777 == 0o600
    assert file.exists()

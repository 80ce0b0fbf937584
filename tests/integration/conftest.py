"""Sweeps that several tests look at; each is run once."""

from __future__ import annotations

import fcntl
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from command_line import Ended, Folder, make_folder


@pytest.fixture(scope="session", autouse=True)
def _tables(tables: None) -> None:
    """MLflow's tables are made once, but for the tests that start a process of their own to make them."""


@pytest.fixture(scope="session")
def demo(shared_folder: Path) -> tuple[Folder, Ended]:
    """`python -m runner sweep` with no arguments, in a folder with an awkward name; once for all workers of xdist.

    That command starts as a user's does; what is asked of the folder later starts warm.
    """
    place, ended = shared_folder / "odd path #1 50%", shared_folder / "demo.json"
    with (shared_folder / "demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ended.exists():
            place.mkdir()
            ended.write_text(json.dumps(asdict(make_folder(place).run("sweep"))), encoding="utf-8")
    return Folder(place, warm=True), Ended(**json.loads(ended.read_text(encoding="utf-8")))


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A fresh folder with the project's configs and experiments; its commands start warm."""
    return make_folder(tmp_path_factory.mktemp("work"), warm=True)

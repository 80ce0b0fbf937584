"""Sweeps that several tests look at; each is run once."""

from __future__ import annotations

import pytest
from command_line import Ended, Folder, make_folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, Ended]:
    """`python -m runner sweep` with no arguments, in a folder with an awkward name."""
    folder = make_folder(tmp_path_factory.mktemp("odd path #1 50%"))
    return folder, folder.run("sweep")


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A fresh folder with the project's configs and experiments; its commands start warm."""
    return make_folder(tmp_path_factory.mktemp("work"), warm=True)

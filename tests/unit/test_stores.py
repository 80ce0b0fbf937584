from __future__ import annotations

from pathlib import Path

import pytest

from runner.tracking.addresses import sqlite_file, sqlite_uri, store_name
from runner.tracking.ledger import HOME


@pytest.mark.parametrize(
    ("uri", "home"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite:///./mlflow.db?timeout=3", "sqlite:///mlflow.db"),
        ("http://me:pw@host:5000/", "http://host:5000"),
    ],
)
def test_the_configs_own_store_is_known_however_it_is_written(uri: str, home: str):
    assert store_name(uri, home) == HOME


def test_the_configs_own_store_is_known_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert store_name(f"sqlite:///{tmp_path}/mlflow.db", "sqlite:///mlflow.db") == HOME


def test_another_store_has_a_name_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert store_name("sqlite:///other.db", "sqlite:///mlflow.db") == f"sqlite:///{tmp_path}/other.db"
    assert store_name("https://me:pw@host/", "sqlite:///mlflow.db") == "https://host"


@pytest.mark.parametrize("name", ["a b", "50%", "%41", "#?&=;:@", 'it\'s "é"', "back\\slash", "new\nline", "[x]*"])
def test_a_sqlite_store_may_lie_in_a_folder_of_any_name(tmp_path: Path, name: str):
    file = tmp_path / name / "mlflow.db"
    written = sqlite_uri("sqlite:///mlflow.db?timeout=3", file)
    assert sqlite_file(written) == file
    assert written.endswith("?timeout=3")


def test_other_stores_are_no_files():
    assert sqlite_file("http://host/sqlite:///x") is None
    assert sqlite_file("sqlite://") is None

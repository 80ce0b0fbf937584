"""A store and its sweeps lie elsewhere than before: artifacts are beside the store, and a copy leaves the original."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from small_journal import OF_TRIALS, ask, begin, facts, report, sweep, trial

from runner.journal import JournalReader, SqliteJournal
from runner.records import Allocation, Export, Verdict, Work
from runner.tracking import sync
from runner.tracking.moved_store import relocate_artifacts

STORE = "sqlite:///mlflow.db"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store and a sweep of two trials, of which one has ended."""
    made = tmp_path / "a b"
    folder = made / "s"
    folder.mkdir(parents=True)
    monkeypatch.chdir(made)
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(replace(sweep(STORE), id="s"), (trial(0), trial(1)))
        begin(journal, 0, 1)
        export = Export(trial_id="000", model=b"m", weights=b"w")
        reports = {"000": report(0, 0, epoch=1, of=facts()), "001": report(1, 0, of=facts())}
        journal.commit(reports, {"000": Verdict(kind="complete")}, {"000": export})
        journal.end("killed")
    sync(folder, None, print)
    return made


def go_on(folder: Path) -> list[str]:
    """The second trial ends; what `sync` has told of it."""
    told: list[str] = []
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.reopen({"001": (trial(1), 1)})
        journal.assign({0: (Work(trial=trial(1), round=1),)})
        export = Export(trial_id="001", model=b"n", weights=b"w")
        journal.commit({"001": report(1, 1, epoch=1)}, {"001": Verdict(kind="complete")}, {"001": export})
        journal.end("complete")
    sync(folder, None, told.append)
    return told


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def models(project: Path) -> set[str]:
    """The trials whose model MLflow's client finds, from any working directory."""
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("tiny trials").experiment_id])
    found = {run.data.tags.get("trial.id", ""): client.list_artifacts(run.info.run_id, "model") for run in runs}
    assert len(found) == len(runs) == 3
    return {trial_id for trial_id, files in found.items() if [file.path for file in files] == ["model/model.keras"]}


@pytest.mark.parametrize("how", [shutil.copytree, Path.rename], ids=["copied", "moved"])
def test_a_sweep_goes_on_where_its_folder_is_now(project: Path, tmp_path: Path, monkeypatch, how) -> None:
    elsewhere, before = tmp_path / "é #1", content(project)
    how(project, elsewhere)
    monkeypatch.chdir(elsewhere)
    assert go_on(elsewhere / "s") == []
    monkeypatch.chdir("/")
    assert models(elsewhere) == {"000", "001"}
    assert content(project) == (before if project.exists() else {})
    assert [path for path in tmp_path.iterdir() if path not in (project, elsewhere)] == []


def test_a_sweep_whose_own_folder_was_copied_has_new_runs_with_everything(
    project: Path, tmp_path: Path, monkeypatch
) -> None:
    elsewhere, before = tmp_path / "new", content(project)
    shutil.copytree(project / "s", elsewhere / "s")
    monkeypatch.chdir(elsewhere)
    told = go_on(elsewhere / "s")
    assert len(told) == 1
    assert "does not know 3 of the 3 runs that sweep s has had" in told[0]
    assert models(elsewhere) == {"000", "001"}
    assert content(project) == before
    with JournalReader(elsewhere / "s") as journal:
        rows = [(row.key, row.step, row.value) for row in journal.metrics() if row.key != "round/loss"]
    assert sorted(rows) == sorted(
        ask(
            elsewhere / "mlflow.db",
            "SELECT key, step, value FROM metrics "
            f"WHERE key NOT IN ('score', 'best_epoch', 'round/loss') AND {OF_TRIALS}",
        )
    )


def test_runs_that_the_journal_has_forgotten_are_found_by_the_sweeps_id(project: Path) -> None:
    runs = ask(project / "mlflow.db", "SELECT run_uuid FROM runs ORDER BY run_uuid")
    with closing(sqlite3.connect(project / "s" / "journal.db")) as journal, journal:
        journal.execute("UPDATE projection SET run_id = 'f' || substr(run_id, 2, 30) || 'f'")
    assert "does not know 3 of the 3 runs" in go_on(project / "s")[0]
    assert ask(project / "mlflow.db", "SELECT run_uuid FROM runs ORDER BY run_uuid") == runs
    assert models(project) == {"000", "001"}


def test_artifacts_that_were_never_beside_the_store_stay_where_they_are(project: Path, tmp_path: Path) -> None:
    elsewhere = f"{tmp_path.as_uri()}/mlartifacts/x/y"
    disk = tmp_path / "big" / "mlartifacts"  # `mlflow server --default-artifact-root` names it
    (disk / "3").mkdir(parents=True)
    on_disk = [disk.as_uri(), f"{disk.as_uri()}/3", f"{disk.as_uri()}/4"]
    addresses = ["mlflow-artifacts:/7", "s3://bucket/mlartifacts/x", elsewhere, "./mlartifacts", *on_disk]
    columns = "name, artifact_location, lifecycle_stage, workspace"
    rows = [(f"other {n}", address, "active", "default") for n, address in enumerate(addresses)]
    with closing(sqlite3.connect(project / "mlflow.db")) as store, store:
        store.executemany(f"INSERT INTO experiments ({columns}) VALUES (?, ?, ?, ?)", rows)
    relocate_artifacts(project / "mlflow.db")
    query = "SELECT artifact_location FROM experiments WHERE name LIKE 'other %' ORDER BY name"
    assert [address for (address,) in ask(project / "mlflow.db", query)] == addresses


def test_artifacts_stay_where_they_are_when_the_stores_file_is_moved_alone(project: Path, tmp_path: Path) -> None:
    query = "SELECT artifact_location FROM experiments UNION ALL SELECT artifact_uri FROM runs"
    before, alone = ask(project / "mlflow.db", query), tmp_path / "alone" / "mlflow.db"
    (alone.parent / "mlartifacts" / "of another store").mkdir(parents=True)
    (project / "mlflow.db").rename(alone)
    relocate_artifacts(alone)
    assert ask(alone, query) == before
    assert any(str(address).startswith(project.as_uri()) for (address,) in before)

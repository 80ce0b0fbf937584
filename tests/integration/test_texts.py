"""Texts of any length with any characters reach every kind of store: PostgreSQL refuses what sqlite takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import postgres
import pytest
from mlflow import MlflowClient
from small_journal import begin, facts, report, sweep, trial

from runner.journal import JournalReader, SqliteJournal
from runner.records import Allocation, Export, Failure, Verdict
from runner.tracking import sync
from runner.tracking.connection import StoreConnection
from runner.tracking.errors import StoreRefusedError
from runner.tracking.foreign_errors import mapped


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A PostgreSQL server for all tests of this file."""
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.serving() as uri:
        yield uri


@pytest.fixture(params=["sqlite", "postgresql"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store of each kind: sqlite takes what PostgreSQL refuses."""
    return f"sqlite:///{tmp_path}/mlflow.db" if request.param == "sqlite" else request.getfixturevalue("database")


def test_long_and_odd_names_and_values_arrive(tmp_path: Path, any_store: str):
    folder, odd = tmp_path / "s", "caf\udce9 \0 \\x00 "
    folder.mkdir()
    long = replace(trial(0), params={"x" * 400: "y" * 15_000, "é 'q\" \n\0\udce9": odd}, model_params=())
    name, command = "é 'x' % # / " + "n" * 488, odd + "c" * 9000
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(replace(sweep(any_store), mlflow_experiment=name, command=command, config=odd), (long, trial(1)))
        begin(journal, 0, 1)
        running = {"m" * 400: 1.0, "é/%\n": 2.0, "a" * 399: 3.0, "\0\udce9": 4.0}
        failed = Failure(trial_id="001", kind="build", message=odd + "r" * 20_000, traceback=odd)
        reports = {"000": replace(report(0, 0, of=replace(facts(), summary=odd, inexact=odd)), running=running)}
        verdicts = {"000": Verdict(kind="stop", reason=odd + "r" * 20_000), "001": Verdict(kind="fail")}
        export = Export(trial_id="000", model=b"", weights=b"w")
        journal.commit({**reports, "001": failed}, verdicts, {"000": export})
        journal.end("complete")
    sync(folder, None, print)
    runs = _runs(any_store, name[:247])
    shown = "caf\\udce9 \\x00 \\x00 "
    assert runs["000"].data.tags["exact.reason"] == shown
    assert len([key for key in runs["000"].data.metrics if key.startswith("round/")]) == 4
    assert runs["000"].data.tags["stop.reason"].startswith(shown + "rr")
    assert runs["001"].data.tags["failure"].startswith("build: " + shown)
    assert len(runs["000"].data.params["x" * 241 + "-" + sha256(b"x" * 400).hexdigest()[:8]]) == 6000
    assert runs["tiny-1"].data.tags["mlflow.note.content"].endswith("characters]")
    with JournalReader(folder) as reader:
        assert reader.sweep().command == command
        assert reader.trial("001").reason == f"build: {failed.message}"
        assert reader.trial("001").traceback == odd
        assert {row.key for row in reader.metrics("000")} == {f"round/{key}" for key in running}


def _runs(uri: str, experiment: str) -> dict:
    """The runs of the experiment whose name begins so, by trial; the sweep's by its name."""
    client = MlflowClient(uri)
    (found,) = [item for item in client.search_experiments() if item.name.startswith(experiment)]
    assert len(found.name) == 256
    return {run.data.tags.get("trial.id", run.info.run_name): run for run in client.search_runs([found.experiment_id])}


def test_a_databases_refusal_tells_its_reason(database: str):
    store = StoreConnection(database, "x")
    store.open()
    with pytest.raises(StoreRefusedError, match=r"^value too long for type character varying\(250\)$"), mapped():
        MlflowClient.create_run(store.client, store.experiment_id, run_name="n" * 251)

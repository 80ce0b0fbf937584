"""Nothing lost, nothing doubled, whatever the store does: locked, killed, full, read-only, new, and another one."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import Folder
from small_journal import OF_TRIALS, SYNC, ask, begin, counts, eventually, facts, report, small_sweep, sweep, trial
from sqlalchemy import event
from sqlalchemy.engine import Engine

from runner.errors import TrackingError
from runner.journal import REPORT, JournalReader, SqliteJournal, locked, put_durably
from runner.records import Allocation, Export, Verdict
from runner.tracking import Projection, sync
from runner.tracking.errors import StoreUnavailableError
from runner.tracking.ledger import Due, Ledger
from runner.tracking.mlflow_sink import MlflowSink

ROUNDS = 50
OF_MODEL = 2  # values that MLflow has of an ended trial beside the journal's: score and best_epoch


def ended_sweep(folder: Path, store: str, trials: int = 2) -> Path:
    """A sweep that has ended, of which MLflow has nothing."""
    folder.mkdir()
    numbers = range(trials)
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(replace(sweep(store), id=folder.name), tuple(trial(number) for number in numbers))
        begin(journal, *numbers)
        for turn in range(ROUNDS):
            of = facts(loadable=False) if turn == 0 else None
            journal.commit({f"{n:03d}": report(n, turn, of=of) for n in numbers}, {}, {})
        last = {f"{n:03d}": report(n, ROUNDS, epoch=1) for n in numbers}
        verdicts = dict.fromkeys(last, Verdict(kind="complete"))
        journal.commit(last, verdicts, {key: Export(trial_id=key, model=b"", weights=b"w") for key in last})
        journal.end("complete")
    return folder


@contextmanager
def small_journal_of_three(folder: Path, store: str) -> Iterator[SqliteJournal]:
    """Three trials that are complete, the second with a model that Keras can load."""
    folder.mkdir()
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(replace(sweep(store), id="s"), tuple(trial(number) for number in range(3)))
        begin(journal, 0, 1, 2)
        reports = {f"00{n}": report(n, 0, epoch=1, of=facts(loadable=n == 1)) for n in range(3)}
        models = {key: b"m" if key == "001" else b"" for key in reports}
        exports = {key: Export(trial_id=key, model=model, weights=b"w") for key, model in models.items()}
        journal.commit(reports, dict.fromkeys(reports, Verdict(kind="complete")), exports)
        yield journal


def wanted(folder: Path) -> list[tuple]:
    with JournalReader(folder) as journal:
        rows = journal.metrics()
        runs = {trial.id: trial.run_id for trial in journal.trials()}
    return sorted((runs[row.trial], row.key, row.step, row.value, row.timestamp_ms) for row in rows)


def got(store: Path) -> list[tuple]:
    return sorted(
        ask(
            store,
            "SELECT run_uuid, key, step, value, timestamp FROM metrics "
            f"WHERE key NOT IN ('score', 'best_epoch') AND {OF_TRIALS}",
        )
    )


@contextmanager
def mlflow_server(store: Path, port: int) -> Iterator[subprocess.Popen]:
    """A tracking server of its own, killed at the end with all its processes."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store}", "--artifacts-destination", str(store.parent / "artifacts")]
    env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with open(store.parent / "server.log", "ab") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        yield server
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2.0) as answer:
            return answer.status == 200
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_journal_is_sent_later_to_its_store_and_to_another_one_once_each(tmp_path: Path):
    home, other = tmp_path / "home.db", tmp_path / "other.db"
    warnings: list[str] = []
    folder = ended_sweep(tmp_path / "s", f"sqlite:///{home}")
    sync(folder, None, warnings.append)
    assert got(home) == wanted(folder)
    first = counts(home)
    assert (first["runs"], first["metrics"]) == (3, 2 * (ROUNDS + 2 + OF_MODEL))

    for _ in range(2):
        sync(folder, f"sqlite:///{other}", warnings.append)
        assert counts(other) == first
    copy = tmp_path / "copy.db"  # of which the journal has no account
    with sqlite3.connect(other) as source, sqlite3.connect(copy) as target:
        source.backup(target)
    sync(folder, f"sqlite:///{copy}", warnings.append)
    assert counts(copy) == first

    sync(folder, f"sqlite:///{home}", warnings.append)
    assert counts(home) == first
    assert got(home) == wanted(folder), "the run ids are still those of the sweep's own store"
    assert warnings == []
    assert home.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "mlartifacts").stat().st_mode & 0o777 == 0o700


def test_the_report_arrives_once_though_the_answer_to_the_end_is_lost_and_again_with_the_next_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, end_run, lost = ended_sweep(tmp_path / "s", f"sqlite:///{tmp_path}/m.db", trials=1), MlflowSink.end_run, []

    def end_and_lose_the_answer(sink: MlflowSink, *args: object) -> None:
        end_run(sink, *args)
        if len(lost) < 2:
            lost.append(args)
            raise StoreUnavailableError("lost")

    monkeypatch.setattr(MlflowSink, "end_run", end_and_lose_the_answer)
    for text in ("first", "second"):  # a sweep that goes on ends again
        put_durably(folder / REPORT, text.encode())
        sync(folder, None, print)
        assert [file.read_text() for file in (tmp_path / "mlartifacts").rglob(REPORT)] == [text]
        with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
            journal.reopen({})
            sync(folder, None, print)
            journal.end("complete")
    assert len(lost) == 2


def test_a_store_that_stays_down_leaves_a_problem_that_names_the_command(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    folder, warnings = ended_sweep(tmp_path / "s", "http://127.0.0.1:9"), []
    with pytest.raises(TrackingError, match="lacks 104 metric values and the end of 3 runs") as error:
        sync(folder, "http://user:hunter22@127.0.0.1:9", warnings.append, deadline_s=1.0)
    assert str(error.value).endswith("send them with: python -m runner sync s")
    (warning,) = warnings
    assert "MLflow at http://127.0.0.1:9 does not answer" in warning
    texts = [str(error.value), warning, *(file.read_text("utf-8", "replace") for file in folder.rglob("*.*"))]
    assert not any("hunter22" in text for text in texts)
    sync(folder, f"sqlite:///{tmp_path}/rescue.db", warnings.append)
    assert counts(tmp_path / "rescue.db")["metrics"] == 104 + 2 * OF_MODEL


def test_the_command_sends_a_sweep_unless_another_process_writes_it(tmp_path: Path):
    project, store = Folder(tmp_path, warm=True), tmp_path / "other.db"
    (tmp_path / "sweeps").mkdir()
    folder = ended_sweep(tmp_path / "sweeps" / "s", f"sqlite:///{tmp_path}/home.db")
    with locked(folder):
        ended = project.run("sync", "--tracking-uri", f"sqlite:///{store}", code=2)
    assert f"sweep s is in use by process {os.getpid()}" in ended.err
    assert not store.exists()
    told = project.run("sync", "latest", "--tracking-uri", f"sqlite:///{store}").out
    assert told == f"MLflow at sqlite:///{store} has all of sweep s\n"
    assert counts(store)["metrics"] == 104 + 2 * OF_MODEL
    assert not (tmp_path / "home.db").exists()


@pytest.mark.slow  # a server starts twice; `test_store_errors.py` has one that loses answers
def test_a_server_that_is_killed_in_the_middle_and_comes_back_has_every_row_once(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    store, port, warnings = tmp_path / "mlflow.db", free_port(), []
    with mlflow_server(store, port):
        eventually(lambda: answers(port), 60)
        journal = small_sweep(tmp_path / "s", f"http://127.0.0.1:{port}")
        projection = Projection(tmp_path / "s", on_warning=warnings.append)
        projection.__enter__()
        longest_s, turn = 0.0, 0
        while turn < 40 or not counts(store)["metrics"]:
            longest_s, turn = max(longest_s, commit(journal, turn)), turn + 1
            time.sleep(0.05)
    assert not answers(port)
    for _ in range(60):  # nobody notices but MLflow
        longest_s, turn = max(longest_s, commit(journal, turn)), turn + 1
        time.sleep(0.05)
    assert longest_s < 1.0, "training never waits for MLflow"
    with mlflow_server(store, port):
        journal.commit({"000": report(0, turn, epoch=1)}, {"000": Verdict(kind="complete")}, {})
        journal.end("complete")
        projection.__exit__(None, None, None)
        assert projection.problem is None
    assert len(warnings) == 1
    assert got(store) == wanted(tmp_path / "s")
    assert ask(store, "SELECT status FROM runs") == [("FINISHED",), ("FINISHED",)]


def commit(journal: SqliteJournal, turn: int) -> float:
    """Commits a round; returns the seconds it took."""
    began_s = time.monotonic()
    journal.commit({"000": report(0, turn, of=None if turn else facts())}, {}, {})
    return time.monotonic() - began_s


@pytest.fixture
def impatient_mlflow() -> Iterator[None]:
    """MLflow waits half a second for a locked store, not 20."""

    def shorten(_connection, _cursor, statement: str, parameters, _context, _many):
        return statement.replace("busy_timeout = 20000", "busy_timeout = 500"), parameters

    event.listen(Engine, "before_cursor_execute", shorten, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", shorten)


@pytest.mark.usefixtures("impatient_mlflow")
def test_a_store_locked_for_longer_than_mlflow_waits_costs_nothing_and_loses_nothing(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("runner.tracking.delivery._LONGEST_PAUSE_S", 1.0)
    store, warnings = tmp_path / "mlflow.db", []
    journal = small_sweep(tmp_path / "s", f"sqlite:///{store}")
    commit(journal, 0)
    with Projection(tmp_path / "s", on_warning=warnings.append) as projection:
        eventually(lambda: store.exists() and counts(store)["metrics"] == 1, 60)
        lock = sqlite3.connect(store, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        took_s = [commit(journal, turn) for turn in range(1, 21)]
        eventually(lambda: bool(warnings), 30)
        lock.execute("ROLLBACK")
        lock.close()
        journal.end("killed")
    assert max(took_s) < 1.0
    assert "locked" in warnings[0]
    assert projection.problem is None
    assert got(store) == wanted(tmp_path / "s")


@pytest.mark.slow
def test_two_sweeps_that_begin_on_one_new_store_at_once_both_arrive(tmp_path: Path):
    store = tmp_path / "new" / "mlflow.db"
    folders = [ended_sweep(tmp_path / f"s{number}", f"sqlite:///{store}") for number in range(2)]
    running = [subprocess.Popen([sys.executable, "-c", SYNC, str(folder)], cwd=tmp_path) for folder in folders]
    assert [process.wait(120) for process in running] == [0, 0]
    assert counts(store)["metrics"] == 2 * (104 + 2 * OF_MODEL)
    assert ask(store, "SELECT count(*) FROM experiments WHERE name = 'tiny trials'") == [(1,)]


def test_a_sweep_may_lie_in_a_folder_of_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    name = 'it\'s "odd" 日本 #1 %41 50% a?b=c&d;[x]*:@\n'
    project = tmp_path / name
    project.mkdir()
    monkeypatch.chdir(project)
    folder = ended_sweep(project / "s", "sqlite:///mlflow.db")
    sync(folder, None, print)
    assert got(project / "mlflow.db") == wanted(folder)
    assert len([file for file in (project / "mlartifacts").rglob("*") if file.is_file()]) == 12
    assert {path.name for path in tmp_path.iterdir()} == {name}


def test_long_and_odd_names_and_values_arrive(tmp_path: Path):
    store, folder = tmp_path / "mlflow.db", tmp_path / "s"
    folder.mkdir()
    long = replace(trial(0), params={"x" * 400: "y" * 10_000, "é 'q\" \n\0": "\ud7ff\n\0%"}, model_params=())
    named = replace(sweep(f"sqlite:///{store}"), mlflow_experiment="é 'x' % # / " + "n" * 488)
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(named, (long,))
        begin(journal, 0)
        names = (
            "m" * 400,
            "é/%\n",
            "a" * 399,
            "AR@100",
            "AR#100",
            "精度",
            "損失",
            "auc/",
            "prec//rec",
            "Acc",
            "acc",
            "..",
            "",
        )
        odd = replace(report(0, 0, of=facts()), running=dict(zip(names, map(float, range(13)), strict=True)))
        journal.commit({"000": odd}, {"000": Verdict(kind="fail", reason="r" * 20_000)}, {})
        journal.end("complete")
    sync(folder, None, print)
    found = dict(ask(store, f"SELECT key, value FROM metrics WHERE {OF_TRIALS}"))
    assert sorted(found.values()) == list(map(float, range(13)))
    kept = {"round/精度": 5.0, "round/損失": 6.0, "round/Acc": 9.0, "round/acc": 10.0}
    assert {key: found[key] for key in kept} == kept
    assert ask(store, "SELECT max(length(value)) FROM params") == [(6000,)]
    assert ask(store, "SELECT count(*) FROM experiments WHERE length(name) = 256") == [(1,)]


def test_a_store_whose_making_was_killed_is_made_anew(tmp_path: Path):
    store, folder = tmp_path / "mlflow.db", ended_sweep(tmp_path / "s", f"sqlite:///{tmp_path}/mlflow.db")
    with subprocess.Popen([sys.executable, "-c", SYNC, str(folder)]) as process:
        eventually(lambda: any(file.stat().st_size for file in tmp_path.glob("*.unfinished")), 60)
        process.kill()
    assert not store.exists()
    sync(folder, None, print)
    assert counts(store)["metrics"] == 104 + 2 * OF_MODEL
    assert {path.name for path in tmp_path.iterdir()} <= {
        "s",
        "mlflow.db",
        "mlflow.db-wal",
        "mlflow.db-shm",
        "mlartifacts",
    }


def test_a_model_whose_file_is_gone_is_reported_and_holds_up_no_other_trial(tmp_path: Path):
    store, folder, warnings = tmp_path / "mlflow.db", tmp_path / "s", []
    with small_journal_of_three(folder, f"sqlite:///{store}") as journal:
        journal.end("complete")
    gone = [folder / "models" / name for name in ("000.weights.npz", "001.keras")]
    for file in gone:
        file.rename(file.with_suffix(".away"))
    with pytest.raises(TrackingError, match="lacks 0 metric values and the end of 2 runs"):
        sync(folder, None, warnings.append)
    assert len(warnings) == 2
    for number, (text, file) in enumerate(zip(warnings, gone, strict=True)):
        assert text.startswith(f"MLflow does not take trial 00{number}: the model's file {file} is missing; ")
    assert ask(store, "SELECT status FROM runs ORDER BY start_time, status")[0] == ("FINISHED",)
    for file in gone:
        file.with_suffix(".away").rename(file)
    sync(folder, None, pytest.fail)
    assert ask(store, "SELECT DISTINCT status FROM runs") == [("FINISHED",)]


def test_a_model_that_is_let_go_while_mlflow_follows_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store, folder, due = tmp_path / "mlflow.db", tmp_path / "s", Ledger.due
    with small_journal_of_three(folder, f"sqlite:///{store}") as journal:
        journal.end("complete")

        def due_then_let_go(self: Ledger) -> tuple[Due, ...]:
            found = due(self)
            journal.drop_models(["000", "001", "002"])
            return found

        monkeypatch.setattr(Ledger, "due", due_then_let_go)
        sync(folder, None, pytest.fail)
    assert ask(store, "SELECT DISTINCT status FROM runs") == [("FINISHED",)]
    assert not list((tmp_path / "mlartifacts").rglob("model"))

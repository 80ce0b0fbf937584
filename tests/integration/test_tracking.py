"""MLflow follows the journal: real MLflow on sqlite, a real Keras model, a journal written by hand."""

from __future__ import annotations

import io
import itertools
import json
import math
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from small_journal import OF_TRIALS, ROUNDS, ask, begin, counts, eventually, facts, report, small_sweep, sweep, trial

from runner.journal import FILE, REPORT, JournalReader, SqliteJournal, connect
from runner.records import Allocation, Export, Failure, Verdict
from runner.tracking import Projection, artifact_files, follower, sync
from runner.tracking.errors import StoreUnavailableError
from runner.tracking.mlflow_sink import MlflowSink


@pytest.fixture(scope="module")
def model_bytes(tmp_path_factory: pytest.TempPathFactory, tensorflow: object) -> bytes:
    import keras

    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="out")])
    model.compile("adam", "mse")
    model.train_on_batch(np.ones((4, 3)), np.ones((4, 2)))
    file = tmp_path_factory.mktemp("model") / "tiny.keras"
    model.save(file)
    return file.read_bytes()


def weights_bytes() -> bytes:
    file = io.BytesIO()
    np.savez(file, np.ones(3))
    return file.getvalue()


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, model_bytes: bytes) -> Path:
    """A whole sweep: complete, stopped (its own classes), failed, complete (Keras cannot load it), never started."""
    root = tmp_path_factory.mktemp("odd path #1 50%")
    folder = root / "tiny-1"
    folder.mkdir()
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(sweep(f"sqlite:///{root}/mlflow.db"), tuple(trial(n, units=4 + n) for n in range(5)))
        begin(journal, 0, 1, 2, 3)
        for turn in range(ROUNDS):
            value = {10: math.nan, 11: math.inf, 12: -math.inf}.get(turn, turn / ROUNDS)
            journal.commit({"000": report(0, turn, value, of=None if turn else facts())}, {}, {})
        with Projection(folder) as projection:
            journal.commit(
                {
                    "000": report(0, ROUNDS, 0.75, epoch=1),
                    "001": report(1, 0, 0.875, epoch=1, of=facts(loadable=False, inexact="tf.random is stateful")),
                    "002": Failure(trial_id="002", kind="train", message="out of memory", traceback="Traceback: oom"),
                    "003": report(3, 0, math.nan, epoch=1, of=facts()),
                },
                {
                    "000": Verdict(kind="complete"),
                    "001": Verdict(kind="stop", reason="no gain"),
                    "002": Verdict(kind="fail"),
                    "003": Verdict(kind="complete"),
                },
                {
                    "000": Export(trial_id="000", model=model_bytes, weights=weights_bytes()),
                    "001": Export(trial_id="001", model=b"", weights=weights_bytes()),
                    "003": Export(trial_id="003", model=b"", weights=weights_bytes()),
                },
            )
            projection.notify()
            (folder / REPORT).write_text("<html>", encoding="utf-8")
            journal.end("complete")
        assert projection.problem is None
    return folder


@pytest.fixture(scope="module")
def client(swept: Path):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{swept.parent}/mlflow.db")


@pytest.fixture
def runs(swept: Path, client) -> dict:
    """By trial id; the sweep's own by its name."""
    experiment = client.get_experiment_by_name("tiny trials")
    found = client.search_runs([experiment.experiment_id])
    return {run.data.tags.get("trial.id", run.info.run_name): run for run in found}


def artifacts(client, run, path: str | None = None) -> set[str]:
    found = set()
    for file in client.list_artifacts(run.info.run_id, path):
        found |= artifacts(client, run, file.path) if file.is_dir else {file.path}
    return found


def test_a_store_that_is_copied_as_one_file_has_everything(swept: Path, tmp_path: Path):
    copy = tmp_path / "copy.db"
    shutil.copy(swept.parent / "mlflow.db", copy)
    assert ask(copy, "SELECT status FROM runs ORDER BY status") == [("FAILED",), *[("FINISHED",)] * 4]


def test_a_new_store_is_not_spoilt_by_the_log_of_one_that_was_removed(swept: Path, tmp_path: Path):
    from runner.tracking.sqlite_store import private_store

    file = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(file)) as old:
        old.execute("PRAGMA journal_mode = WAL")
        old.execute("CREATE TABLE experiments (x)")
        old.commit()
        log = (tmp_path / "mlflow.db-wal").read_bytes()
    file.unlink()
    (tmp_path / "mlflow.db-wal").write_bytes(log)
    with private_store(file):
        assert ask(file, "PRAGMA integrity_check") == [("ok",)]
        assert ask(file, "SELECT name FROM experiments") == [("Default",)]


def test_of_a_trial_that_has_ended_everything_is_logged_in_one_call(swept: Path, tmp_path: Path, monkeypatch):
    from runner.tracking.client import StrictClient

    log_batch, called = StrictClient.log_batch, Counter[str]()

    def counted(client: StrictClient, run_id: str, *values: object, **named: object) -> None:
        called[run_id] += 1
        log_batch(client, run_id, *values, **named)

    monkeypatch.setattr(StrictClient, "log_batch", counted)
    sync(swept, f"sqlite:///{tmp_path}/again.db", print)
    trials = dict(ask(tmp_path / "again.db", "SELECT value, run_uuid FROM tags WHERE key = 'trial.id'"))
    assert {trial_id: called[run] for trial_id, run in trials.items()} == {"000": 2, "001": 1, "002": 1, "003": 1}
    query = (
        "SELECT metrics.key, step, metrics.value, is_nan FROM metrics JOIN tags USING (run_uuid) "
        "WHERE tags.key = 'trial.id'"
    )
    both = [ask(store, query) for store in (tmp_path / "again.db", swept.parent / "mlflow.db")]
    assert sorted(both[0]) == sorted(both[1]) != []
    (model,) = ask(tmp_path / "again.db", "SELECT metric_name, metric_value FROM logged_model_metrics")
    assert model == ("val_accuracy", 0.75)


def test_every_trial_that_began_has_a_run_under_the_sweeps(runs: dict, swept: Path):
    assert set(runs) == {"tiny-1", "000", "001", "002", "003"}
    parent = runs["tiny-1"].info.run_id
    assert {runs[key].data.tags["mlflow.parentRunId"] for key in ("000", "001", "002", "003")} == {parent}
    with JournalReader(swept) as reader:
        assert reader.sweep().run_id == parent
        assert reader.trial("000").run_id == runs["000"].info.run_id
        assert reader.trial("004").run_id is None


def test_a_runs_name_and_description_tell_what_it_is(runs: dict):
    names = {key: run.info.run_name for key, run in runs.items()}
    assert names["000"] == "000 val_acc 0.75 units=4"
    assert names["002"] == "002 units=6", "it has no score"
    assert "results tiny-1" in runs["tiny-1"].data.tags["mlflow.note.content"]
    assert (
        f"mlflow.keras.load_model('{runs['000'].data.tags['model.uri']}')"
        in runs["000"].data.tags["mlflow.note.content"]
    )


def test_the_models_metrics_are_those_of_its_epoch(runs: dict, client):
    model = client.get_logged_model(runs["000"].data.tags["model.uri"].removeprefix("models:/"))
    found = {metric.key: metric.value for metric in model.metrics or []}
    assert found["val_accuracy"] == runs["000"].data.metrics["val_accuracy"]
    assert not any(key.startswith("round/") for key in found)


def test_each_child_has_its_score_and_the_epoch_of_its_model(runs: dict, client):
    found = {key: {name: run.data.metrics.get(name) for name in ("score", "best_epoch")} for key, run in runs.items()}
    assert found["000"] == {"score": 0.75, "best_epoch": 1.0}
    assert found["001"] == {"score": 0.875, "best_epoch": 1.0}
    assert found["003"] == {"score": None, "best_epoch": 1.0}  # its metric is not a number
    assert found["002"] == found["tiny-1"] == {"score": None, "best_epoch": None}


def test_statuses_and_times_are_the_journals(runs: dict, swept: Path):
    statuses = {key: run.info.status for key, run in runs.items()}
    assert statuses == {"tiny-1": "FINISHED", "000": "FINISHED", "001": "FINISHED", "002": "FAILED", "003": "FINISHED"}
    with JournalReader(swept) as reader:
        assert runs["tiny-1"].info.end_time == reader.sweep().ended_ms
        assert runs["000"].info.start_time == reader.trial("000").started_ms
        assert runs["000"].info.end_time == reader.trial("000").ended_ms


def test_the_sweeps_run_tells_how_it_stood_at_each_barrier(runs: dict, client, swept: Path):
    run = runs["tiny-1"]
    with JournalReader(swept) as reader:
        barriers = [barrier.number for barrier in reader.barriers()]
    running = {one.step: one.value for one in client.get_metric_history(run.info.run_id, "trials/running")}
    assert running.keys() <= set(barriers), "once a second if nothing changes"
    assert set(list(running.values())[:-1]) == {4.0}
    assert running[barriers[-1]] == 0.0
    last = {key.partition("/")[2]: value for key, value in run.data.metrics.items() if key.startswith("trials/")}
    assert last == {"queued": 1, "running": 0, "complete": 2, "stopped": 1, "diverged": 0, "failed": 1}
    assert run.data.metrics["best/score"] == 0.875


def test_a_runs_inputs_are_the_data_it_was_trained_on(runs: dict):
    found = {one.tags[0].value: one.dataset for one in runs["000"].inputs.dataset_inputs}
    assert {context: (one.name, one.digest, one.source_type) for context, one in found.items()} == {
        "training": ("tiny.train", "d1", "code"),
        "validation": ("tiny.validation", "d2", "code"),
    }
    features = json.loads(json.loads(found["training"].schema)["mlflow_tensorspec"]["features"])
    assert features[0]["tensor-spec"] == {"dtype": "float32", "shape": [-1, 3]}
    assert json.loads(found["training"].profile)["features_shape"] == [64, 3]


def test_every_metric_row_is_there_once_with_its_value(runs: dict, client, swept: Path):
    with JournalReader(swept) as reader:
        for key in ("000", "001", "003"):
            rows = reader.metrics(key)
            if key != "000":  # whose one turn was a whole epoch: its running metrics are those of the epoch
                rows = tuple(row for row in rows if not row.key.startswith("round/"))
            wanted = sorted((row.key, row.step, row.timestamp_ms) for row in rows)
            run_id = runs[key].info.run_id
            names = runs[key].data.metrics.keys() - {"score", "best_epoch"}
            got = [m for name in names for m in client.get_metric_history(run_id, name)]
            assert sorted((m.key, m.step, m.timestamp) for m in got) == wanted
    by_step = {m.step: m.value for m in client.get_metric_history(runs["000"].info.run_id, "round/loss")}
    assert len(by_step) == ROUNDS + 1
    assert math.isnan(by_step[11])
    assert (by_step[12], by_step[13]) == (sys.float_info.max, -sys.float_info.max)  # MLflow's infinity
    assert by_step[101] == 100 / ROUNDS


def test_tags_say_what_each_run_is(runs: dict):
    first, second, failed, parent = (runs[key].data.tags for key in ("000", "001", "002", "tiny-1"))
    assert (first["trial.id"], first["member"], first["share.slot"]) == ("000", "tiny", "0")
    assert (first["share.num_cpus"], first["share.threads"]) == ("1", "1")
    assert (first["program"], first["exact"]) == ("round", "true")
    assert (second["exact"], second["exact.reason"], second["stop.reason"]) == (
        "false",
        "tf.random is stateful",
        "no gain",
    )
    assert failed["failure"] == "train: out of memory"
    shared = ("sweep.id", "sweep.name", "mlflow.source.name", "mlflow.user")
    assert {key: parent[key] for key in shared} == {key: first[key] for key in shared}
    assert (parent["sweep.goal"], first["mlflow.source.name"]) == ("maximize", "experiments/tiny.py")
    assert parent["version.keras"] == "3.1"
    assert not [key for key in first if key.startswith("version.")], "they would crowd the trials' own"


def test_params_are_the_settings_and_the_sweeps_are_on_every_trial(runs: dict):
    parent, first = runs["tiny-1"].data.params, runs["000"].data.params
    assert (parent["sweep.metric"], parent["sweep.trials"], parent["train.epochs"]) == ("val_accuracy", "5", "2")
    assert "units" not in parent
    assert parent.items() <= first.items()
    assert (first["units"], first["seed"], first["train.batch_size"]) == ("4", "0", "32")
    assert len(first["text"]) == 6000
    assert first["text"].endswith("[cut from 7000 characters]")


def test_the_sweeps_run_names_the_best_trial(runs: dict):
    parent = runs["tiny-1"].data
    assert (parent.tags["best.trial"], parent.tags["best.run_id"]) == ("001", runs["001"].info.run_id)
    assert parent.tags["best.value"] == "0.875"


def test_artifacts_hold_config_code_summary_and_traceback(runs: dict, client, swept: Path):
    assert artifacts(client, runs["tiny-1"]) == {"config.yaml", "command.txt", REPORT}
    common = {"trial.json", "source/tiny.py"}
    assert artifacts(client, runs["000"]) == {*common, "model_summary.txt", "model/model.keras"}
    unloadable = {*common, "model_summary.txt", "model/weights.npz", "model/rebuild.txt"}
    assert artifacts(client, runs["001"]) == artifacts(client, runs["003"]) == unloadable
    assert artifacts(client, runs["002"]) == {*common, "traceback.txt"}
    assert (swept.parent / "mlartifacts").is_dir()


def test_a_model_is_on_the_disk_once_however_many_names_it_has(runs: dict, client, swept: Path):
    with JournalReader(swept) as reader:
        own, weights = reader.trial("000").model, reader.trial("001").weights
    model = client.get_logged_model(runs["000"].data.tags["model.uri"].removeprefix("models:/"))
    store = swept.parent / "mlartifacts"
    names = [swept / own, *store.rglob("model.keras")]
    assert len(names) == 3
    assert any(model.model_id in str(name) for name in names)
    assert len({name.stat().st_ino for name in names}) == 1
    (sent,) = store.rglob(f"{runs['001'].info.run_id}/artifacts/model/weights.npz")
    assert sent.stat().st_ino == (swept / weights).stat().st_ino
    assert not [name for name in store.rglob("*") if name.name.startswith(".linking")]


def test_another_name_takes_the_place_of_a_file_and_leaves_what_it_was(tmp_path: Path):
    first, second, target = tmp_path / "first", tmp_path / "second", tmp_path / "store" / "model.keras"
    first.write_text("1")
    second.write_text("2")
    assert artifact_files.link(first, target)
    assert artifact_files.link(first, target), "may be repeated"
    assert artifact_files.link(second, target)
    assert (first.read_text(), target.read_text()) == ("1", "2")
    assert sorted(path.name for path in target.parent.iterdir()) == ["model.keras"]


def test_the_logged_model_loads_with_mlflow_and_the_plain_file_with_keras(runs: dict, client, tmp_path: Path):
    import keras
    import mlflow

    mlflow.set_tracking_uri(client.tracking_uri)
    run = runs["000"]
    (output,) = run.outputs.model_outputs
    assert run.data.tags["model.uri"] == f"models:/{output.model_id}"
    plain = keras.models.load_model(client.download_artifacts(run.info.run_id, "model/model.keras", str(tmp_path)))
    logged = mlflow.keras.load_model(run.data.tags["model.uri"])
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(plain.predict(x, verbose=0), logged.predict(x, verbose=0))
    for one, other in zip(plain.optimizer.variables, logged.optimizer.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    served = mlflow.pyfunc.load_model(run.data.tags["model.uri"])
    assert served.metadata.signature.inputs.inputs[0].shape == (-1, 3)
    assert served.predict(x).shape == (2, 2)
    example = served.metadata.load_input_example(run.data.tags["model.uri"])
    assert served.predict(example.astype("float32")).shape == (1, 2)


def test_the_models_folder_is_what_mlflow_itself_would_write(
    runs: dict, client, tmp_path: Path, model_bytes: bytes, swept: Path
):
    import keras
    import mlflow
    import yaml
    from mlflow.models import Model, ModelSignature
    from mlflow.types.schema import Schema, TensorSpec

    file, theirs = tmp_path / "tiny.keras", tmp_path / "theirs"
    file.write_bytes(model_bytes)
    specs = [Schema([TensorSpec(np.dtype("float32"), (-1, size))]) for size in (3, 2)]
    mlflow.keras.save_model(
        keras.models.load_model(file), str(theirs), mlflow_model=Model(run_id=runs["000"].info.run_id),
        signature=ModelSignature(*specs), pip_requirements=["mlflow==3.17", "keras==3.1"],
    )  # fmt: skip
    mlflow.set_tracking_uri(client.tracking_uri)
    uri, ours = runs["000"].data.tags["model.uri"], tmp_path / "ours"
    mlflow.artifacts.download_artifacts(uri, dst_path=str(ours))
    (ours / "registered_model_meta").unlink(missing_ok=True)  # of the download
    for name, content in (("", [[0.0, 0.0, 0.0]]), ("serving_", {"inputs": [[0.0, 0.0, 0.0]]})):
        assert json.loads((ours / f"{name}input_example.json").read_text()) == content
        (ours / f"{name}input_example.json").unlink()  # `save_model` makes none without data
    names = {path.relative_to(theirs) for path in theirs.rglob("*")}
    assert {path.relative_to(ours) for path in ours.rglob("*")} == names
    for name in names - {Path("MLmodel"), Path("data"), Path("data/model.keras")}:
        assert yaml.safe_load((ours / name).read_text()) == yaml.safe_load((theirs / name).read_text()), name
    own = {"model_size_bytes", "model_uuid", "utc_time_created", "model_id", "artifact_path"}
    own |= {"saved_input_example_info"}
    described = [yaml.safe_load((folder / "MLmodel").read_text()) for folder in (ours, theirs)]
    described[1]["flavors"]["keras"]["keras_version"] = "3.1"
    left, right = ({key: value for key, value in one.items() if key not in own} for one in described)
    assert left == right


def test_a_model_that_cannot_be_loaded_says_why_and_how_to_rebuild_it(runs: dict, client, tmp_path: Path):
    assert runs["003"].outputs.model_outputs == runs["001"].outputs.model_outputs == []
    assert "only its source defines" in runs["001"].data.tags["model.reason"]
    assert "Keras cannot load the file" in runs["003"].data.tags["model.reason"]
    note = Path(client.download_artifacts(runs["001"].info.run_id, "model/rebuild.txt", str(tmp_path))).read_text()
    assert "build_model(**{'units': 5})" in note
    assert "python -m runner sweep experiments/tiny.py" in note


LOST = {
    "acknowledgements": ["UPDATE projection SET metric_seq = 0, facts = 0, status = NULL, model = 0"],
    "the ids of two runs": [
        "UPDATE projection SET metric_seq = 0, facts = 0, status = NULL, model = 0",
        "DELETE FROM projection WHERE trial IN ('', '001')",
    ],
    "all": ["DELETE FROM projection"],
}


@pytest.mark.parametrize("lost", LOST)
def test_sending_again_adds_nothing_whatever_was_lost_of_the_account(swept: Path, lost: str):
    folder, store = swept, swept.parent / "mlflow.db"
    before = counts(store)
    journal = connect(folder / FILE)
    for statement in LOST[lost]:
        journal.execute(statement)
    journal.close()
    with Projection(folder) as projection:
        pass
    assert projection.problem is None
    assert counts(store) == before


def test_a_committed_metric_is_visible_within_five_seconds_and_a_locked_store_recovers(tmp_path: Path):
    store, warnings = tmp_path / "mlflow.db", []
    values = f"SELECT count(*) FROM metrics WHERE {OF_TRIALS}"
    with Projection(tmp_path / "s", on_warning=warnings.append) as projection:
        journal = small_sweep(tmp_path / "s", f"sqlite:///{store}")
        journal.commit({"000": report(0, 0, of=facts())}, {}, {})
        eventually(
            lambda: bool(store.exists() and ask(store, "SELECT 1 FROM sqlite_master WHERE name = 'metrics'")), 30
        )
        eventually(lambda: bool(warnings) or ask(store, values)[0][0] == 1, 90)
        assert warnings == []
        assert ask(store, "PRAGMA journal_mode") == [("wal",)]

        journal.commit({"000": report(0, 1)}, {}, {})
        projection.notify()
        eventually(lambda: ask(store, values)[0][0] == 2, 5)

        lock = sqlite3.connect(store, isolation_level=None)
        lock.execute("BEGIN EXCLUSIVE")
        journal.commit({"000": report(0, 2)}, {}, {})
        projection.notify()
        time.sleep(3)
        assert ask(store, values)[0][0] == 2
        lock.execute("ROLLBACK")
        lock.close()
        eventually(lambda: ask(store, values)[0][0] == 3, 10)
        journal.end("killed")
    assert (projection.problem, warnings) == (None, [])
    assert ask(store, "SELECT status FROM runs") == [("KILLED",), ("KILLED",)]


def test_a_store_that_is_down_is_told_once_and_leaves_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    warnings: list[str] = []
    journal = small_sweep(tmp_path, "http://user:secret@127.0.0.1:9")
    journal.commit({"000": report(0, 0, of=facts())}, {}, {})
    with Projection(tmp_path, timeout_s=1.0, on_warning=warnings.append) as projection:
        time.sleep(2)
        journal.end("complete")
    (warning,) = warnings
    assert "MLflow at http://127.0.0.1:9 does not answer" in warning
    assert projection.problem is not None
    assert "lacks 1 metric values and the end of 2 runs" in projection.problem
    assert "secret" not in projection.problem + warning


class Died(BaseException):
    """As a process that is killed: nobody catches it."""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_death_at_any_call_loses_and_doubles_nothing(swept: Path, tmp_path: Path, monkeypatch, moment: str):
    """Each attempt dies one call later than the one before, and is followed by another one."""
    store, left = f"sqlite:///{tmp_path}/again.db", [0]

    def mortal(call):
        def calls(*values: object, **named: object) -> object:
            left[0] -= 1
            if left[0] == 0 and moment == "before":
                raise Died
            answer = call(*values, **named)
            if left[0] == 0:
                raise Died
            return answer

        return calls

    for name in ("create_run", "log", "log_texts", "log_file", "log_model", "log_inputs", "end_run"):
        monkeypatch.setattr(MlflowSink, name, mortal(getattr(MlflowSink, name)))
    for attempt in itertools.count(1):
        left[0] = attempt
        try:
            sync(swept, store, pytest.fail)
            break
        except Died:
            continue
    assert attempt > 5
    expected = counts(swept.parent / "mlflow.db")
    query = "SELECT tags.key FROM tags ORDER BY 1"
    assert ask(tmp_path / "again.db", query) == ask(swept.parent / "mlflow.db", query)
    assert counts(tmp_path / "again.db") == expected
    query = "SELECT metrics.key, step, metrics.value FROM metrics ORDER BY 1, 2, 3"
    assert ask(tmp_path / "again.db", query) == ask(swept.parent / "mlflow.db", query)
    query = "SELECT metric_name, metric_value FROM logged_model_metrics"
    assert ask(tmp_path / "again.db", query) == ask(swept.parent / "mlflow.db", query)


def unavailable(*_: object, **__: object) -> None:
    raise StoreUnavailableError("down")


def wait_for(projection: Projection) -> None:
    """Until its thread has ended: two that make a store at the same time disturb each other in MLflow."""
    assert projection._thread is not None
    projection._thread.join(60.0)


def test_the_end_gives_up_where_a_store_takes_no_ends_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(MlflowSink, "end_run", unavailable)
    journal = small_sweep(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    journal.commit({"000": report(0, 0, of=facts())}, {}, {})
    began = time.monotonic()
    with Projection(tmp_path, timeout_s=3.0, on_warning=lambda _: None) as projection:
        journal.end("killed")
    took_s = time.monotonic() - began
    wait_for(projection)
    assert took_s < 30.0, "passes that bring nothing put the end off"
    assert "the end of 2 runs" in str(projection.problem)


@pytest.mark.slow
def test_metrics_of_short_trials_do_not_wait_for_a_store_of_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MlflowSink, "log_file", unavailable)
    journal = SqliteJournal(tmp_path, {0: Allocation(num_cpus=1)})
    journal.__enter__()
    journal.create(sweep(f"sqlite:///{tmp_path}/mlflow.db"), (trial(0), trial(1)))
    begin(journal, 0, 1)
    journal.commit(
        {f"00{n}": report(n, 0, epoch=1, of=facts(loadable=False)) for n in (0, 1)},
        {f"00{n}": Verdict(kind="complete") for n in (0, 1)},
        {f"00{n}": Export(trial_id=f"00{n}", model=b"", weights=weights_bytes()) for n in (0, 1)},
    )
    with Projection(tmp_path, timeout_s=15.0, on_warning=lambda _: None) as projection:
        journal.end("complete")
    wait_for(projection)
    assert "lacks 0 metric values and the end of 3 runs" in str(projection.problem)
    assert len(ask(tmp_path / "mlflow.db", f"SELECT DISTINCT run_uuid FROM metrics WHERE {OF_TRIALS}")) == 2


def test_a_run_deleted_by_hand_does_not_hold_up_its_siblings(tmp_path: Path):
    from mlflow import MlflowClient

    store, warnings = f"sqlite:///{tmp_path}/mlflow.db", []
    journal = SqliteJournal(tmp_path, {0: Allocation(num_cpus=1)})
    with journal, Projection(tmp_path, on_warning=warnings.append) as projection:
        journal.create(sweep(store), (trial(0), trial(1)))
        begin(journal, 0, 1)

        def deletable() -> bool:
            with JournalReader(tmp_path) as reader:
                return all(t.run_id for t in reader.trials())

        eventually(deletable, 30)
        with JournalReader(tmp_path) as reader:
            first, second = (str(t.run_id) for t in reader.trials())
        MlflowClient(store).delete_run(first)
        journal.commit({"000": report(0, 0), "001": report(1, 0)}, {}, {})
        journal.end("killed")
    assert projection.problem is not None
    assert "lacks 1 metric values and the end of 1 runs" in projection.problem
    (warning,) = warnings
    assert warning.startswith("MLflow does not take trial 000: its run was deleted; restore it with: ")
    assert f"MLFLOW_TRACKING_URI={store} mlflow runs restore --run-id {first}" in warning
    assert MlflowClient(store).get_run(second).info.status == "KILLED"
    MlflowClient(store).restore_run(first)
    sync(tmp_path, None, pytest.fail)
    assert MlflowClient(store).get_run(first).info.status == "KILLED"
    assert counts(tmp_path / "mlflow.db")["metrics"] == 2


@pytest.mark.parametrize("diverges", [True, False], ids=["diverges", "ends without a finite metric"])
def test_a_trial_that_goes_on_without_a_score_has_none_any_more(tmp_path: Path, diverges: bool):
    from mlflow import MlflowClient

    store = f"sqlite:///{tmp_path}/mlflow.db"
    journal, export = small_sweep(tmp_path, store), Export(trial_id="000", model=b"", weights=weights_bytes())
    with Projection(tmp_path):
        journal.commit({"000": report(0, 0, epoch=1, of=facts())}, {"000": Verdict(kind="complete")}, {"000": export})
        journal.end("complete")
    with JournalReader(tmp_path) as reader:
        run_id = str(reader.trial("000").run_id)
    assert MlflowClient(store).get_run(run_id).data.metrics["score"] == 0.5
    verdict, exports = Verdict(kind="complete"), {"000": export}
    if diverges:
        verdict, exports = Verdict(kind="stop", reason="diverged: loss is nan after step 2", keeps_model=False), {}
    journal.reopen({"000": (trial(0), 1)})
    with Projection(tmp_path):
        begin(journal, 0)
        journal.commit({"000": report(0, 1, math.nan, epoch=2)}, {"000": verdict}, exports)
        journal.end("complete")
    assert math.isnan(MlflowClient(store).get_run(run_id).data.metrics["score"])


def test_a_deleted_run_of_the_sweeps_own_holds_up_no_trial(tmp_path: Path):
    from mlflow import MlflowClient

    store, warnings = f"sqlite:///{tmp_path}/mlflow.db", []
    journal = small_sweep(tmp_path, store)
    with Projection(tmp_path):
        journal.end("killed")
    with JournalReader(tmp_path) as reader:
        run_id, before = str(reader.sweep().run_id), reader.trials()
    MlflowClient(store).delete_run(run_id)
    journal.reopen({"000": (trial(0), 0)})
    with Projection(tmp_path, on_warning=warnings.append) as projection:
        begin(journal, 0)
        journal.commit({"000": report(0, 0, of=facts())}, {}, {})
        journal.end("killed")
    (warning,) = warnings
    assert warning.startswith("MLflow does not take the sweep's own run: its run was deleted; restore it with: ")
    assert f"mlflow runs restore --run-id {run_id}" in warning
    assert "lacks 0 metric values and the end of 1 runs" in str(projection.problem)
    client = MlflowClient(store)
    assert client.get_run(str(before[0].run_id)).data.metrics == {"round/loss": 0.5}
    client.restore_run(run_id)
    sync(tmp_path, None, pytest.fail)
    assert client.get_run(run_id).info.status == "KILLED"


def test_a_deleted_experiment_is_told_once_with_what_restores_it_and_costs_no_time(tmp_path: Path):
    from mlflow import MlflowClient

    uri, warnings = f"sqlite:///{tmp_path}/mlflow.db", []
    store = MlflowSink(uri, "tiny trials")
    store.open()
    client = MlflowClient(uri)
    client.delete_experiment("1")
    journal = small_sweep(tmp_path / "s", uri)
    journal.commit({"000": report(0, 0, of=facts())}, {}, {})
    with Projection(tmp_path / "s", on_warning=warnings.append) as projection:
        eventually(lambda: bool(warnings), 30)
        journal.end("killed")
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 30
    (warning,) = warnings
    command = f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id 1"
    assert "training goes on" in warning
    for text in (warning, str(projection.problem)):
        assert f"the MLflow experiment 'tiny trials' was deleted; restore it with: {command}" in text
    client.restore_experiment("1")
    sync(tmp_path / "s", None, pytest.fail)
    assert counts(tmp_path / "mlflow.db")["metrics"] == 1


def test_an_unexpected_error_in_the_thread_is_raised_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(self: object) -> bool:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(follower.Follower, "advance", fail)
    journal = small_sweep(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    warnings: list[str] = []
    projection = Projection(tmp_path, on_warning=warnings.append)
    with pytest.raises(ZeroDivisionError), projection:
        journal.end("killed")
    assert "no longer followed" in warnings[0]
    assert "ZeroDivisionError" in str(projection.problem)
    assert str(projection.problem).endswith("send them with: python -m runner sync tiny-1")


def test_a_folder_without_a_sweep_ends_without_a_problem(tmp_path: Path):
    with Projection(tmp_path) as projection:
        pass
    assert projection.problem is None
    assert not [thread for thread in threading.enumerate() if thread.name == "mlflow-projection"]


def test_importing_tracking_imports_neither_mlflow_nor_tensorflow():
    code = "import sys, runner.tracking; print({'mlflow', 'tensorflow', 'keras', 'ray'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"


@pytest.mark.slow
def test_mlflow_prints_nothing_to_the_terminal(tmp_path: Path):
    small_sweep(tmp_path / "s", f"sqlite:///{tmp_path}/mlflow.db").end("complete")
    folder = str(tmp_path / "s")
    code = f"from runner.tracking import Projection; from pathlib import Path\nwith Projection(Path({folder!r})): pass"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_an_ended_trials_tags_tell_where_its_time_went(runs: dict, swept: Path):
    with JournalReader(swept) as reader:
        of_trial = [turn for turn in reader.turns() if turn.trial == "000"]
    tags = runs["000"].data.tags
    assert float(tags["time.compute_s"]) == pytest.approx(sum(turn.turn.compute_s for turn in of_trial), abs=1e-3)
    assert {f"time.{name}_s" for name in ("compute", "evaluate", "seat", "swap", "wait", "log")} <= set(tags)
    assert float(tags["time.wait_s"]) >= 0

"""What MLflow shows of sweeps beyond their journals' rows: tags, data, rates, registered models, repeated files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_journal import begin, facts, make_old, report, small_sweep, sweep, trial

import runner
from runner.journal import JournalReader, SqliteJournal, files_folder
from runner.records import Allocation, Export, Verdict
from runner.tracking import sync

pytestmark = pytest.mark.usefixtures("tensorflow", "tables")
EXPERIMENT = Path(__file__).parents[2] / "experiments" / "digits_mlp.py"
SETTINGS: dict[str, Any] = {
    "space": {"units": [8, 16]},
    "params": {"dropout": 0.0, "learning_rate": 0.01},
    "train": {"epochs": 2, "steps_per_epoch": 5, "compile": "graph"},
    "search": {"metric": "val_accuracy"},
    "fleet": {"kind": "local"},
    "tracking": {
        "uri": "sqlite:///m.db",
        "tags": {"team": "vision"},
        "register": "digits",
        "system_metrics_every_s": 0.1,
    },
    "name": "digits",
    "progress": "none",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[runner.Result]:
    """A sweep of two trials with tags and a registered model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("sweep"))
        yield runner.sweep(EXPERIMENT, root=Path.cwd() / "sweeps", **SETTINGS)


def runs(store: Path) -> dict[str, Any]:
    """A store's runs by trial; the sweep's own by an empty id."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{store}")
    found = client.search_runs([one.experiment_id for one in client.search_experiments()])
    return {run.data.tags.get("trial.id", ""): run for run in found}


def store_of(result: runner.Result) -> Path:
    return result.folder.parents[1] / "m.db"


def client_of(store: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{store}")


def test_a_trials_run_has_its_data_its_rate_and_its_models_example(ended: runner.Result) -> None:
    import mlflow

    found, client = runs(store_of(ended)), client_of(store_of(ended))
    inputs = {one.tags[0].value: one.dataset for one in found["000"].inputs.dataset_inputs}
    assert set(inputs) == {"training", "validation"}
    assert json.loads(inputs["training"].profile)["num_rows"] == 1437
    same = [one.dataset.digest for one in found["001"].inputs.dataset_inputs]
    assert sorted(same) == sorted(one.digest for one in inputs.values())
    assert len(set(same)) == 2
    rates = client.get_metric_history(found["000"].info.run_id, "optimizer/learning_rate")
    assert [(one.step, one.value) for one in rates] == [(1, pytest.approx(0.01)), (2, pytest.approx(0.01))]
    mlflow.set_tracking_uri(client.tracking_uri)
    model = mlflow.pyfunc.load_model(found["000"].data.tags["model.uri"])
    example = model.metadata.load_input_example(found["000"].data.tags["model.uri"])
    assert not np.any(example)
    assert model.predict(example.astype("float32")).shape == (1, 10)


def test_the_sweeps_run_says_what_won_and_how_to_repeat_it(ended: runner.Result) -> None:
    run = runs(store_of(ended))[""]
    note = run.data.tags["mlflow.note.content"]
    assert f"**Trial {ended.best.id}** is best" in note
    assert note.count("\n| ") == 4, "a header, a rule and two trials"
    assert f"python -m runner results {ended.id}" in note
    assert run.data.metrics["trials/complete"] == 2
    assert run.data.metrics["best/score"] == pytest.approx(ended.best.score)
    assert run.data.metrics["system/system_memory_usage_megabytes"] > 0
    view = client_of(store_of(ended)).get_experiment(run.info.experiment_id).tags[f"mlflow.sharedViewState.{ended.id}"]
    assert json.loads(view)["searchFilter"] == f"tags.`mlflow.parentRunId` = '{run.info.run_id}'"
    assert "params.`units`" in json.loads(view)["selectedColumns"]


def test_a_page_that_is_written_again_replaces_the_one_in_mlflow(ended: runner.Result) -> None:
    client, run = client_of(store_of(ended)), runs(store_of(ended))[""].info
    copy = Path(client.download_artifacts(run.run_id, "report.html"))
    copy.unlink()
    copy.write_text("an earlier page")
    page = ended.report().read_bytes()
    assert Path(client.download_artifacts(run.run_id, "report.html")).read_bytes() == page
    assert runs(store_of(ended))[""].info == run, "nothing else of the run is touched"


def test_tags_of_the_user_are_on_the_runs_of_this_and_of_another_store(ended: runner.Result, tmp_path: Path) -> None:
    assert {run.data.tags["team"] for run in runs(store_of(ended)).values()} == {"vision"}
    told = ended.tag({"deployed": "yes"}, trial="001")
    assert told == f"{ended.id} trial 001: deployed=yes: in MLflow at sqlite:///m.db"
    ended.tag({"team": "audio", "n": 1})
    ended.sync(f"sqlite:///{tmp_path}/other.db")
    for store in (store_of(ended), tmp_path / "other.db"):
        tags = {key: run.data.tags for key, run in runs(store).items()}
        assert {one["team"] for one in tags.values()} == {"audio"}
        assert {key: one.get("deployed") for key, one in tags.items()} == {"": None, "000": None, "001": "yes"}
    assert len(runs(tmp_path / "other.db")) == 3


def test_the_best_model_is_registered_once_and_the_alias_goes_to_the_next_winner(
    ended: runner.Result, tmp_path: Path
) -> None:
    import mlflow

    client = client_of(store_of(ended))
    first = client.get_model_version_by_alias("digits", "champion")
    assert first.run_id == runs(store_of(ended))[ended.best.id].info.run_id
    mlflow.set_tracking_uri(client.tracking_uri)
    loaded = mlflow.keras.load_model("models:/digits@champion")
    x = np.ones((2, 64), "float32")
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), ended.best.model().predict(x, verbose=0))
    with SqliteJournal(ended.folder, {}) as journal:  # as if the driver had died before it noted that
        journal._open.execute("UPDATE projection SET model = 0 WHERE trial = ''")
    ended.sync()
    assert len(client.search_model_versions("name = 'digits'")) == 1
    longer = runner.resume(ended, more_epochs=1, root=ended.folder.parent, progress="none")
    second = client.get_model_version_by_alias("digits", "champion")
    assert (second.version, len(client.search_model_versions("name = 'digits'"))) == (2, 2)
    assert second.run_id == runs(store_of(ended))[longer.best.id].info.run_id


def test_a_model_that_cannot_be_registered_is_a_warning_and_sync_tries_again(tmp_path: Path) -> None:
    from dataclasses import replace

    warnings: list[str] = []
    folder = tmp_path / "tiny-1"
    folder.mkdir()
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(replace(sweep(f"sqlite:///{tmp_path}/m.db"), register="tiny"), (trial(0),))
        begin(journal, 0)
        export = Export(trial_id="000", model=b"", weights=b"w")
        reports = {"000": report(0, 0, epoch=1, of=facts(loadable=False))}
        journal.commit(reports, {"000": Verdict(kind="complete")}, {"000": export})
        journal.end("complete")
    for _ in range(2):
        sync(folder, None, warnings.append)
    assert len(warnings) == 2
    assert "trial 000 was not registered as tiny@champion: it has no logged model" in warnings[0]
    assert runs(tmp_path / "m.db")[""].info.status == "FINISHED"


def test_files_that_a_repeated_trial_no_longer_writes_are_removed_from_its_run(tmp_path: Path) -> None:
    from dataclasses import replace

    from runner.tracking import follower

    store, export = tmp_path / "m.db", Export(trial_id="000", model=b"", weights=b"w")
    folder = tmp_path / "tiny-1"
    with small_sweep(folder, f"sqlite:///{store}") as journal:
        repeated = replace(trial(0), callback_params=())
        journal.reopen({"000": (repeated, 0)})

        def end(turn: int, *names: str) -> list[str]:
            written = files_folder(folder, "000")
            shutil.rmtree(written, ignore_errors=True)
            for name in names:
                (written / name).parent.mkdir(parents=True, exist_ok=True)
                (written / name).write_text(name)
            reports = {"000": report(0, turn, epoch=turn + 1, of=facts())}
            journal.commit(reports, {"000": Verdict(kind="complete")}, {"000": export})
            journal.end("complete")
            sync(folder, None, pytest.fail)
            client, run = client_of(store), runs(store)["000"].info.run_id
            listed = [*client.list_artifacts(run, "files"), *client.list_artifacts(run, "files/deep")]
            return sorted(one.path for one in listed if not one.is_dir)

        assert end(0, "a.txt", "deep/b.txt") == ["files/a.txt", "files/deep/b.txt"]
        journal.reopen({"000": (repeated, 1)})
        assert end(1, "a.txt") == ["files/a.txt"]
    assert follower.FILES == "files"


def test_a_resumed_trials_run_has_its_name_and_none_of_the_tags_of_its_end(tmp_path: Path) -> None:
    store, folder = tmp_path / "m.db", tmp_path / "tiny-1"
    with small_sweep(folder, f"sqlite:///{store}") as journal:
        journal.commit({"000": report(0, 0, epoch=1, of=facts())}, {}, {})
        journal.end("killed")
        sync(folder, None, pytest.fail)
        assert "stop.reason" in runs(store)["000"].data.tags
        journal.reopen({"000": (trial(0), 1)})
        sync(folder, None, pytest.fail)
        run = runs(store)["000"]
    assert (run.info.run_name, run.info.status) == ("000 units=4", "RUNNING")
    assert "stop.reason" not in run.data.tags
    assert runs(store)[""].info.run_name == "tiny-1"


def test_a_sweep_of_an_earlier_version_is_sent_and_goes_on(tmp_path: Path) -> None:

    store, folder = tmp_path / "m.db", tmp_path / "tiny-1"
    with small_sweep(folder, f"sqlite:///{store}") as journal:
        journal.commit({"000": report(0, 0, epoch=1, of=facts())}, {}, {})
        journal.end("killed")
    make_old(folder)
    sync(folder, None, pytest.fail)
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.reopen({"000": (trial(0), 1)})
        begin(journal, 0)
        export = Export(trial_id="000", model=b"", weights=b"w")
        journal.commit({"000": report(0, 1, 0.7, epoch=2)}, {"000": Verdict(kind="complete")}, {"000": export})
        journal.end("complete")
    sync(folder, None, pytest.fail)
    found = runs(store)
    assert {key: run.info.status for key, run in found.items()} == {"": "FINISHED", "000": "FINISHED"}
    assert found[""].data.metrics["best/score"] == 0.7
    assert found["000"].info.run_name == "000 val_acc 0.7 units=4"
    with JournalReader(folder) as reader:
        assert reader.page() is not None

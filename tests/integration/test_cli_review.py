"""What a sweep leaves behind: `list`, `results`, `best`, exported models, models in MLflow, and `plan` before it."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended, Folder, Record, Tracked, environment, make_folder, read_journal, run_python

EVALUATE = """
import importlib.util, json
import keras
spec = importlib.util.spec_from_file_location("digits_mlp", sys.argv[1])
experiment = importlib.util.module_from_spec(spec)
spec.loader.exec_module(experiment)
_, (x, y) = experiment.load_data()
def val_accuracy(model):
    return model.evaluate(x, y, batch_size=32, verbose=0, return_dict=True)["accuracy"]
"""
FROM_FILE = 'print(json.dumps(val_accuracy(keras.models.load_model(sys.argv[2] + "/model.keras"))))'
FROM_MLFLOW = """
import mlflow.keras
mlflow.set_tracking_uri(sys.argv[2])
print(json.dumps([val_accuracy(mlflow.keras.load_model(uri)) for uri in sys.argv[3:]]))
"""


@pytest.fixture(scope="module")
def record(demo: tuple[Folder, Ended]) -> Record:
    (sweep,) = demo[0].sweeps
    return read_journal(sweep)


@pytest.fixture(scope="module")
def exported(demo: tuple[Folder, Ended]) -> dict[str, Any]:
    return json.loads(demo[0].run("best", "--json", "--export", "the best").out)[0]


def test_results_as_json_are_the_journals(demo: tuple[Folder, Ended], record: Record) -> None:
    told = json.loads(demo[0].run("results", "latest", "--json").out)
    assert (told["id"], told["status"], told["metric"]) == (record.sweep.id, "complete", "val_accuracy")
    assert {trial["trial"]: trial["metrics"] for trial in told["trials"]} == {
        trial_id: dict(trial.metrics) for trial_id, trial in record.trials.items()
    }
    scores = [trial["score"] for trial in told["trials"]]
    assert scores == sorted(scores, reverse=True)


def test_results_as_csv_have_a_row_a_trial(demo: tuple[Folder, Ended], record: Record) -> None:
    rows = list(csv.DictReader(io.StringIO(demo[0].run("results", record.sweep.id[:-2], "--csv").out)))
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 9)]
    for row in rows:
        assert float(row["val_loss"]) == record.trials[row["trial"]].metrics["val_loss"]
        assert row["units"] == str(record.trials[row["trial"]].settings["units"])


def test_results_are_chosen_sorted_and_followed_by_epoch(demo: tuple[Folder, Ended], record: Record) -> None:
    folder, wide = demo[0], ("--filter", "units=128", "--filter", "dropout=0")
    chosen = json.loads(folder.run("results", "--json", "--sort", "-val_loss", *wide).out)
    losses = [row["val_loss"] for row in chosen]
    assert len(losses) == 2
    assert losses == sorted(losses, reverse=True)
    history = list(csv.DictReader(io.StringIO(folder.run("results", "--csv", "--history", *wide).out)))
    assert [row["epoch"] for row in history] == [str(epoch) for _ in range(2) for epoch in range(1, 13)]
    assert float(history[11]["val_loss"]) == record.trials[history[11]["trial"]].metrics["val_loss"]
    wrong = folder.run("results", "--filter", "unit>64", code=2)
    assert "filter 'unit': there is no such column; did you mean units?" in wrong.err


def test_a_sweep_beside_itself_differs_in_nothing(demo: tuple[Folder, Ended], record: Record) -> None:
    told = json.loads(demo[0].run("compare", "latest", record.sweep.id, "--json").out)
    assert told["config"] == []
    assert len(told["shared"]) == 8
    assert json.loads(demo[0].run("best", "--of", record.sweep.name, "--json").out) == json.loads(
        demo[0].run("best", "--json").out
    )


def test_list_has_the_sweep_with_its_best(demo: tuple[Folder, Ended], record: Record) -> None:
    (told,) = json.loads(demo[0].run("list", "--json").out)
    assert (told["id"], len(told["trials"])) == (record.sweep.id, 8)
    assert record.sweep.id in demo[0].run("list").out


def test_the_exported_model_is_the_best_one_to_plain_keras(
    demo: tuple[Folder, Ended], record: Record, exported: dict[str, Any], tmp_path: Path
) -> None:
    target = demo[0].path / "the best"
    experiment = demo[0].path / "experiments" / "digits_mlp.py"
    score = run_python(EVALUATE + FROM_FILE, str(experiment), str(target), cwd=tmp_path)
    assert score == pytest.approx(max(trial.metrics["val_accuracy"] for trial in record.trials.values()), abs=1e-6)
    assert exported["score"] == pytest.approx(score, abs=1e-6)


def test_an_export_never_overwrites(demo: tuple[Folder, Ended], exported: dict[str, Any]) -> None:
    again = demo[0].run("best", "--export", "the best", code=2)
    assert "not empty" in again.err
    assert "Traceback" not in again.err


@pytest.mark.slow
def test_models_in_mlflow_score_as_their_trials_did(demo: tuple[Folder, Ended], record: Record, tmp_path: Path) -> None:
    folder = demo[0]
    runs = {trial_id: Tracked(folder, record.sweep.id).children[trial_id] for trial_id in ("000", "007")}
    uris = [run.data.tags["model.uri"] for run in runs.values()]
    experiment = folder.path / "experiments" / "digits_mlp.py"
    code = EVALUATE + FROM_MLFLOW
    scores = run_python(code, str(experiment), f"sqlite:///{folder.store}", *uris, cwd=tmp_path)
    expected = [record.trials[trial_id].metrics["val_accuracy"] for trial_id in runs]
    assert scores == pytest.approx(expected, abs=1e-6)


@pytest.mark.slow
def test_a_model_with_code_of_its_own_is_rebuilt_from_source_and_weights(folder: Folder) -> None:
    folder.run("sweep", "experiment=autoencoder", "params.latent=4", "train.epochs=1", "fleet.kind=local")
    told = folder.run("best", "--export", "out")
    assert "python out/rebuild.py" in told.out
    assert not (folder.path / "out" / "model.keras").exists()
    code = (
        "import json, runpy, sys; runpy.run_path('out/rebuild.py', run_name='__main__'); sys.path.insert(0, 'out')\n"
        "from rebuild import experiment, model\n"
        "_, (x, y) = experiment.load_data()\n"
        "print(json.dumps(model.evaluate(x, y, batch_size=32, verbose=0, return_dict=True)['loss']))"
    )
    result = subprocess.run(  # -P, since the folder has a json.py of the user's
        [sys.executable, "-P", "-c", code],
        cwd=folder.path, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    (trial,) = read_journal(folder.sweeps[0]).trials.values()
    assert json.loads(result.stdout.splitlines()[-1]) == pytest.approx(trial.metrics["val_loss"], rel=1e-5)


def test_a_plan_counts_what_the_sweep_then_does(record: Record, folder: Folder) -> None:
    # Given: left to "auto", what the sweep has measured of the steps and what the plan measures need not agree.
    plan = json.loads(folder.run("plan", "--json", "train.steps_per_round=20").out)
    assert {trial["id"]: trial["settings"] for trial in plan["trials"]} == {
        trial_id: {**trial.settings, "train.compile": "auto"} for trial_id, trial in record.trials.items()
    }
    for trial in plan["trials"]:
        turns = [turn for turn in record.turns if turn.trial == trial["id"]]
        assert (trial["steps_per_epoch"], trial["rounds"]) == (45, 12 * 3)
        assert trial["steps"] == max(turn.step for turn in turns) == 12 * 45
        assert trial["seed"] == record.trials[trial["id"]].trial.seed
    assert {slot["index"] for slot in plan["slots"]} == {trial.slot for trial in record.trials.values()}
    assert not folder.sweeps
    assert not folder.store.exists()


@pytest.mark.slow
def test_a_plan_of_three_models_with_what_each_takes(tmp_path: Path) -> None:
    command = ("plan", "--json", "--probe", "experiment=three_models", "fleet.kind=local")
    plan = json.loads(make_folder(tmp_path, warm=True).run(*command, env={"HOME": str(tmp_path)}).out)
    assert [model["trials"] for model in plan["models"]] == [1, 1, 1]
    assert all(100 < model["memory_mib"] < 5_000 for model in plan["models"])
    assert plan["sums"][0].startswith("CPUs: 3 × ")
    assert (tmp_path / ".cache/lockstep-runner/needs.json").exists()
    assert [trial["member"] for trial in plan["trials"]] == ["features32", "features64", "features16"]
    assert {(trial["rounds"], trial["steps"], trial["seed"]) for trial in plan["trials"]} == {(20, 100, 0)}
    assert len(plan["slots"]) == 3

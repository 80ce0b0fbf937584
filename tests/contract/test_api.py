"""Sweeps from a Python program: real models, in this process."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from barriers import AtBarriers

import runner

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "digits_mlp.py"
SETTINGS: dict[str, Any] = {
    "params": {"dropout": 0.0},
    "space": {"units": [8, 16], "learning_rate": runner.loguniform(1e-4, 1e-1)},
    "train": {"epochs": 3, "steps_per_epoch": 5, "compile": "graph"},
    "search": {"max_trials": 3, "sampler": "random", "metric": "val_accuracy"},
    "fleet": {"kind": "local"},
    "tracking": {"uri": "sqlite:///m.db"},
    "name": "digits",
}


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> runner.Result:
    folder = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return runner.sweep(EXPERIMENT, root=folder / "sweeps", **SETTINGS)


def test_a_sweep_returns_its_trials_best_first(result: runner.Result) -> None:
    assert (result.status, result.metric, result.id) == ("complete", "val_accuracy", result.folder.name)
    trials = result.trials
    assert list(trials["rank"]) == [1, 2, 3]
    assert sorted(trials.index) == ["000", "001", "002"]
    assert trials["val_accuracy"].is_monotonic_decreasing
    assert set(trials["dropout"]) == {0.0}
    assert result.best.id == trials.index[0]
    assert result.best.score == trials["score"].iloc[0] == result.best.metrics["val_accuracy"]
    assert result.best.params["units"] == trials["units"].iloc[0]
    assert repr(result) == f"<sweep {result.id}: complete, 3 trials, by val_accuracy>"
    assert repr(result.best).startswith(f"<trial {result.best.id}: complete, val_accuracy 0.")
    html = result._repr_html_()
    assert html.startswith(f"<p>&lt;sweep {result.id}: complete, 3 trials, by val_accuracy&gt;</p><table")


def test_histories_are_those_of_keras(result: runner.Result) -> None:
    history = result.history("001")
    assert list(history.index) == [1, 2, 3]
    assert set(history.columns) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert history["val_accuracy"].iloc[-1] == result.trial("001").score
    assert result.histories.shape == (9, 4)
    assert result.histories.loc["001"].equals(history)


def test_the_best_model_predicts(result: runner.Result) -> None:
    from sklearn.datasets import load_digits

    images, _ = load_digits(return_X_y=True)
    assert result.best.model().predict(images[:2].astype(np.float32) / 16, verbose=0).shape == (2, 10)


def test_settings_are_ranked_by_their_mean(result: runner.Result) -> None:
    settings = result.by_setting
    assert list(settings["rank"]) == [1, 2, 3]
    assert list(settings["trials"]) == [(trial,) for trial in result.trials.index]
    assert list(settings["mean"]) == list(result.trials["score"])
    assert settings["spread"].isna().all()
    assert (settings["repeats"] == settings["ended"]).all()
    assert list(settings["units"]) == list(result.trials["units"])
    assert "seed" not in settings


def test_the_timeline_has_every_turn(result: runner.Result) -> None:
    turns = result.timeline
    assert set(turns["trial"]) == {"000", "001", "002"}
    assert turns.groupby("trial")["epoch"].max().tolist() == [3, 3, 3]
    assert (turns["seconds"] >= turns["compute_s"] + turns["evaluate_s"] + turns["seat_s"]).all()
    assert turns["start_s"].is_monotonic_increasing
    assert 0 < turns["start_s"].iloc[0] < 3600
    assert (turns["memory_mib"] > 0).all()


def test_a_plan_has_the_trials_and_records_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = runner.plan(EXPERIMENT, "search.max_trials=2", probe=True, **SETTINGS)
    assert isinstance(plan, runner.Plan)
    assert (plan.name, plan.metric, plan.goal, plan.steps) == ("digits", "val_accuracy", "maximize", 30)
    assert list(plan.trials.index) == ["000", "001"]
    assert list(plan.trials.columns) == [
        "units",
        "learning_rate",
        "seed",
        "epochs",
        "steps_per_epoch",
        "rounds",
        "steps",
    ]
    assert set(plan.trials["steps"]) == {15}
    assert list(plan.slots["num_gpus"]) == [0.0] * len(plan.slots)
    assert repr(plan).startswith("digits: 2 trials ranked by val_accuracy (maximize)\n")
    assert "30 steps, if no rule stops a trial early\n" in repr(plan)
    assert "<pre>digits: 2 trials ranked" in plan._repr_html_()
    assert plan._repr_html_().endswith("</table>")
    assert plan.summary["steps"] == 30
    assert list(tmp_path.iterdir()) == []


def test_warnings_of_a_sweep_that_is_not_shown_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level("INFO", "runner")
    eager = "\nimport tensorflow as tf\ntf.config.run_functions_eagerly(True)\n"
    Path("eager.py").write_text(EXPERIMENT.read_text() + eager)
    settings = {**SETTINGS, "search": {"max_trials": 1}, "train": {"epochs": 1, "steps_per_epoch": 2}}
    runner.sweep("eager.py", progress="none", **settings)
    records = [record for record in caplog.records if record.name == "runner"]
    (warning,) = [record.getMessage() for record in records if record.levelname == "WARNING"]
    assert "run_functions_eagerly" in warning
    assert not warning.startswith("warning: ")
    news = [record.getMessage() for record in records if record.levelname == "INFO"]
    assert news[0].startswith("digits: 1 trial, 1 at a time")
    assert any(line.startswith("sweep digits-") for line in news)


def test_sweeps_are_found_and_go_on(result: runner.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    root = result.folder.parent
    monkeypatch.chdir(root.parent)  # to which the address of its store is relative
    assert runner.load(root=root).id == result.id
    assert [one.id for one in runner.sweeps(root=root)] == [result.id]
    assert runner.sweeps(root=root / "nothing") == []
    with pytest.raises(runner.RunnerError, match="sweep 'x' not found"):
        runner.load("x", root=root)
    longer = runner.resume(result, more_epochs=1, root=root)
    assert set(longer.trials["epochs"]) == {4}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"train": {"epoch": 3}}, "argument: train.epoch: unknown key; did you mean train.epochs?"),
        ({"space": {"unitz": [1]}}, "argument: search.space.unitz: the experiment has no such parameter; did you mean"),
        ({"params": {"units": "x"}}, "argument: params.units: must be int; got 'x'"),
        ({"trains": {}}, "argument: trains: unknown key; did you mean train?"),
        ({"space": {"units": "loguniform(1, 9)"}}, "argument: search.space.units: must be int, but this search draws"),
    ],
)
def test_mistakes_name_the_argument(given: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(runner.ConfigError) as caught:
        runner.sweep(EXPERIMENT, root=tmp_path / "sweeps", **given)
    assert message in str(caught.value)


def test_what_is_searched_is_written_as_in_a_config() -> None:
    assert runner.loguniform(1e-4, 1) == "loguniform(0.0001, 1.0)"
    assert (runner.interval(0, 1), runner.interval(0, 1, 0.5)) == ("interval(0.0, 1.0)", "interval(0, 1, 0.5)")
    assert (runner.integers(1, 9), runner.log_integers(1, 9)) == ("int(1, 9, 1)", "logint(1, 9)")


def test_a_sweep_that_is_interrupted_returns_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "runner.api.contexts.watcher_for", lambda shows: AtBarriers(lambda number: _interrupt(number == 1))
    )
    more = ("search.max_trials=2", "train.steps_per_round=3")
    stopped = runner.sweep(EXPERIMENT, *more, root="sweeps", **SETTINGS)
    assert stopped.status == "killed"
    assert len(stopped.trials) == 2
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert runner.resume(stopped).status == "complete"


def _interrupt(now: bool) -> None:
    if now:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGINT)


def test_signals_are_left_alone_in_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: list[runner.Result] = []
    settings = {**SETTINGS, "search": {"max_trials": 1}, "train": {"epochs": 1, "steps_per_epoch": 2}}
    thread = threading.Thread(target=lambda: found.append(runner.sweep(EXPERIMENT, root="sweeps", **settings)))
    thread.start()
    thread.join(120)
    assert [one.status for one in found] == ["complete"]


def test_importing_the_library_imports_nothing_that_workers_do_not_need() -> None:
    names = ("pydantic", "ray", "mlflow", "pandas")
    code = f"import sys, runner; runner.Data; print([name for name in {names} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        runner.nothing  # noqa: B018

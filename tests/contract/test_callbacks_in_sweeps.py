"""Sweeps whose trials have callbacks: compared, killed and resumed, paused, with every record once in MLflow."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from moments import Result, moments, photographer, resumed, sweep

from runner.config import load_config
from runner.driver.context import Context
from runner.driver.replaying import replay
from runner.driver.requests import request_to_clone
from runner.driver.resume import resume
from runner.driver.resume_state import Asked
from runner.driver.run import run
from runner.errors import ConfigError
from runner.journal import JournalReader
from runner.views.watchers import Silent

FILE = Path(__file__).parents[1] / "with_callbacks.py"
SETTINGS = (
    "fleet.kind=local", "name=c", "params.kind=confusion", "params.learning_rate=0.001,0.01,0.1", "train.epochs=4",
    "train.steps_per_round=2", "train.compile=graph", "schedule=rotate", "search.stop=halving", "search.factor=3",
    "search.metric=balanced", "search.goal=maximize",
)  # fmt: skip


def files(folder: Path) -> dict[str, str]:
    root = folder / "files"
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The root of a sweep that nothing disturbs, and the sweep's folder."""
    root = tmp_path_factory.mktemp("undisturbed") / "root"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return root, sweep(root, SETTINGS, photographer(root), FILE)


def test_comparisons_rank_by_a_metric_of_a_callback_and_end_losers(undisturbed: tuple[Path, Path]) -> None:
    _, folder = undisturbed
    result = Result.of(folder)
    assert sorted(status for _, _, status, _ in result.trials) == ["complete", "stopped", "stopped"]
    assert {by for *_, kind, by, _, _ in result.decisions if kind == "stop"} == {"halving"}
    assert not list((folder / "snapshots").rglob("*.npz"))  # nobody can restore a callback's state
    assert {path.split("/")[0] for path in files(folder)} == {"000", "001", "002"}


@pytest.mark.slow
def test_a_driver_killed_at_any_barrier_repeats_such_trials_from_their_beginning(
    undisturbed: tuple[Path, Path],
) -> None:
    root, folder = undisturbed
    whole = Result.of(folder)
    assert len(moments(root)) >= 4
    for moment in moments(root)[:-1]:
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(moment)
            again = resumed(moment, root)
        assert Result.of(again) == whole
        assert files(again) == files(folder)


def test_mlflow_has_every_value_once_and_the_files_as_artifacts(undisturbed: tuple[Path, Path]) -> None:
    root, folder = undisturbed
    client = MlflowClient(f"sqlite:///{root}/m.db")
    with JournalReader(folder) as reader:
        records = reader.trials()
    for record in records:
        for key in ("confused", "balanced"):
            assert [row.step for row in client.get_metric_history(str(record.run_id), key)] == list(
                range(1, record.epochs + 1)
            )
        found = {item.path.removeprefix("files/") for item in client.list_artifacts(str(record.run_id), "files")}
        assert found == {path.removeprefix(f"{record.id}/") for path in files(folder) if path.startswith(record.id)}


def test_a_callback_ends_its_trial_which_can_go_on_if_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ("fleet.kind=local", "name=s", "params.kind=stops", "train.epochs=4", "train.compile=graph")
    folder = sweep(tmp_path, settings, experiment=FILE)
    with JournalReader(folder) as reader:
        (record,) = reader.trials()
    assert (record.status, record.reason, record.epochs) == ("stopped", "a callback set model.stop_training", 2)
    assert record.weights is not None
    text = files(folder)["000/hooks.jsonl"]
    assert text.count("on_train_begin") == text.count("on_train_end") == 1
    resume(folder, Asked(more_epochs=1), Context(watcher=Silent()))
    with JournalReader(folder) as reader:
        assert reader.trials()[0].epochs == 2  # what a rule has ended does not go on by itself


def test_a_trial_is_ranked_by_the_epoch_whose_weights_a_callback_has_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ("fleet.kind=local", "name=s", "params.kind=early_stopping", "train.epochs=4", "train.compile=graph")
    folder = sweep(tmp_path, settings, experiment=FILE)
    with JournalReader(folder) as reader:
        (record,) = reader.trials()
        first = next(row.value for row in reader.metrics("000") if (row.key, row.step) == ("val_loss", 1))
    assert (record.best_epoch, record.score("val_loss")) == (1, first)
    assert replay(folder, "000", Context(watcher=Silent())).is_same


def test_what_is_logged_at_the_end_is_a_metric_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ("fleet.kind=local", "name=s", "params.kind=at_the_end", "train.epochs=2", "train.compile=graph")
    folder = sweep(tmp_path, settings, experiment=FILE)
    with JournalReader(folder) as reader:
        (record,) = reader.trials()
    assert (record.metrics["f1"], record.metrics["end/f1"]) == (1.0, 99.0)
    found = replay(folder, "000", Context(watcher=Silent()))
    assert found.is_same, list(found.lines())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("search.population.interval=1", "search.population: lets trials go on from the states of others, and"),
        ("params.kindd=x", "params.kindd: the experiment has no such parameter; did you mean kind?"),
    ],
)
def test_what_needs_the_state_of_callbacks_is_refused(changed: str, message: str, tmp_path: Path) -> None:
    config = load_config(
        str(FILE), ["fleet.kind=local", "search.max_trials=4", *SETTINGS[1:4], changed], config_dir=None
    )
    with pytest.raises(ConfigError) as caught:
        run(config, Context(watcher=Silent()), root=tmp_path)
    assert message in str(caught.value)


def test_nothing_is_cloned_from_a_trial_with_callbacks(undisturbed: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="trial 000 has callbacks, whose state cannot be copied"):
        request_to_clone(undisturbed[1], "000", ["learning_rate=0.5"], None)

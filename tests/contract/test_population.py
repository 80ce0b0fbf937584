"""Trials of a population go on from each other's states, the same after any crash: real models, one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from moments import Result, is_fresh, moments, photographed_sweep, resumed, sweep

from runner.driver.context import Context
from runner.driver.replaying import replay
from runner.journal import JournalReader
from runner.views.watchers import Silent

SETTINGS = (
    "fleet.kind=local", "name=p", "search.space={}", "search.sampler=random", "search.population.interval=2",
    "search.max_trials=6",
    "params.units=4,6,8", "params.learning_rate=loguniform(1e-4,1e-1)", "params.dropout=interval(0,0.5)",
    "train.epochs=8", "train.steps_per_epoch=5", "train.steps_per_round=4", "train.compile=graph",
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    return photographed_sweep(tmp_path_factory, SETTINGS)


def test_the_worst_quarter_goes_on_from_the_best_at_every_interval(undisturbed: tuple[Path, Result]) -> None:
    _, result = undisturbed
    clones = [step for _, step, kind, by, *_ in result.decisions if (kind, by) == ("clone", "population")]
    assert sorted(clones) == [10, 10, 20, 20, 30, 30]
    assert [status for _, _, status, _ in result.trials] == ["complete"] * 6
    assert {key for _, key, _ in result.metrics if key.startswith("param/")} == {
        "param/units", "param/learning_rate", "param/dropout"
    }  # fmt: skip


def test_every_trial_is_trained_again_alone_bit_for_bit(undisturbed: tuple[Path, Result], tmp_path: Path) -> None:
    root, result = undisturbed
    (folder,) = (root / "sweeps").iterdir()
    for trial_id in sorted({trial_id for trial_id, _, kind, *_ in result.decisions if kind == "clone"}):
        found = replay(folder, trial_id, Context(watcher=Silent()))
        assert found.is_same, list(found.lines())
        assert (found.epochs, found.weights) == (8, True)


def test_mlflow_has_first_values_as_params_the_schedule_as_metrics_and_the_lineage_as_a_tag(
    undisturbed: tuple[Path, Result],
) -> None:
    root, _ = undisturbed
    (folder,) = (root / "sweeps").iterdir()
    client = MlflowClient(f"sqlite:///{root}/m.db")
    with JournalReader(folder) as reader:
        record = next(trial for trial in reader.trials() if len(trial.clones) > 1)
    run = client.get_run(str(record.run_id))
    first, *_, last = record.clones
    assert run.data.params["learning_rate"] == str(first.before["learning_rate"])
    assert run.data.tags["lineage"] == record.lineage
    assert run.data.tags["param.learning_rate"] == str(last.values["learning_rate"])
    rows = client.get_metric_history(run.info.run_id, "param/learning_rate")
    found = {row.step: row.value for row in rows}
    for clone in record.clones:
        assert found[clone.epoch] == clone.before["learning_rate"]
        assert found[clone.epoch + 1] == clone.values["learning_rate"]


@pytest.mark.parametrize("place", [1, *(pytest.param(place, marks=pytest.mark.exhaustive) for place in (2, 3))])
def test_a_killed_population_goes_on_as_if_it_had_not_been(undisturbed: tuple[Path, Result], place: int) -> None:
    root, result = undisturbed
    found = moments(root)
    assert Result.of(resumed(found[len(found) * place // 4], root)) == result


@pytest.mark.exhaustive
def test_a_population_that_is_killed_after_any_barrier_goes_on_as_if_it_had_not_been(
    undisturbed: tuple[Path, Result],
) -> None:
    root, result = undisturbed
    for moment in moments(root)[:-1]:
        if is_fresh(moment, root):
            assert Result.of(resumed(moment, root)) == result


@pytest.mark.slow
def test_more_slots_and_snapshots_at_every_barrier_change_nothing(
    undisturbed: tuple[Path, Result], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ("resources.max_concurrent=3", "recovery.snapshot_every_s=0.001")
    found = Result.of(sweep(tmp_path, (*SETTINGS, *more)))
    assert (found.trials, found.metrics, found.weights) == (
        undisturbed[1].trials,
        undisturbed[1].metrics,
        undisturbed[1].weights,
    )

"""A search that decides together is the same after any crash, and for any number of slots: real models, one process."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from moments import Result, is_fresh, moments, photographed_sweep, photographer, resumed, sweep

from runner.driver.warm_start import read_known
from runner.errors import ConfigError
from runner.journal import JournalReader

SETTINGS = (
    "fleet.kind=local", "name=s", "search.space={}", "search.sampler=tpe", "search.stop=halving",
    "search.max_trials=18",
    "params.units=int(4,12)", "params.learning_rate=loguniform(1e-4,1e-1)", "params.dropout=0.1", "train.epochs=9",
    "train.steps_per_epoch=5", "train.steps_per_round=3", "train.compile=graph", "recovery.snapshot_every_s=0.001",
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    return photographed_sweep(tmp_path_factory, SETTINGS)


def test_two_brackets_are_proposed_and_halved(undisturbed: tuple[Path, Result]) -> None:
    _, result = undisturbed
    assert len(result.trials) == 18
    ends = [by for _, _, kind, by, *_ in result.decisions if kind in ("stop", "complete")]
    assert (ends.count("halving"), ends.count("training")) == (16, 2)
    assert sum(kind == "add" for _, _, kind, *_ in result.decisions) == 9


@pytest.mark.parametrize("place", [1, *(pytest.param(place, marks=pytest.mark.exhaustive) for place in (0, 2))])
def test_a_killed_search_goes_on_as_if_it_had_not_been(undisturbed: tuple[Path, Result], place: int) -> None:
    root, result = undisturbed
    found = moments(root)
    assert Result.of(resumed(found[(len(found) - 1) * place // 3], root)) == result


@pytest.mark.exhaustive
def test_a_search_that_is_killed_after_any_barrier_goes_on_as_if_it_had_not_been(
    undisturbed: tuple[Path, Result],
) -> None:
    root, result = undisturbed
    for moment in moments(root)[:-1]:
        if is_fresh(moment, root):
            assert Result.of(resumed(moment, root)) == result


@pytest.mark.slow
def test_more_slots_change_nothing(undisturbed: tuple[Path, Result], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    found = Result.of(sweep(tmp_path, (*SETTINGS, "resources.max_concurrent=2")))
    assert (found.trials, found.metrics, found.weights) == (
        undisturbed[1].trials,
        undisturbed[1].metrics,
        undisturbed[1].weights,
    )


@pytest.mark.slow
def test_a_sampler_learns_from_an_earlier_sweep_and_again_on_resume(
    undisturbed: tuple[Path, Result], tmp_path: Path, monkeypatch: Any
) -> None:
    root = tmp_path / "root"
    shutil.copytree(undisturbed[0], root)
    monkeypatch.chdir(root)
    (earlier,) = (root / "sweeps").iterdir()
    settings = (*SETTINGS, "search.stop=null", "search.max_trials=12", "train.epochs=2", "name=t", "search.wave=2")
    cold = sweep(root, settings)
    warm = sweep(root, (*settings, f"search.warm_start=[{earlier.name}]"), photographer(root))
    assert Result.of(cold).trials[:10] != Result.of(warm).trials[:10], "its first settings are no longer random"
    assert len(read_known(warm)["t"]) == 18
    shutil.rmtree(earlier)
    moment = moments(root)[-4]
    for other in (earlier, cold):
        shutil.rmtree(moment / "sweeps" / other.name)
    assert Result.of(resumed(moment, root)) == Result.of(warm)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("search.warm_start=[nothing]",), "search.warm_start: sweep 'nothing' not found in"),
        (
            ("search.warm_start=[latest]", "params.units=int(100,200)"),
            "whose values of units, learning_rate are in",
        ),
        (
            ("search.warm_start=latest", "search.sampler=random"),
            "needs search.sampler=tpe",
        ),
    ],
)
def test_a_beginning_that_cannot_be(
    settings: tuple[str, ...], message: str, undisturbed: tuple[Path, Result], monkeypatch: Any
) -> None:
    monkeypatch.chdir(undisturbed[0])
    with pytest.raises(ConfigError, match=re.escape(message)):
        sweep(undisturbed[0], (*SETTINGS, *settings))


def test_a_target_ends_trials_that_never_began(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ("search.stop=null", "search.sampler=random", "search.max_trials=4", "search.target=99")
    folder = sweep(tmp_path, (*SETTINGS, *settings, "resources.max_concurrent=1"))
    with JournalReader(folder) as reader:
        trials = reader.trials()
        assert reader.sweep().status == "complete"
    assert [trial.status for trial in trials] == ["stopped"] * 4
    assert [trial.epochs > 0 for trial in trials] == [True, False, False, False]
    assert all(trial.reason.startswith("target: trial 000 reached val_loss") for trial in trials)


def test_what_a_clock_has_ended_is_tagged_so(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ("search.stop=null", "search.sampler=random", "search.max_trials=2", "resources.max_concurrent=1")
    ended = {}
    for limit in ("train.max_seconds=1e-9", "search.max_hours=1e-9"):
        folder = sweep(tmp_path, (*SETTINGS, *settings, limit))
        with JournalReader(folder) as reader:
            trials = reader.trials()
        client = MlflowClient(f"sqlite:///{tmp_path}/m.db")
        begun = [trial for trial in trials if trial.epochs or trial.started_ms]
        tags = [client.get_run(str(trial.run_id)).data.tags for trial in begun]
        assert [one["stop.by_clock"] for one in tags] == ["true"] * len(begun)
        ended[limit] = [(trial.status, trial.reason.split(":")[0]) for trial in trials]
    assert ended == {
        "train.max_seconds=1e-9": [("stopped", "max_seconds")] * 2,
        "search.max_hours=1e-9": [("stopped", "max_hours")] * 2,
    }

"""A search that decides together is the same after any crash, and for any number of slots: real models, one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from moments import Result, is_fresh, moments, photographer, resumed, sweep

from runner.journal import JournalReader

SETTINGS = (
    "fleet.kind=local", "name=s", "search.space={}", "search.sampler=tpe", "search.stop=halving",
    "search.max_trials=18",
    "params.units=int(4,12)", "params.learning_rate=loguniform(1e-4,1e-1)", "params.dropout=0.1", "train.epochs=9",
    "train.steps_per_epoch=5", "train.steps_per_round=3", "train.compile=graph", "recovery.snapshot_every_s=0.001",
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    root = tmp_path_factory.mktemp("undisturbed") / "root"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        folder = sweep(root, SETTINGS, photographer(root))
    return root, Result.of(folder)


def test_two_brackets_are_proposed_and_halved(undisturbed: tuple[Path, Result]) -> None:
    _, result = undisturbed
    assert len(result.trials) == 18
    ends = [by for _, _, kind, by, *_ in result.decisions if kind in ("stop", "complete")]
    assert (ends.count("halving"), ends.count("training")) == (16, 2)
    assert sum(kind == "add" for _, _, kind, *_ in result.decisions) == 9


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_killed_search_goes_on_as_if_it_had_not_been(undisturbed: tuple[Path, Result], place: int) -> None:
    root, result = undisturbed
    found = moments(root)
    assert Result.of(resumed(found[(len(found) - 1) * place // 3], root)) == result


@pytest.mark.slow
def test_a_search_that_is_killed_after_any_barrier_goes_on_as_if_it_had_not_been(
    undisturbed: tuple[Path, Result],
) -> None:
    root, result = undisturbed
    for moment in moments(root)[:-1]:
        if is_fresh(moment, root):
            assert Result.of(resumed(moment, root)) == result


def test_more_slots_change_nothing(undisturbed: tuple[Path, Result], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    found = Result.of(sweep(tmp_path, (*SETTINGS, "resources.max_concurrent=2")))
    assert (found.trials, found.metrics, found.weights) == (
        undisturbed[1].trials,
        undisturbed[1].metrics,
        undisturbed[1].weights,
    )


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

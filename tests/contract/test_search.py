"""A search that decides together is the same after any crash, and for any number of slots: real models, one process."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from barriers import AtBarriers

from runner.config import load_config
from runner.driver.context import Context
from runner.driver.resume import resume
from runner.driver.resume_state import Asked
from runner.driver.run import run
from runner.journal import JournalReader
from runner.views.watchers import Silent

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "digits_mlp.py"
SETTINGS = (
    "fleet.kind=local", "name=s", "search.space={}", "search.sampler=tpe", "search.stop=halving",
    "search.max_trials=18",
    "params.units=int(4,12)", "params.learning_rate=loguniform(1e-4,1e-1)", "params.dropout=0.1", "train.epochs=9",
    "train.steps_per_epoch=5", "train.steps_per_round=3", "train.compile=graph", "recovery.snapshot_every_s=0.001",
)  # fmt: skip


def photographer(root: Path) -> AtBarriers:
    """Copies everything that is on the disk after each barrier, as a driver leaves it that is killed there."""
    return AtBarriers(lambda number: shutil.copytree(root, root.with_name(f"killed-{number:02}")))


@dataclass(frozen=True)
class Result:
    """What a sweep came to: its trials and decisions, every metric, all weights."""

    trials: list[tuple[object, ...]]
    decisions: list[tuple[object, ...]]
    metrics: dict[tuple[str, str, int], float]
    weights: dict[str, list[Any]]

    @classmethod
    def of(cls, folder: Path) -> Result:
        with JournalReader(folder) as reader:
            records = reader.trials()
            assert reader.sweep().status == "complete"
            trials = [(one.id, one.settings, one.status, one.reason) for one in records]
            made = [(d.trial_id, d.step, d.kind, d.by, d.reason) for one in records for d in reader.decisions(one.id)]
            metrics = {(row.trial, row.key, row.step): row.value for row in reader.metrics()}
        weights = {}
        for one in records:
            with np.load(folder / str(one.weights)) as arrays:
                weights[one.id] = [arrays[name].tolist() for name in arrays.files]
        return cls(trials, made, metrics, weights)


def sweep(root: Path, *more: str, watcher: Silent | None = None) -> Path:
    settings = [*SETTINGS, f"tracking.uri=sqlite:///{root}/m.db", *more]
    config = load_config(str(EXPERIMENT), settings, config_dir=None)
    return run(config, Context(watcher=watcher or Silent()), root=root / "sweeps").folder


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    root = tmp_path_factory.mktemp("undisturbed") / "root"
    root.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        folder = sweep(root, watcher=photographer(root))
    return root, Result.of(folder)


def moments(root: Path) -> list[Path]:
    return sorted(root.parent.glob("killed-*"))


def resumed(moment: Path, undisturbed_root: Path) -> Path:
    """The sweep of a moment, gone on with; it has a store of its own, as it was then."""
    (folder,) = (moment / "sweeps").iterdir()
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace(str(undisturbed_root), str(moment)))
    resume(folder, Asked(), Context(watcher=Silent()))
    return folder


def test_two_brackets_are_proposed_and_halved(undisturbed: tuple[Path, Result]) -> None:
    _, result = undisturbed
    assert len(result.trials) == 18
    ends = [by for _, _, kind, by, _ in result.decisions if kind in ("stop", "complete")]
    assert (ends.count("halving"), ends.count("training")) == (16, 2)
    assert sum(kind == "add" for _, _, kind, _, _ in result.decisions) == 9


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_killed_search_goes_on_as_if_it_had_not_been(undisturbed: tuple[Path, Result], place: int) -> None:
    root, result = undisturbed
    found = moments(root)
    check(found[(len(found) - 1) * place // 3], root, result)


@pytest.mark.slow
def test_a_search_that_is_killed_after_any_barrier_goes_on_as_if_it_had_not_been(
    undisturbed: tuple[Path, Result],
) -> None:
    root, result = undisturbed
    for moment in moments(root)[:-1]:
        if next((moment / "sweeps").iterdir()).joinpath("config.yaml").read_text().count(str(root)):  # not resumed yet
            check(moment, root, result)


def check(moment: Path, root: Path, result: Result) -> None:
    found = Result.of(resumed(moment, root))
    assert found.trials == result.trials
    assert found.decisions == result.decisions
    assert found.metrics == result.metrics
    assert found.weights == result.weights


def test_more_slots_change_nothing(undisturbed: tuple[Path, Result], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    found = Result.of(sweep(tmp_path, "resources.max_concurrent=2"))
    assert (found.trials, found.metrics, found.weights) == (
        undisturbed[1].trials,
        undisturbed[1].metrics,
        undisturbed[1].weights,
    )


def test_a_target_ends_trials_that_never_began(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ("search.stop=null", "search.sampler=random", "search.max_trials=4", "search.target=99")
    folder = sweep(tmp_path, *settings, "resources.max_concurrent=1")
    with JournalReader(folder) as reader:
        trials = reader.trials()
        assert reader.sweep().status == "complete"
    assert [trial.status for trial in trials] == ["stopped"] * 4
    assert [trial.epochs > 0 for trial in trials] == [True, False, False, False]
    assert all(trial.reason.startswith("target: trial 000 reached val_loss") for trial in trials)

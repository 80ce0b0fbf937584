"""Requests of other processes reach a running sweep, and one that has ended by `resume`: real models, one process."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import click
import pytest
from barriers import AtBarriers
from click.testing import CliRunner

from runner.cli import cli
from runner.config import load_config
from runner.driver.context import Context
from runner.driver.replaying import replay
from runner.driver.resume import resume
from runner.driver.resume_state import Asked
from runner.driver.run import run
from runner.journal import JournalReader, inbox
from runner.review.catalog import find_sweep
from runner.views.watchers import Silent

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "digits_mlp.py"


def asking(commands: dict[int, list[str]]) -> AtBarriers:
    """Runs commands as other processes would, after the barriers with these numbers."""
    return AtBarriers(lambda number: [runner(command) for command in commands.get(number, ())])


def runner(command: str, code: int = 0) -> str:
    assert isinstance(cli, click.Group)
    ended = CliRunner().invoke(cli, command.split())
    assert ended.exit_code == code, ended.output
    return ended.output


def swept(root: Path, commands: dict[int, list[str]], *more: str) -> Path:
    """Runs a sweep below the working directory; returns its folder."""
    settings = [
        "fleet.kind=local", "name=s", "search.space={}", "params.learning_rate=loguniform(1e-4,1e-1)",
        "params.units=int(4,32)", "params.dropout=0.0", "search.sampler=random", "search.max_trials=3",
        "train.epochs=4", "train.steps_per_round=45", "train.compile=graph", "schedule=rotate", *more,
    ]  # fmt: skip
    config = load_config(str(EXPERIMENT), [*settings, f"tracking.uri=sqlite:///{root}/m.db"], config_dir=None)
    try:
        return run(config, Context(watcher=asking(commands)), root=root / "sweeps").folder
    except KeyboardInterrupt:
        return find_sweep("latest")


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    monkeypatch.chdir(tmp_path)
    return partial(swept, tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep that nobody asks for anything."""
    root = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        return swept(root, {})


def statuses(folder: Path) -> dict[str, tuple[str, int]]:
    with JournalReader(folder) as reader:
        return {trial.id: (trial.status, trial.epochs) for trial in reader.trials()}


def values(folder: Path, trial_id: str) -> dict[tuple[str, int], float]:
    with JournalReader(folder) as reader:
        return {(row.key, row.step): row.value for row in reader.metrics(trial_id)}


def decisions(folder: Path, trial_id: str) -> list[tuple[str, str]]:
    with JournalReader(folder) as reader:
        return [(one.kind, one.by) for one in reader.decisions(trial_id)]


def test_trials_are_stopped_paused_and_added_while_a_sweep_runs(sweep: Callable[..., Path], undisturbed: Path) -> None:
    commands = {
        1: ["pause latest 000", "stop latest 001", "add latest 1", "add latest units=7", "add latest units=8"],
        3: ["continue latest 000"],
    }
    folder = sweep(commands)
    assert statuses(folder) == {
        "000": ("complete", 4), "001": ("stopped", 2), "002": ("complete", 4), "003": ("complete", 4),
        "add-000": ("complete", 4), "add-001": ("complete", 4),
    }  # fmt: skip
    assert decisions(folder, "000") == [("pause", "user"), ("continue", "user"), ("complete", "training")]
    assert decisions(folder, "add-000") == [("add", "user"), ("complete", "training")]
    assert inbox.asked(folder) == ()
    for trial_id in ("000", "002"):
        assert values(folder, trial_id) == values(undisturbed, trial_id)
    with JournalReader(folder) as reader:
        added = reader.trial("add-000").trial
        assert (added.params["units"], added.params["learning_rate"]) == (7, 0.001)
        assert reader.trial("003").trial.train == reader.trial("002").trial.train
        assert all(trial.run_id for trial in reader.trials()), "MLflow has them"
    assert load_config(None, [], config_dir=folder).search.max_trials == 4


def test_a_stopped_trial_goes_on_by_resume_as_if_it_had_not_been(sweep: Callable[..., Path], undisturbed: Path) -> None:
    folder = sweep({1: ["stop latest 001"]})
    assert "obeyed by:  python -m runner resume" in runner(f"continue {folder.name} 001")
    resume(folder, Asked(), Context(watcher=Silent()))
    assert statuses(folder)["001"] == ("complete", 4)
    assert values(folder, "001") == values(undisturbed, "001")
    assert inbox.asked(folder) == ()


def test_a_finished_sweep_grows(sweep: Callable[..., Path]) -> None:
    folder = sweep({}, "search.sampler=tpe", "search.max_trials=10", "train.epochs=1")
    runner("add latest 2")
    runner("add latest 1")
    resume(folder, Asked(), Context(watcher=Silent()))
    assert len(statuses(folder)) == 13
    assert set(statuses(folder).values()) == {("complete", 1)}
    assert decisions(folder, "012")[0] == ("add", "sampler")


def test_a_whole_sweep_is_stopped_and_resumed(sweep: Callable[..., Path]) -> None:
    folder = sweep({1: ["stop latest"]})
    assert {status for status, _ in statuses(folder).values()} == {"killed"}
    resume(folder, Asked(), Context(watcher=Silent()))
    assert set(statuses(folder).values()) == {("complete", 4)}


def test_a_trial_is_cloned_from_its_newest_state_and_from_an_earlier_one(sweep: Callable[..., Path]) -> None:
    folder = sweep({2: ["clone latest 001 learning_rate=0.002", "clone latest 000 units=9 --at-epoch 1"]})
    assert statuses(folder)["add-000"] == statuses(folder)["add-001"] == ("complete", 4)
    with JournalReader(folder) as reader:
        newest, earlier = (reader.trial(trial_id) for trial_id in ("add-000", "add-001"))
        first = [reader.reports(trial_id)[0] for trial_id in ("add-000", "add-001")]
        facts = newest.facts
    assert (newest.lineage, earlier.lineage) == ("from 001 after epoch 3", "from 000 after epoch 1")
    assert (newest.trial.params["learning_rate"], earlier.trial.params["units"]) == (0.002, 9)
    assert facts is not None
    assert [(report.epoch, report.step) for report in first] == [(4, 180), (2, 90)]
    for trial_id in ("add-000", "add-001"):
        found = replay(folder, trial_id, Context(watcher=Silent()))
        assert found.is_same, list(found.lines())
        assert found.weights


@pytest.mark.slow
def test_an_ended_trial_is_cloned_by_resume_and_one_that_changes_nothing_gives_its_numbers(
    sweep: Callable[..., Path],
) -> None:
    folder = sweep({})
    assert "obeyed by:  python -m runner resume" in runner("clone latest 002 --at-epoch 2")
    runner("clone latest 002 units=5 --at-epoch 3")
    resume(folder, Asked(), Context(watcher=Silent()))
    runner("clone latest add-001 units=6 --at-epoch 2")  # before it began, and so from its parent
    resume(folder, Asked(), Context(watcher=Silent()))
    with JournalReader(folder) as reader:
        assert reader.trial("add-002").lineage == "from 002 after epoch 2"
        assert "units" in reader.trial("add-001").trial.searched
    own = {key: value for key, value in values(folder, "002").items() if key[0] in ("loss", "val_loss") and key[1] > 2}
    assert own.items() <= values(folder, "add-000").items()
    assert decisions(folder, "add-000") == [("add", "user"), ("clone", "user"), ("complete", "training")]


def test_a_replay_tells_where_a_record_differs(sweep: Callable[..., Path]) -> None:
    folder = sweep({}, "train.epochs=2", "search.max_trials=1")
    with closing(sqlite3.connect(folder / "journal.db")) as journal, journal:
        journal.execute("UPDATE metric SET value = value + 1e-9 WHERE key = 'val_loss' AND step = 2")
    found = replay(folder, "000", Context(watcher=Silent()))
    assert not found.is_same
    assert [line.split(" is ")[0] for line in found.lines()][1:2] == ["epoch 2: val_loss"]
    assert found.weights


def test_what_cannot_be_obeyed_is_refused_with_what_can(sweep: Callable[..., Path]) -> None:
    sweep({}, "train.epochs=1", "search.max_trials=1")
    assert "has ended: complete" in runner("stop latest 000", 2)
    assert "`resume --more-epochs N` trains it longer" in runner("continue latest 000", 2)
    assert "has no trial '007'" in runner("pause latest 007", 2)
    assert "unitz: the experiment has no such parameter; did you mean units?" in runner("add latest unitz=3", 2)
    assert "units: must be int; got 'x'" in runner("add latest units=x", 2)
    assert "write a number of trials, or a setting as key=value" in runner("add latest many", 2)
    assert "--at-epoch 5: trial 000 has trained 1 epochs" in runner("clone latest 000 units=4 --at-epoch 5", 2)
    assert "trained all of its 1 epochs: nothing is left for a clone" in runner("clone latest 000 units=4", 2)
    assert "0: adds no trial" in runner("add latest 0", 2)
    assert "a clone keeps its seed and training settings" in runner("clone latest 000 train.batch_size=4", 2)
    assert "unitz: the experiment has no such parameter" in runner("clone latest 000 unitz=4", 2)


@pytest.mark.slow
def test_a_sweep_that_a_target_ended_does_not_grow_by_itself_and_its_trials_can_go_on(
    sweep: Callable[..., Path],
) -> None:
    folder = sweep({}, "search.sampler=tpe", "search.max_trials=40", "search.target=99", "train.epochs=2")
    assert len(statuses(folder)) == 10
    assert {status for status, _ in statuses(folder).values()} == {"stopped"}
    resume(folder, Asked(), Context(watcher=Silent()))
    assert len(statuses(folder)) == 10
    runner(f"continue {folder.name} 003")
    resume(folder, Asked(), Context(watcher=Silent()))
    assert statuses(folder)["003"] == ("complete", 2)
    assert statuses(folder)["004"][0] == "stopped"


@pytest.mark.slow
def test_settings_that_join_a_halved_sweep_are_a_bracket_of_their_own_after_a_stop_too(
    sweep: Callable[..., Path],
) -> None:
    halved = ("search.stop=halving", "search.factor=2", "search.max_trials=4")
    commands = {2: ["add latest 4", "add latest units=9"]}
    undisturbed = statuses(sweep(commands, *halved))
    stopped = sweep({**commands, 3: ["stop latest"]}, *halved)
    assert "killed" in {status for status, _ in statuses(stopped).values()}
    resume(stopped, Asked(), Context(watcher=Silent()))
    assert statuses(stopped) == undisturbed
    assert undisturbed["add-000"] == ("complete", 4)
    assert sum(status == "complete" for status, _ in undisturbed.values()) == 3

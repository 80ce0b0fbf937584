"""The runner: its own fleet, journal and loop; without MLflow, as nothing else logs here."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.contestants import Result, Task
from benchmarks.journals import epoch_losses, open_journal
from runner.config import load_config
from runner.driver.check import check_members
from runner.driver.fleets import open_fleet
from runner.driver.prepare import Prepared, auto_settings, prepare
from runner.journal import JournalReader
from runner.loop import lockstep
from runner.loop.interfaces import Fleet
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.review.timeline import summarize
from runner.testing import NullWatcher

TIMINGS = Path(tempfile.gettempdir(), "lockstep-runner-bench-timings.json")


def train(task: Task) -> Result:
    """A sweep of K trials."""
    return train_prepared(prepare_task(task))


def train_auto(task: Task) -> Result:
    """As `train`, in stacks if the runner finds them faster."""
    return train_prepared(prepare_task(task, ["resources.stack=auto"]))


def train_processes(task: Task) -> Result:
    """Two workers, each with a trial at a time."""
    return train_prepared(prepare_task(task, ["resources.max_concurrent=2", "resources.stack=off"]))


def train_turns(task: Task) -> Result:
    """One worker, in which all trials take turns."""
    return train_prepared(prepare_task(task, ["resources.max_concurrent=1", "resources.stack=off", "schedule=rotate"]))


def prepare_task(task: Task, overrides: Sequence[str] = ()) -> Prepared:
    """The sweep of K trials that differ in their seed."""
    train = [f"train.epochs={task.epochs}", f"train.batch_size={task.workload.batch_size}"]
    seeds = "seed=" + ",".join(map(str, range(task.models)))
    arguments = [*train, seeds, *task.workload.settings, *overrides]
    return prepare(load_config(task.workload.path, arguments, config_dir=None))


def train_prepared(prepared: Prepared) -> Result:
    """Trains every trial of a sweep and tells where the time went.

    Checking, loading and auto are timed too; graph and XLA are compared by the first run on a machine only.
    """
    opened = time.perf_counter()
    with open_fleet(prepared, prepared.slots) as fleet, tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        prepared = decided(prepared, fleet)
        with open_journal(prepared, Path(folder)) as journal:
            checked = time.perf_counter()
            lockstep.Loop(schedule_of(prepared), Recovery(fleet, journal), journal, NullWatcher()).run()
            seconds = time.perf_counter() - began
        with JournalReader(Path(folder)) as reader:
            turns, barriers = reader.turns(), reader.barriers()
            losses = epoch_losses(reader)
    found = summarize(turns[0].turn.started_s, turns, barriers)
    assert found is not None
    train = prepared.trials[0].train
    notes = {
        "compile": train.compile,
        "stack": train.stack,
        "steps_per_round": train.steps_per_round,
        "rounds": len(barriers),
    }
    times = {"fleet_s": began - opened, "check_s": checked - began, **asdict(found)}
    return Result(seconds=seconds, total_s=began - opened + seconds, losses=losses, notes=notes | times)


def decided(
    prepared: Prepared, fleet: Fleet, timings: Path = TIMINGS, warn: Callable[[str], None] = lambda _: None
) -> Prepared:
    """The sweep with nothing left to `auto`; `warn` shows why trials are in no stack although one was wanted."""
    auto = auto_settings(prepared, fleet.check, timings)
    checked = check_members(prepared, auto.check)
    slots, wanted = len(prepared.slots), prepared.config.resources.stack
    trials = auto.decide(prepared.trials, checked, slots)
    if wanted != "off":
        epochs = {trial.member: trial.train.epochs for trial in trials}  # nothing compares them earlier
        trials, refusals = auto.stacked(trials, prepared.trials, checked, slots, wanted, epochs)
        for text in refusals:
            warn(text)
    return replace(prepared, trials=trials)


def schedule_of(prepared: Prepared) -> Schedule:
    """The schedule of a sweep without comparisons: trials queue, rotate, or fill their stacks."""
    rotates = prepared.config.schedule == "rotate"
    return Schedule(prepared.trials, prepared.slots, live=len(prepared.trials) if rotates else prepared.at_once)

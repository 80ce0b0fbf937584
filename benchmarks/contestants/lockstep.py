"""The runner: its own fleet, journal and loop; without MLflow, as nothing else logs here."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
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
            lockstep.Loop(
                Schedule(prepared.trials, prepared.slots), Recovery(fleet, journal), journal, NullWatcher()
            ).run()
            seconds = time.perf_counter() - began
        with JournalReader(Path(folder)) as reader:
            turns, barriers = reader.turns(), reader.barriers()
            losses = epoch_losses(reader)
    found = summarize(turns[0].turn.started_s, turns, barriers)
    assert found is not None
    train = prepared.trials[0].train
    notes = {"compile": train.compile, "steps_per_round": train.steps_per_round, "rounds": len(barriers)}
    times = {"fleet_s": began - opened, "check_s": checked - began, **asdict(found)}
    return Result(seconds=seconds, total_s=began - opened + seconds, losses=losses, notes=notes | times)


def decided(prepared: Prepared, fleet: Fleet) -> Prepared:
    """The sweep with nothing left to `auto`."""
    auto = auto_settings(prepared, fleet.check, TIMINGS)
    checked = check_members(prepared, auto.check)
    return replace(prepared, trials=auto.decide(prepared.trials, checked, len(prepared.slots)))

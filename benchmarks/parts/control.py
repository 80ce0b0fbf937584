"""W5: the driver alone. Workers that do nothing report five metrics a round, through real actors and a real journal."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.journals import open_journal
from benchmarks.parts import NotMeasuredError, Size
from benchmarks.workloads import WORKLOADS
from runner.config import load_config
from runner.driver.prepare import Prepared, prepare
from runner.fleet.ray import workers as fleet_workers
from runner.fleet.ray.fleet import RayFleet
from runner.loop import lockstep
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.records import Allocation, Epoch, Report, Slot, Turn, Work
from runner.testing import NullWatcher

_NOBODY = 0  # the process that the reports of `NoopWorker` name
_METRICS = {f"metric_{index}": 0.5 for index in range(5)}
_WARM_ROUNDS = 5


def _epochs(work: Work, now: float) -> tuple[Epoch, ...]:
    last = work.trial.train.epochs
    return (Epoch(number=last, metrics=_METRICS, ended_s=now),) if work.round + 1 == last else ()


class NoopWorker:
    """In the place of `RayWorker`: no TensorFlow, no step, a report at once."""

    def gpus(self) -> tuple[str, ...]:
        """None."""
        return ()

    def start(self, allocation: Allocation) -> Any:
        """A process that is ready."""
        import os
        from types import SimpleNamespace

        from runner.host.processes import start_of

        del allocation
        return SimpleNamespace(pid=os.getpid(), started=start_of(os.getpid()))

    def load(self, trial: Any) -> None:
        """There is no data."""

    def advance(self, work: Sequence[Work], *_: Any) -> dict[str, Report]:
        """A report of one step for each trial."""
        now = time.time()
        turn = Turn(pid=_NOBODY, started_s=now, ended_s=now, compute_s=0.0)
        return {
            item.trial.id: Report(
                trial_id=item.trial.id,
                round=item.round,
                step=item.round + 1,
                epoch=item.trial.train.epochs if item.round + 1 == item.trial.train.epochs else 0,
                running=_METRICS,
                epochs=_epochs(item, now),
                turn=turn,
            )
            for item in work
        }

    def export(self, trial: Any, best: bool, folder: Any = None) -> Any:
        """An empty model."""
        from runner.records import Export

        return Export(trial_id=trial.id, model=b"", weights=b"")


def measure(size: Size) -> dict[str, float]:
    """Milliseconds of a round by number of workers, and how they grow.

    Raises:
        NotMeasuredError: a worker with TensorFlow took part.
    """
    counts = {"full": (1, 2, 4, 8, 16, 32, 64, 128), "quick": (2, 16), "short": (2,)}[size]
    found = {str(count): _round_ms(count, 100 if size == "full" else 30) for count in counts}
    numbers = {f"round_ms_{count}": ms for count, ms in found.items()}
    if size == "full":
        numbers["growth_16_to_128"] = found["128"] / found["16"] / 8  # 1: proportional; less: a fixed part remains
    return numbers


def _round_ms(workers: int, rounds: int) -> float:
    prepared = _prepared(workers, rounds + _WARM_ROUNDS)
    cpus = max(1, workers // 10)
    replaced = mock.patch.object(fleet_workers, "RayWorker", NoopWorker)
    with replaced, RayFleet(prepared.slots, address=None, cpus=cpus) as fleet:
        with tempfile.TemporaryDirectory() as folder, open_journal(prepared, Path(folder)) as journal:
            clock = Clock()
            lockstep.Loop(Schedule(prepared.trials, prepared.slots), Recovery(fleet, journal), journal, clock).run()
    return 1000 * (clock.times[-2] - clock.times[_WARM_ROUNDS]) / (len(clock.times) - _WARM_ROUNDS - 2)


class Clock(NullWatcher):
    """Notes when each barrier was over.

    Raises:
        NotMeasuredError: from `show`, where a real worker reports.
    """

    def __init__(self) -> None:
        self.times: list[float] = []

    def show(self, reports: Any, verdicts: Any) -> None:
        self.times.append(time.perf_counter())
        pids = {report.turn.pid for report in reports.values() if isinstance(report, Report)}
        if pids != {_NOBODY}:
            raise NotMeasuredError(f"control: processes {sorted(pids)} reported, not {NoopWorker.__name__}")


def _prepared(workers: int, rounds: int) -> Prepared:
    seeds = "seed=" + ",".join(map(str, range(workers)))
    arguments = [seeds, f"train.epochs={rounds}", "resources.max_concurrent=1"]
    prepared = prepare(load_config(WORKLOADS["W1"].path, arguments, config_dir=None))
    allocation = replace(prepared.slots[0].allocation, num_cpus=0.05)
    slots = tuple(Slot(index=index, allocation=allocation) for index in range(workers))
    return replace(prepared, slots=slots)

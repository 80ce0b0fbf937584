"""The lockstep tax: the same workers with a barrier between rounds, and each at its own pace."""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contestants import Task
from benchmarks.contestants.lockstep import decided, prepare_task
from benchmarks.journals import open_journal
from benchmarks.parts import NotMeasuredError, Size
from benchmarks.workloads import WORKLOADS
from runner.driver.fleets import open_fleet
from runner.driver.prepare import Prepared
from runner.journal import JournalReader
from runner.loop import lockstep
from runner.loop.interfaces import Fleet
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.records import Slot, Trial
from runner.testing import NullWatcher


def measure(size: Size) -> dict[str, float]:
    """Seconds of both, taken in turns on the same processes, and the share that the barrier costs.

    Raises:
        NotMeasuredError: trials did not meet at barriers.
    """
    task = Task(workload=WORKLOADS["W2"], models=4 if size == "full" else 2, epochs=4 if size == "full" else 2)
    # An epoch a turn, which `auto` gives here too, unless all epochs are so short that they become one turn.
    prepared = prepare_task(task, [f"train.steps_per_round={task.workload.steps_per_epoch}"])
    together, apart = [], []
    with open_fleet(prepared, prepared.slots) as fleet:
        prepared = decided(prepared, fleet)
        _train(prepared, fleet, [(prepared.trials, prepared.slots)])  # everything is traced before the clock starts
        for _ in range({"full": 9, "quick": 2, "short": 1}[size]):
            together.append(_train(prepared, fleet, [(prepared.trials, prepared.slots)]))
            apart.append(_train(prepared, fleet, _by_slot(prepared)))
    tax = [with_barrier / without - 1 for with_barrier, without in zip(together, apart, strict=True)]
    return {"lockstep_s": min(together), "apart_s": min(apart), "tax": sorted(tax)[len(tax) // 2]}


def _by_slot(prepared: Prepared) -> list[tuple[tuple[Trial, ...], tuple[Slot, ...]]]:
    slots = prepared.slots
    return [(prepared.trials[index :: len(slots)], (slot,)) for index, slot in enumerate(slots)]


def _train(prepared: Prepared, fleet: Fleet, groups: list[tuple[tuple[Trial, ...], tuple[Slot, ...]]]) -> float:
    """Trains each group in a loop of its own, all at once, with a journal of its own."""
    with ExitStack() as stack, ThreadPoolExecutor(len(groups)) as pool:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in groups]
        journals = [stack.enter_context(open_journal(prepared, folder)) for folder in folders]
        began = time.perf_counter()
        runs = [
            pool.submit(lockstep.Loop(Schedule(trials, slots), Recovery(fleet, journal), journal, NullWatcher()).run)
            for (trials, slots), journal in zip(groups, journals, strict=True)
        ]
        for run in runs:
            run.result()
        seconds = time.perf_counter() - began
        for folder, (trials, _) in zip(folders, groups, strict=True):
            with JournalReader(folder) as reader:
                check_turns(len(reader.turns()), sum(trial.train.epochs for trial in trials))
        return seconds


def check_turns(turns: int, expected: int) -> None:
    """Raises `NotMeasuredError` unless every epoch of every trial was a turn."""
    if turns != expected:
        raise NotMeasuredError(f"barrier: {turns} turns, not {expected}, one for each epoch of each trial")

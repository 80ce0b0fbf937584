"""Turns: eight trials that take turns in one worker against the same trials one after another in it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contestants import Task
from benchmarks.contestants.lockstep import decided, prepare_task
from benchmarks.journals import open_journal
from benchmarks.parts import Size
from benchmarks.parts.rotation import check_swaps
from benchmarks.workloads import WORKLOADS
from runner.driver.fleets import open_fleet
from runner.driver.prepare import Prepared
from runner.journal import JournalReader, TurnRow
from runner.loop import lockstep
from runner.loop.interfaces import Fleet
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.testing import NullWatcher

_EPOCHS = {"W1": 96, "W3": 24}  # some seconds of each trial, which make several turns
_TRAIN = {
    "W1": ("train.compile=xla",),  # the faster steps are, the more a swap counts
    "W3": ("train.compile=graph", "train.steps_per_epoch=5"),
}


def measure(size: Size) -> dict[str, float]:
    """For W1 (MLP) and W3 (CNN): what turns cost, one after another being 1, and the share of swaps in them.

    Raises:
        NotMeasuredError: no states were swapped.
    """
    models, repeats = (2, 1) if size == "short" else (8, 3)
    found: dict[str, float] = {}
    for name in _EPOCHS:
        found |= {f"{key}_{name}": value for key, value in _compare(name, models, repeats).items()}
    return found


def _compare(workload: str, models: int, repeats: int) -> dict[str, float]:
    """Alternates both ways on one fleet; counts CPU seconds, the least of each, as other processes disturb the rest."""
    task = Task(workload=WORKLOADS[workload], models=models, epochs=_EPOCHS[workload])
    one_worker = ("fleet.kind=local", "resources.max_concurrent=1", "resources.num_gpus=0")
    prepared = prepare_task(task, [*one_worker, *_TRAIN[workload]])
    taken_s: dict[int, list[float]] = {1: [], models: []}
    shares: list[float] = []
    with open_fleet(prepared, prepared.slots) as fleet:
        prepared = decided(prepared, fleet)
        for _ in range(repeats):
            for live in taken_s:
                seconds, turns = _train(prepared, fleet, live)
                taken_s[live].append(seconds)
            swaps = [turn.turn.swap_s for turn in turns if turn.round > 0]  # the first turn also seats
            check_swaps(swaps, expected=max(models, len(swaps)))
            shares.append(sum(swaps) / seconds)
    return {"ratio": min(taken_s[models]) / min(taken_s[1]), "swap_share": max(shares)}


def _train(prepared: Prepared, fleet: Fleet, live: int) -> tuple[float, Sequence[TurnRow]]:
    """CPU seconds of a whole sweep with so many live trials, which is all in this process, and its turns."""
    with tempfile.TemporaryDirectory() as name:
        schedule = Schedule(prepared.trials, prepared.slots, live)
        with open_journal(prepared, Path(name)) as journal:
            began = time.process_time()
            lockstep.Loop(schedule, Recovery(fleet, journal), journal, NullWatcher()).run()
            seconds = time.process_time() - began
        with JournalReader(Path(name)) as reader:
            return seconds, reader.turns()

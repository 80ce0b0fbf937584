"""Rotation: sixteen trials of one architecture on two slots; how much of a round is the swapping of their states."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contestants import Task
from benchmarks.contestants.lockstep import decided, prepare_task
from benchmarks.journals import open_journal
from benchmarks.parts import NotMeasuredError, Size
from benchmarks.workloads import WORKLOADS
from runner.driver.fleets import open_fleet
from runner.journal import JournalReader
from runner.loop import lockstep
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.testing import NullWatcher

_NO_SWAP_S = 5e-5  # a swap of the smallest model takes ten times as long, finding that there is none a tenth


def measure(size: Size) -> dict[str, float]:
    """The share of all turns, of an epoch each, that swapping takes, for W1 and W2; `auto` makes longer ones.

    Raises:
        NotMeasuredError: no states were swapped.
    """
    epochs, models = 4 if size == "full" else 2, 4 if size == "short" else 16
    return {f"swap_share_{name}": _swap_share(name, epochs, models) for name in ("W1", "W2")}


def _swap_share(workload: str, epochs: int, models: int) -> float:
    task = Task(workload=WORKLOADS[workload], models=models, epochs=epochs)
    prepared = prepare_task(task, [f"train.steps_per_round={task.workload.steps_per_epoch}"])
    with open_fleet(prepared, prepared.slots) as fleet, tempfile.TemporaryDirectory() as name:
        prepared = decided(prepared, fleet)
        schedule = Schedule(prepared.trials, prepared.slots, live=models)
        with open_journal(prepared, Path(name)) as journal:
            lockstep.Loop(schedule, Recovery(fleet, journal), journal, NullWatcher()).run()
        with JournalReader(Path(name)) as reader:
            turns = [turn for turn in reader.turns() if turn.round > 0]  # the first also seats
    check_swaps([turn.turn.swap_s for turn in turns], models * (epochs - 1))
    return float(sum(t.turn.swap_s for t in turns) / sum(t.turn.ended_s - t.turn.started_s for t in turns))


def check_swaps(swaps_s: Sequence[float], expected: int) -> None:
    """Raises `NotMeasuredError` unless `expected` turns, and no others, began with a swap."""
    swapped = sum(seconds > _NO_SWAP_S for seconds in swaps_s)
    if not swapped == len(swaps_s) == expected:
        raise NotMeasuredError(f"rotation: {swapped} of {len(swaps_s)} turns swapped, not {expected}")

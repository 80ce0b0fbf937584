"""`python -m benchmarks.commits`: the journal's commit at a barrier, with and without the metrics of the sweep itself.

Eight trials report an epoch of four metrics each at every barrier; the others of the sweep wait. Both journals are
written in turns, so that the machine's other load is the same for both.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from benchmarks.contestants import Task
from benchmarks.contestants.lockstep import prepare_task
from benchmarks.journals import open_journal
from benchmarks.workloads import WORKLOADS
from runner.driver.prepare import Prepared
from runner.journal import SqliteJournal
from runner.journal.standing import Standing
from runner.records import Epoch, Report, Trial, Turn, Work

_LIVE = 8
_METRICS = {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.6, "val_accuracy": 0.7}


@dataclass(frozen=True, kw_only=True, slots=True)
class Commits:
    """Milliseconds of a commit, the median of the last quarter of the barriers."""

    trials: int
    rounds: int
    without_ms: float
    with_ms: float

    def __str__(self) -> str:
        return (
            f"{self.trials} trials, {self.rounds} barriers: {self.without_ms:.2f} ms without the sweep's own metrics, "
            f"{self.with_ms:.2f} ms with them, {self.with_ms / self.without_ms:.2f} times"
        )


def measure(trials: int, rounds: int) -> Commits:
    """Commits so many barriers of a sweep of so many trials to two journals."""
    prepared = prepare_task(Task(workload=WORKLOADS["W1"], models=trials, epochs=1))
    found: dict[bool, list[float]] = {False: [], True: []}
    with ExitStack() as stack:
        journals = {is_with: _opened(prepared, stack) for is_with in found}
        live = prepared.trials[:_LIVE]
        for number in range(rounds):
            for is_with, journal in journals.items():
                with ExitStack() as off:
                    if not is_with:
                        off.enter_context(mock.patch.object(Standing, "metrics", return_value={}))
                    found[is_with].append(_commit_s(journal, live, number))
    tail = -max(1, rounds // 4)
    without_s, with_s = (statistics.median(found[is_with][tail:]) for is_with in (False, True))
    return Commits(trials=trials, rounds=rounds, without_ms=1000 * without_s, with_ms=1000 * with_s)


def _opened(prepared: Prepared, stack: ExitStack) -> SqliteJournal:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    journal = stack.enter_context(open_journal(prepared, folder))
    journal.assign({0: tuple(Work(trial=trial, round=0) for trial in prepared.trials[:_LIVE])})
    return journal


def _commit_s(journal: SqliteJournal, live: Sequence[Trial], number: int) -> float:
    now = time.time()
    turn = Turn(pid=0, started_s=now, ended_s=now, compute_s=0.0)
    epoch = Epoch(number=number + 1, metrics=_METRICS, ended_s=now)
    reports = {
        trial.id: Report(
            trial_id=trial.id, round=number, step=number + 1, epoch=number + 1, running={}, epochs=(epoch,), turn=turn
        )
        for trial in live
    }
    began = time.perf_counter()
    journal.commit(reports, {}, {})
    return time.perf_counter() - began


def main() -> None:
    """Prints a line for each size."""
    for trials, rounds in ((8, 200), (40, 200), (200, 200), (2000, 200), (8, 2000)):
        print(measure(trials, rounds), flush=True)


if __name__ == "__main__":
    main()

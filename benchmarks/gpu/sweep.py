"""The rate of the runner's own workers, driven by its loop and journal, without MLflow."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from benchmarks.contestants.lockstep import decided, schedule_of
from benchmarks.gpu.cases import IN_PROCESSES, Case
from benchmarks.gpu.figures import Row, figures
from benchmarks.gpu.window import Window
from benchmarks.journals import open_journal
from benchmarks.workloads import ROOT, WORKLOADS
from runner.config import Config, load_config
from runner.driver.fleets import open_fleet
from runner.driver.mps import with_daemon
from runner.driver.mps_proof import proven
from runner.driver.prepare import Prepared, prepare
from runner.driver.train import make_shares
from runner.errors import RunnerError
from runner.journal import BarrierRow, JournalReader, TurnRow
from runner.loop.lockstep import Loop
from runner.loop.recovery import Recovery
from runner.records import Failure, Report, Trial, Verdict
from runner.testing import NullWatcher

_EPOCHS = 10_000  # of each trial, of which the window ends all but some; so many that compiling pays off
_ROUND_S = 1.5  # about what a round of trials in turns shall take


class NotMeasuredError(RunnerError):
    """A case was not measured as it says."""


def measure(case: Case, window: Window, timings: Path) -> Row:
    """The figures of a sweep that ends when the window is full, at a barrier.

    Args:
        case: the case.
        window: empty.
        timings: keeps the step times of graphs and XLA from case to case.

    Raises:
        NotMeasuredError: a trial failed, is in no stack, or computes without MPS.
    """
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        watcher = _Marking(window)
        config = config_of(case)
        prepared = with_daemon(lambda mps: prepare(config, mps=mps), ending, watcher.refuse)
        if case.how not in IN_PROCESSES:
            prepared = in_one_worker(prepared)
        fleet = ending.enter_context(open_fleet(prepared, prepared.slots))
        began = time.perf_counter()
        prepared = decided(prepared, fleet, timings, watcher.refuse)
        if case.how == "in turns":
            prepared = replace(prepared, trials=tuple(with_short_turns(one, case) for one in prepared.trials))
        check_s = time.perf_counter() - began
        with open_journal(prepared, folder) as opened:
            journal = proven(opened, prepared.mps, make_shares(prepared), watcher.refuse)
            recovery = Recovery(fleet, journal)
            Loop(schedule_of(prepared), recovery, journal, watcher, stopping=lambda: window.is_full).run()
        watcher.check(stacked=case.models if case.how == "stacked" else 1)
        with JournalReader(folder) as reader:
            return _figures(prepared, window, reader.turns(), reader.barriers(), check_s)


def config_of(case: Case) -> Config:
    """The config of a case's sweep."""
    workload, share = WORKLOADS[case.workload], f"{1 / case.models:g}"
    together = case.how in IN_PROCESSES
    overrides = [
        f"seed={','.join(map(str, range(case.models)))}",
        f"params.rows={case.rows}",
        f"train.epochs={_EPOCHS}",
        f"train.batch_size={case.batch_size}",
        f"train.compile={case.compile}",
        f"resources.stack={case.models if case.how == 'stacked' else 'off'}",
        f"resources.max_concurrent={case.models if together else 1}",
        f"resources.num_gpus={(share if together else 1) if case.gpu else 0}",
        f"resources.mps={'on' if case.how == 'MPS' else 'off'}",
        f"schedule={'rotate' if case.how == 'in turns' else 'queue'}",
        "recovery.snapshot_every_s=null",
    ]
    return load_config(str(ROOT / workload.path), overrides, config_dir=None)


def in_one_worker(prepared: Prepared) -> Prepared:
    """The sweep with all trials in its one worker, whose states stay on the GPU while they wait."""
    (slot,) = prepared.slots
    places = len(prepared.trials) if slot.allocation.gpus else 1
    return replace(prepared, slots=(replace(slot, allocation=replace(slot.allocation, places=places)),))


def with_short_turns(trial: Trial, case: Case) -> Trial:
    """The trial with turns that make rounds of about `_ROUND_S`, because `auto` makes turns of a second at most."""
    length = -(-case.rows // case.batch_size)
    steps = trial.train.steps_per_round or trial.train.epochs_per_round * length
    shorter = max(1, min(steps, int(steps * _ROUND_S / case.models)))
    if shorter >= length:
        return replace(trial, train=replace(trial.train, steps_per_round=None, epochs_per_round=shorter // length))
    return replace(trial, train=replace(trial.train, steps_per_round=shorter, epochs_per_round=1))


class _Marking(NullWatcher):
    """Marks every barrier, and keeps what was not as it should be."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._problems: dict[str, None] = {}
        self._stacks: set[int] = set()

    def refuse(self, text: str) -> None:
        """Takes a warning of the runner for a reason why the case was not measured."""
        self._problems[text] = None

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """As `Watcher.show`."""
        self._window.mark()
        for report in reports.values():
            if isinstance(report, Failure):
                self.refuse(f"{report.kind}: {report.message}")
            elif report.facts is not None:
                self._stacks.add(report.facts.stack)
                if report.facts.stack_reason:
                    self.refuse(report.facts.stack_reason)

    def check(self, stacked: int) -> None:
        """Raises `NotMeasuredError` unless all went well, in stacks of this size."""
        if self._stacks != {stacked}:
            self.refuse(f"trials trained in stacks of {sorted(self._stacks)}, not of {stacked}")
        if self._problems:
            raise NotMeasuredError("; ".join(self._problems))


def _figures(
    prepared: Prepared, window: Window, turns: Sequence[TurnRow], barriers: Sequence[BarrierRow], check_s: float
) -> Row:
    """The figures; what came before the window are the check and the first round."""
    before = sum(turn.step for turn in turns if turn.round == 0)
    steps = sum(max(turn.step for turn in turns if turn.trial == trial.id) for trial in prepared.trials) - before
    slots = len(prepared.slots)
    peaks = [max(turn.turn.gpu_memory_mib for turn in turns if turn.slot == slot) for slot in range(slots)]
    swaps_s = sum(turn.turn.swap_s for turn in turns if turn.round > 0)
    return figures(
        window,
        steps=steps,
        before_s=check_s + barriers[0].ended_s - barriers[0].began_s,
        steps_before=before,
        gpu_peak_mib=sum(peaks) if any(slot.allocation.gpus for slot in prepared.slots) else None,
        compile=prepared.trials[0].train.compile,
        check_s=round(check_s, 2),
        swap_share=round(swaps_s / slots / window.seconds, 4),
        slots=slots,
    )

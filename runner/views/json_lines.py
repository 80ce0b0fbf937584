"""A sweep as JSON, one object a line, for other programs. `docs/terminal.md` describes every event."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from runner.records import Clone, Failure, Report, Trial, Verdict
from runner.views.progress import Progress

FORMAT = 1
_WAITING_S = 10.0  # between two events about what is awaited


class JsonLines:
    """A watcher that writes events.

    Args:
        write: writes one line.
        clock: seconds since the epoch.
    """

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.time) -> None:
        self._write, self._clock = write, clock

    def event(self, name: str, **fields: object) -> None:
        """Writes one event; numbers that are not finite are text, because JSON has no such numbers."""
        moment = self._clock()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment)) + f".{int(moment % 1 * 1000):03}Z"
        values = {key: _plain(one) for key, one in fields.items()}
        self._write(json.dumps({"event": name, "time": stamp, **values}, default=str))

    def began(self, folder: Path) -> None:
        """Says that a sweep has its folder."""
        self.event("sweep_started", format=FORMAT, sweep=folder.name, folder=str(folder))

    def say(self, text: str, *, dim: bool = False) -> None:
        """As `SweepWatcher.say`."""
        self.event("news", text=text)

    def warn(self, text: str) -> None:
        """As `SweepWatcher.warn`."""
        self.event("warning", text=text.removeprefix("warning: "))

    @contextmanager
    def rounds(self, progress: Progress) -> Iterator[JsonRounds]:
        """As `SweepWatcher.rounds`."""
        yield JsonRounds(self, progress)

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        """As `SweepWatcher.waiting`."""
        said = [-math.inf]

        def show(text: str) -> None:
            if self._clock() - said[0] >= _WAITING_S:
                said[0] = self._clock()
                self.event("waiting", text=text)

        yield show


class JsonRounds:
    """Writes an event as each trial starts, has a turn, and ends, and one for each round."""

    def __init__(self, lines: JsonLines, progress: Progress) -> None:
        self._lines, self._progress = lines, progress

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def begin(self, trial_ids: Sequence[str]) -> None:
        """As `Watcher.begin`."""
        new = [trial_id for trial_id in trial_ids if self._progress.rows[trial_id].state == "queued"]
        self._progress.begin(trial_ids)
        for trial in (self._progress.rows[trial_id].trial for trial_id in new):
            settings = {name: trial.settings.get(name) for name in trial.searched if name not in trial.inactive}
            self._lines.event(
                "trial_started", trial=trial.id, settings=settings, seed=trial.seed, epochs=trial.train.epochs
            )

    def add(self, trials: Sequence[Trial]) -> None:
        """As `Watcher.add`."""
        self._progress.add(trials)

    def clone(self, trial: Trial, clone: Clone) -> None:
        """As `Watcher.clone`."""
        self._progress.clone(trial, clone)
        values = dict(clone.values)
        self._lines.event("trial_cloned", trial=trial.id, parent=clone.parent, epoch=clone.epoch, values=values)

    def show(self, reports: Mapping[str, Report | Failure], verdicts: Mapping[str, Verdict]) -> None:
        """As `Watcher.show`."""
        self._progress.update(reports, verdicts)
        for trial_id, report in reports.items():
            epochs = [{"epoch": one.number, "metrics": dict(one.metrics)} for one in report.epochs]
            if isinstance(report, Report):
                place = {"round": report.round + 1, "epoch": report.epoch, "step": report.step}
                self._lines.event("turn", trial=trial_id, **place, loss=report.running.get("loss"), epochs=epochs)
        for row in (self._progress.rows[trial_id] for trial_id, verdict in verdicts.items() if verdict.ends):
            self._lines.event(
                "trial_ended",
                trial=row.trial.id,
                status=row.state,
                metric=self._progress.metric,
                score=row.score,
                epoch=row.epoch,
                reason=row.message,
            )
        self._lines.event("progress", **progress_fields(self._progress))


def progress_fields(progress: Progress) -> dict[str, object]:
    """How far a sweep is: trials by state, the share of steps, seconds left, and whether these are an upper bound."""
    return {
        "trials": progress.expected,
        "states": dict(progress.counts()),
        "share": round(progress.share_done(), 4),
        "seconds_left": progress.eta_s(),
        "is_upper_bound": progress.is_upper_bound,
        "steps_per_s": progress.steps_per_s(),
    }


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value

"""A sweep that runs in the background of a Python program."""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401 - it cannot be imported any more once the program ends
import html
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from runner.api.contexts import check_progress, only_one
from runner.api.result import Result
from runner.driver.context import Context, SweepWatcher
from runner.errors import ConfigError
from runner.host.signals import StopRequest
from runner.loop.interfaces import Watcher
from runner.views.progress import Progress
from runner.views.watchers import ProgressKind, watcher_for

if TYPE_CHECKING:
    from runner.config import Config


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepProgress:
    """How far a sweep has come.

    Args:
        phase: "starting" until its folder is made, then "training", "ending" while MLflow gets the rest, "ended".
        trials: how many there are so far.
        ended: how many of them have ended.
        share: of all steps of these trials that is done, from 0 to 1.
        metric: what ranks the trials; None while the sweep starts.
        best: the best value of the metric so far, of the first member of a mixed sweep; None without one.
        best_trial: the id of its trial.
        seconds_left: at the present speed; None if that is not known.
    """

    phase: str = "starting"
    trials: int = 0
    ended: int = 0
    share: float = 0.0
    metric: str | None = None
    best: float | None = None
    best_trial: str | None = None
    seconds_left: float | None = None

    @classmethod
    def of(cls, phase: str, progress: Progress | None) -> SweepProgress:
        """What is shown of a sweep in this phase."""
        if progress is None:
            return cls(phase=phase)
        rows, leaders = list(progress.rows.values()), progress.best_so_far()
        return cls(
            phase=phase,
            trials=len(rows),
            ended=sum(row.has_ended for row in rows),
            share=progress.share_done(),
            metric=progress.metric,
            best=leaders[0].score if leaders else None,
            best_trial=leaders[0].trial.id if leaders else None,
            seconds_left=progress.eta_s() if phase == "training" else None,
        )

    def __str__(self) -> str:
        if not self.trials:
            return self.phase
        best = "" if self.best is None else f", best {self.metric} {self.best:.4g} (trial {self.best_trial})"
        left = "" if self.seconds_left is None else f", {self.seconds_left:.0f} s left"
        trials = f"{self.ended} of {self.trials} trials ended"
        return f"{self.phase}, {trials}, {self.share:.0%} of the steps done{best}{left}"


class RunningSweep:
    """A sweep in a thread of this process, whose trials Ray's workers train. A program that ends waits for it.

    Args:
        context: of the sweep; what follows it is followed here too.
        train: trains it, with the context that it is given.
        ended: called in the thread when it has ended, however that was.
    """

    def __init__(self, context: Context, train: Callable[[Context], object], ended: Callable[[], None]) -> None:
        self._followed, self._stop = _Followed(context.watcher), context.stop
        self._train, self._ended = train, ended
        self._context = replace(context, watcher=self._followed, began=self._take_folder)
        self._phase = "starting"
        self._folder: Path | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="sweep")
        self._thread.start()
        # A program that ends waits here, before its executors close, which the sweep needs. Python 3.11 to 3.14.
        threading._register_atexit(self._thread.join)  # type: ignore[attr-defined]

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self._thread.is_alive()

    @property
    def progress(self) -> SweepProgress:
        """How far it has come."""
        phase = "ending" if self._followed.has_trained and self._phase == "training" else self._phase
        return SweepProgress.of(phase, self._followed.progress)

    def stop(self) -> None:
        """Stops it after its present step, with snapshots, as Ctrl-C does; returns at once. `resume` continues it."""
        self._stop.make()

    def wait(self) -> None:
        """Waits until it has ended, however that is."""
        self._thread.join()

    def result(self, timeout_s: float | None = None) -> Result:
        """The sweep, once it has ended; what was trained until then if `stop` has ended it.

        Args:
            timeout_s: most seconds to wait; None for no limit.

        Raises:
            TimeoutError: it has not ended by then.
            RunnerError: as for `sweep`.
            KeyboardInterrupt: it was stopped before it had a folder.
        """
        self._thread.join(timeout_s)
        if self.is_running:
            raise TimeoutError(f"the sweep has not ended after {timeout_s:g} s: {self.progress}")
        if self._error is not None and (self._folder is None or not isinstance(self._error, KeyboardInterrupt)):
            raise self._error
        assert self._folder is not None, "a sweep that ends without an error has a folder"
        return Result(self._folder)

    def __repr__(self) -> str:
        name = "" if self._folder is None else f" {self._folder.name}"
        return f"<running sweep{name}: {self.progress}>"

    def _repr_html_(self) -> str:
        bar = f'<progress value="{self.progress.share:.4f}" max="1" style="width:55ch"></progress>'
        return f"<p>{html.escape(repr(self))}</p>{bar}"

    def _run(self) -> None:
        try:
            self._train(self._context)
        except BaseException as err:  # of the thread; `result` raises it
            self._error = err
            if not isinstance(err, KeyboardInterrupt):
                logging.getLogger("runner").error("the sweep in the background has failed: %s", err)
        finally:
            self._phase = "ended"
            self._ended()

    def _take_folder(self, folder: Path) -> None:
        self._folder, self._phase = folder, "training"


def in_background(config: Config, progress: ProgressKind, train: Callable[[Context], object]) -> RunningSweep:
    """Starts to train a sweep in a thread of its own.

    Args:
        config: of the sweep.
        progress: what is shown.
        train: trains it.

    Raises:
        ConfigError: it would be trained in this process, whose state it changes.
        RunnerError: this process trains a sweep already.
    """
    if config.fleet.kind == "local":
        raise ConfigError(
            "argument: block=False with fleet.kind=local would train in this process, and change Keras' global state "
            "while the program goes on; leave fleet.kind at ray"
        )
    check_progress(progress)
    with ExitStack() as stack:
        stack.enter_context(only_one())
        watcher = watcher_for(progress, in_background=True)
        context = Context(watcher=watcher, stop=StopRequest(), environment=dict(os.environ))
        return RunningSweep(context, train, stack.pop_all().close)


class _Followed:
    """Passes on what a watcher is shown, and keeps the progress."""

    def __init__(self, watcher: SweepWatcher) -> None:
        self._watcher = watcher
        self.progress: Progress | None = None
        self.has_trained = False

    def say(self, text: str, *, dim: bool = False) -> None:
        """As `SweepWatcher.say`."""
        self._watcher.say(text, dim=dim)

    def warn(self, text: str) -> None:
        """As `SweepWatcher.warn`."""
        self._watcher.warn(text)

    @contextmanager
    def rounds(self, progress: Progress) -> Iterator[Watcher]:
        """As `SweepWatcher.rounds`."""
        self.progress = progress
        try:
            with self._watcher.rounds(progress) as view:
                yield view
        finally:
            self.has_trained = True

    def waiting(self) -> AbstractContextManager[Callable[[str], None]]:
        """As `SweepWatcher.waiting`."""
        return self._watcher.waiting()

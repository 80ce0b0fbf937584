"""What can be asked of a sweep while it runs, in this process or another; of an ended one, before it is resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import TrialEndedError
from runner.journal import TrialRecord, inbox, is_locked
from runner.journal.inbox import Request, RequestKind
from runner.review.catalog import open_review


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A request that waits for the sweep's next barrier, or for `resume`.

    Args:
        sweep: the sweep's id.
        what: the request, in words.
        running: whether a process runs the sweep, which obeys at its next barrier.
        kind: of the request.
    """

    sweep: str
    what: str
    running: bool
    kind: RequestKind

    def __str__(self) -> str:
        when = "the sweep obeys at its next barrier"
        if not self.running:
            resumes = f"obeyed by:  python -m runner resume {self.sweep}"
            when = "the sweep is not running" if self.kind == "stop" else resumes
        return f"{self.sweep}: {self.what}: {when}"


def ask(folder: Path, kind: RequestKind, trial_ids: Sequence[str]) -> Asked:
    """Asks to stop the sweep or some of its trials, or to pause or continue some.

    Args:
        folder: the sweep's.
        kind: `stop`, `pause` or `continue`.
        trial_ids: the trials; empty for the sweep.

    Raises:
        SweepNotFoundError: there is no such trial.
        TrialEndedError: a trial has ended, so that this can never be done.
    """
    review = open_review(folder)
    trials = [trial for trial_id in trial_ids for trial in review.chosen(trial_id)]
    for trial in trials:
        _check(kind, trial)
    inbox.ask(folder, [Request(kind=kind, trial_id=trial.id) for trial in trials] or [Request(kind=kind)])
    what = f"{kind} of {', '.join(trial.id for trial in trials)}" if trials else kind
    ended = [trial.id for trial in trials if trial.status == "stopped"]
    if ended:
        what += (
            f" ({', '.join(ended)} {'have' if ended[1:] else 'has'} stopped, and will go on when the sweep is resumed)"
        )
    return _asked(folder, what, kind)


def add(folder: Path, what: int | Mapping[str, object], member: str | None) -> Asked:
    """Asks for more trials.

    Args:
        folder: the sweep's.
        what: how many trials of the search, or the values of one setting.
        member: of a mixed sweep.

    Raises:
        ConfigError: the sweep has no such member or parameter, or would have too many trials.
    """
    from runner.driver.requests import request_to_add

    inbox.ask(folder, [request_to_add(folder, what, member)])
    shown = str(what) if isinstance(what, int) else _shown(what)
    return _asked(folder, f"add {shown}", "add")


def clone(folder: Path, trial_id: str, changes: Mapping[str, object], at_epoch: int | None) -> Asked:
    """Asks for a trial that goes on from the state of another one.

    Args:
        folder: the sweep's.
        trial_id: whose state it is.
        changes: values that it has instead.
        at_epoch: after which the other trial had this state; None for its newest.

    Raises:
        SweepNotFoundError: there is no such trial.
        ConfigError: the trial has not trained so far, or a value cannot be changed.
    """
    from runner.driver.requests import request_to_clone

    (parent,) = open_review(folder).chosen(trial_id)
    inbox.ask(folder, [request_to_clone(folder, parent.id, changes, at_epoch)])
    return _asked(folder, f"clone of {parent.id}", "clone")


def _check(kind: RequestKind, trial: TrialRecord) -> None:
    """Refuses what can never be obeyed.

    Raises:
        TrialEndedError: the trial has ended, and the request is for one that has not, or cannot go on.
    """
    ended = trial.status in ("complete", "stopped", "failed")
    if kind != "continue" and ended:
        raise TrialEndedError(f"trial {trial.id} has ended: {trial.status}")
    if kind == "continue" and trial.status == "complete":
        raise TrialEndedError(f"trial {trial.id} is complete; `resume --more-epochs N` trains it longer")
    if kind == "continue" and trial.status == "failed":
        raise TrialEndedError(f"trial {trial.id} has failed; `resume --retry-failed` tries it again")
    if kind == "continue" and trial.diverged:
        raise TrialEndedError(f"trial {trial.id} has diverged; it cannot go on")


def _shown(values: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def _asked(folder: Path, what: str, kind: RequestKind) -> Asked:
    return Asked(sweep=folder.name, what=what, running=is_locked(folder), kind=kind)

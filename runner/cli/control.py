"""The verbs that ask something of a sweep that another process runs: `stop`, `pause`, `continue`, `add`, `watch`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.app import make_console, verb

if TYPE_CHECKING:
    from runner.journal import TrialRecord
    from runner.journal.inbox import RequestKind


@verb
@click.argument("sweep")
@click.argument("trials", nargs=-1)
def stop(sweep: str, trials: Sequence[str]) -> None:
    """Stops a running sweep after its present round, or only these trials; SWEEP is as for `results`.

    A stopped trial is ranked and exported; `continue` lets it go on.
    """
    _ask(sweep, "stop", trials)


@verb
@click.argument("sweep")
@click.argument("trials", nargs=-1, required=True)
def pause(sweep: str, trials: Sequence[str]) -> None:
    """Takes trials out of their slots until `continue`; SWEEP is as for `results`."""
    _ask(sweep, "pause", trials)


@verb
@click.argument("sweep")
@click.argument("trials", nargs=-1, required=True)
def continue_(sweep: str, trials: Sequence[str]) -> None:
    """Lets paused or stopped trials go on; SWEEP is as for `results`.

    A trial that has stopped goes on once the sweep has ended, with `resume`.
    """
    _ask(sweep, "continue", trials)


@verb
@click.option("--member", help="The member of a mixed sweep that gets the trials.")
@click.argument("sweep")
@click.argument("what", nargs=-1, required=True, metavar="N | key=value ...")
def add(sweep: str, what: Sequence[str], member: str | None) -> None:
    """Adds N trials of the search, or one setting; SWEEP is as for `results`.

    \b
    python -m runner add latest 20
    python -m runner add latest units=64 learning_rate=0.01
    """  # noqa: D301
    from runner.driver.requests import request_to_add
    from runner.journal import inbox
    from runner.review.catalog import find_sweep

    folder = find_sweep(sweep)
    inbox.ask(folder, [request_to_add(folder, what, member)])
    _say_when(folder, f"add {' '.join(what)}", "add")


@verb
@click.option("--at-epoch", type=click.IntRange(min=1), help="Goes on from the state after this epoch, not the newest.")
@click.argument("sweep")
@click.argument("trial")
@click.argument("what", nargs=-1, metavar="key=value ...")
def clone(sweep: str, trial: str, what: Sequence[str], at_epoch: int | None) -> None:
    """Adds a trial that goes on from the state of another one; SWEEP is as for `results`.

    \b
    python -m runner clone latest 003 learning_rate=0.001
    python -m runner clone latest 003 learning_rate=0.001 --at-epoch 5
    """  # noqa: D301
    from runner.driver.requests import request_to_clone
    from runner.journal import inbox
    from runner.review.catalog import find_sweep, open_review

    folder = find_sweep(sweep)
    (parent,) = open_review(folder).chosen(trial)
    inbox.ask(folder, [request_to_clone(folder, parent.id, what, at_epoch)])
    _say_when(folder, f"clone of {parent.id}", "clone")


@verb
@click.argument("sweep", default="latest")
def watch(sweep: str) -> None:
    """Shows the trials of a sweep that another process runs, until it ends; SWEEP is as for `results`."""
    from runner.review.catalog import find_sweep
    from runner.views.watching import watch as show

    show(find_sweep(sweep), make_console())


def _ask(sweep: str, kind: RequestKind, trial_ids: Sequence[str]) -> None:
    from runner.journal import inbox
    from runner.journal.inbox import Request
    from runner.review.catalog import find_sweep, open_review

    folder = find_sweep(sweep)
    review = open_review(folder)
    trials = [trial for trial_id in trial_ids for trial in review.chosen(trial_id)]
    for trial in trials:
        _check(kind, trial)
    requests = [Request(kind=kind, trial_id=trial.id) for trial in trials] or [Request(kind=kind)]
    inbox.ask(folder, requests)
    what = f"{kind} of {', '.join(trial.id for trial in trials)}" if trials else kind
    ended = [trial.id for trial in trials if trial.status == "stopped"]
    if ended:
        what += (
            f" ({', '.join(ended)} {'have' if ended[1:] else 'has'} stopped, and will go on when the sweep is resumed)"
        )
    _say_when(folder, what, kind)


def _check(kind: RequestKind, trial: TrialRecord) -> None:
    """Refuses what can never be obeyed.

    Raises:
        UsageError: the trial has ended, and the request is for one that has not, or cannot go on.
    """
    ended = trial.status in ("complete", "stopped", "failed")
    if kind != "continue" and ended:
        raise click.UsageError(f"trial {trial.id} has ended: {trial.status}")
    if kind == "continue" and trial.status == "complete":
        raise click.UsageError(f"trial {trial.id} is complete; `resume --more-epochs N` trains it longer")
    if kind == "continue" and trial.status == "failed":
        raise click.UsageError(f"trial {trial.id} has failed; `resume --retry-failed` tries it again")
    if kind == "continue" and trial.diverged:
        raise click.UsageError(f"trial {trial.id} has diverged; it cannot go on")


def _say_when(folder: Path, what: str, kind: RequestKind) -> None:
    from runner.journal import is_locked

    running = is_locked(folder)
    when = "the sweep obeys at its next barrier" if running else f"obeyed by:  python -m runner resume {folder.name}"
    if not running and kind == "stop":
        when = "the sweep is not running"
    click.echo(f"{folder.name}: {what}: {when}")

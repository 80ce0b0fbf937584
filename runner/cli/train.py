"""The verbs that train: `sweep` and `resume`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.app import load, make_console, print_variable_notes, takes_config, takes_sweep, verb
from runner.driver.preflight import Preflight
from runner.errors import TrackingError
from runner.texts.redaction import redact, secrets_of, without_credentials

if TYPE_CHECKING:
    from rich.console import Console

    from runner.driver.context import Context
    from runner.driver.train import Outcome

_SOME_FAILED, _DIFFERS = 3, 4


@verb
@click.option("--profile", is_flag=True, help="Write a timeline for chrome://tracing or Perfetto.")
@takes_config
def sweep(arguments: Sequence[str], config_dir: Path | None, config_name: str, profile: bool) -> int:
    """Trains every trial of a sweep; without arguments the digits demo.

    \b
    python -m runner sweep
    python -m runner sweep experiment=three_models
    python -m runner sweep experiments/my_model.py params.units=32,64 'params.learning_rate=loguniform(1e-4,1e-1)'
    """  # noqa: D301
    with Preflight() as preflight:
        config = load(arguments, config_dir, config_name)
        from runner.driver.run import run
        from runner.review.catalog import SWEEPS
        from runner.review.timeline import write_timeline

        console = make_console()
        command = redact(shlex.join(["python", "-m", "runner", *sys.argv[1:]]), secrets_of(os.environ).values())
        print_variable_notes(config, console)
        outcome = run(config, _context(console), root=SWEEPS, command=command, preflight=preflight)
    if profile:
        console.print(f"timeline:  {write_timeline(outcome.folder)}", highlight=False, soft_wrap=True)
    return _conclude(outcome, console, with_times=True)


@verb
@click.option("--retry-failed", is_flag=True, help="Continue failed trials where they failed.")
@click.option("--more-epochs", type=click.IntRange(0), default=0, help="Train every trial this many epochs longer.")
@takes_sweep
def resume(sweep: str, retry_failed: bool, more_epochs: int) -> int:
    """Continues a sweep, however it has ended, in the same MLflow runs; SWEEP is as for `results`."""
    from runner.driver.resume import resume as go_on
    from runner.driver.resume_state import Asked
    from runner.review.catalog import find_sweep

    console = make_console()
    asked = Asked(retry_failed=retry_failed, more_epochs=more_epochs)
    return _conclude(go_on(find_sweep(sweep), asked, _context(console)), console, with_times=False)


@verb
@click.argument("sweep")
@click.argument("trial")
def replay(sweep: str, trial: str) -> int:
    """Trains a trial again, alone, and compares every metric and weight; SWEEP is as for `results`.

    Everything that led to its model is repeated, also of trials from whose states it went on. Nothing is recorded.
    """
    from runner.driver.replaying import replay as again
    from runner.review.catalog import find_sweep, open_review

    console, folder = make_console(), find_sweep(sweep)
    (chosen,) = open_review(folder).chosen(trial)
    found = again(folder, chosen.id, _context(console))
    for line in found.lines():
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0 if found.is_same else _DIFFERS


def _context(console: Console) -> Context:
    """This process: its terminal, its signals, its environment."""
    from runner.driver.context import Context
    from runner.views.watchers import Terminal

    return Context(watcher=Terminal(console), stop=click.get_current_context().obj, environment=dict(os.environ))


def _conclude(outcome: Outcome, console: Console, with_times: bool) -> int:
    """Prints the results, and the command that shows them in a browser; returns the exit code.

    Args:
        outcome: how the sweep ended.
        console: to print to.
        with_times: also print how the time was spent; for a resumed sweep it would include the pauses.

    Raises:
        TrackingError: MLflow lacks something.
    """
    from runner.review.catalog import open_review
    from runner.review.timeline import describe, overheads_of
    from runner.views.results import print_results

    review = open_review(outcome.folder)
    print_results(review, console)
    overheads = overheads_of(outcome.folder) if with_times else None
    if overheads is not None:
        console.print(describe(overheads), style="dim", highlight=False)
    where = _ui_command(without_credentials(review.sweep.tracking_uri))
    console.print(f"review in the browser:  {where}", highlight=False, soft_wrap=True)
    if outcome.problem and outcome.is_error:
        raise TrackingError(outcome.problem)
    if outcome.problem:
        console.print(outcome.problem, markup=False, highlight=False, soft_wrap=True)
    return _SOME_FAILED if outcome.failed or outcome.paused else 0


def _ui_command(uri: str) -> str:
    default = uri == "sqlite:///mlflow.db"
    return "python -m runner ui" + ("" if default else f" --uri {shlex.quote(uri)}")

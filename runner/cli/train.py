"""The verbs that train: `sweep`, `resume` and `replay`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.app import make_console, print_variable_notes, takes_config, takes_sweep, verb, wanted
from runner.errors import TrackingError
from runner.texts.redaction import redact, secrets_of, without_credentials

if TYPE_CHECKING:
    from rich.console import Console

    from runner.api.contexts import Context
    from runner.api.runs import Outcome
    from runner.config import Config

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
    from runner.api.result import Result
    from runner.api.runs import run_sweep

    command = redact(shlex.join(["python", "-m", "runner", *sys.argv[1:]]), secrets_of(os.environ).values())
    console: Console

    def context_of(config: Config) -> Context:
        nonlocal console
        console = make_console()
        print_variable_notes(config, console)
        return _context(console)

    outcome = run_sweep(wanted(arguments, config_dir, config_name), context_of, command=command)
    if profile:
        console.print(f"timeline:  {Result(outcome.folder).write_timeline()}", highlight=False, soft_wrap=True)
    return _conclude(outcome, console, with_times=True)


@verb
@click.option("--retry-failed", is_flag=True, help="Continue failed trials where they failed.")
@click.option("--more-epochs", type=click.IntRange(0), default=0, help="Train every trial this many epochs longer.")
@takes_sweep
def resume(sweep: str, retry_failed: bool, more_epochs: int) -> int:
    """Continues a sweep, however it has ended, in the same MLflow runs; SWEEP is as for `results`."""
    from runner.api.catalog import load
    from runner.api.runs import run_resume

    console, folder = make_console(), load(sweep).folder
    outcome = run_resume(folder, _context(console), retry_failed=retry_failed, more_epochs=more_epochs)
    return _conclude(outcome, console, with_times=False)


@verb
@click.argument("sweep")
@click.argument("trial")
def replay(sweep: str, trial: str) -> int:
    """Trains a trial again, alone, and compares every metric and weight; SWEEP is as for `results`.

    Everything that led to its model is repeated, also of trials from whose states it went on. Nothing is recorded.
    """
    from runner.api.catalog import load
    from runner.api.runs import run_replay

    console, folder = make_console(), load(sweep).folder
    found = run_replay(folder, trial, _context(console))
    for line in found.lines():
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return 0 if found.is_same else _DIFFERS


def _context(console: Console) -> Context:
    """This process: its terminal, its signals, its environment."""
    from runner.api.contexts import context_with
    from runner.views.watchers import Terminal

    return context_with(Terminal(console), click.get_current_context().obj)


def _conclude(outcome: Outcome, console: Console, with_times: bool) -> int:
    """Prints the results, and the command that shows them in a browser; returns the exit code.

    Args:
        outcome: how the sweep ended.
        console: to print to.
        with_times: also print how the time was spent; for a resumed sweep it would include the pauses.

    Raises:
        TrackingError: MLflow lacks something.
    """
    from runner.api.machine import pages_of, ui_address
    from runner.api.result import Result
    from runner.views.results import print_results

    result = Result(outcome.folder)
    review = result.review
    print_results(review, console)
    overheads = result.overheads if with_times else None
    if overheads is not None:
        console.print(str(overheads), style="dim", highlight=False)
    if result.report_file.exists():
        console.print(f"all figures:  {result.report_file}", markup=False, highlight=False, soft_wrap=True)
    where = _ui_command(without_credentials(review.sweep.tracking_uri))
    console.print(f"review in the browser:  {where}", highlight=False, soft_wrap=True)
    pages = pages_of(outcome.folder, ui_address(review.sweep.tracking_uri))
    if pages is not None:
        console.print(f"this sweep there:  {pages[0]}", markup=False, highlight=False, soft_wrap=True)
    if outcome.problem and outcome.is_error:
        raise TrackingError(outcome.problem)
    if outcome.problem:
        console.print(outcome.problem, markup=False, highlight=False, soft_wrap=True)
    return _SOME_FAILED if outcome.failed or outcome.paused else 0


def _ui_command(uri: str) -> str:
    default = uri == "sqlite:///mlflow.db"
    return "python -m runner ui" + ("" if default else f" --uri {shlex.quote(uri)}")

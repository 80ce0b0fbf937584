"""The verbs that train, and `plan`, which tells what they would do."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.app import load, make_console, takes_config, takes_sweep, tell_variables, verb
from runner.driver.preflight import Preflight
from runner.errors import TrackingError
from runner.texts.redaction import redact, secrets_of, without_credentials

if TYPE_CHECKING:
    from rich.console import Console

    from runner.driver.train import Outcome


@verb
@click.option("--profile", is_flag=True, help="Write a timeline for chrome://tracing or Perfetto.")
@takes_config
def sweep(arguments: Sequence[str], config_dir: Path | None, config_name: str, profile: bool) -> int:
    """Trains every trial of a sweep; with no arguments the digits demo.

    \b
    python -m runner sweep
    python -m runner sweep experiment=three_models
    python -m runner sweep experiments/my_model.py params.units=32,64 'params.learning_rate=loguniform(1e-4,1e-1)'
    """  # noqa: D301
    with Preflight() as preflight:
        config = load(arguments, config_dir, config_name)
        from runner.driver.run import run_sweep
        from runner.review.catalog import SWEEPS, write_timeline

        console = make_console()
        secrets = secrets_of(os.environ)
        command = redact(shlex.join(["python", "-m", "runner", *sys.argv[1:]]), secrets.values())
        signals = click.get_current_context().obj
        tell_variables(config, console)
        outcome = run_sweep(
            config, console=console, command=command, root=SWEEPS, secrets=secrets, environment=os.environ,
            signals=signals, preflight=preflight,
        )  # fmt: skip
    if profile:
        console.print(f"timeline:  {write_timeline(outcome.folder)}", highlight=False, soft_wrap=True)
    return _conclude(outcome, console, with_times=True)


@verb
@click.option("--retry-failed", is_flag=True, help="Trials that have failed go on where they failed.")
@click.option("--more-epochs", type=click.IntRange(0), default=0, help="Train every trial this many epochs longer.")
@takes_sweep
def resume(sweep: str, retry_failed: bool, more_epochs: int) -> int:
    """Goes on with a sweep that has ended in any way, in the same MLflow runs; SWEEP is as for `results`."""
    from runner.driver.resume import Asked, run_resume
    from runner.review.catalog import find_sweep

    console, signals = make_console(), click.get_current_context().obj
    asked = Asked(retry_failed=retry_failed, more_epochs=more_epochs)
    secrets = secrets_of(os.environ)
    outcome = run_resume(
        find_sweep(sweep), asked, console=console, secrets=secrets, environment=os.environ, signals=signals
    )
    return _conclude(outcome, console, with_times=False)


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--probe", "with_probe", is_flag=True, help="Measure the memory of each distinct model first.")
@takes_config
def plan(arguments: Sequence[str], config_dir: Path | None, config_name: str, as_json: bool, with_probe: bool) -> None:
    """Prints what `sweep` would do: trials, slots, limits, rounds, steps."""
    config = load(arguments, config_dir, config_name)
    from runner.driver.prepare import prepare, probe

    prepared = prepare(config)
    from runner.driver import plan as planning  # imports SQLAlchemy, which a mistake in the config need not wait for

    made = planning.make_plan(probe(prepared) if with_probe else prepared)
    if as_json:
        click.echo(json.dumps(planning.as_json(made), indent=2, default=str))
    else:
        console = make_console()
        planning.show(made, console)
        tell_variables(config, console)


def _conclude(outcome: Outcome, console: Console, with_times: bool) -> int:
    """Prints the results and how to look at them; returns the exit code.

    Where time went is left out of a sweep that was interrupted: the pauses would be counted too.

    Raises:
        TrackingError: MLflow lacks something.
    """
    from runner.review.catalog import open_review, overheads_of
    from runner.review.timeline import describe
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
    return outcome.exit_code


def _ui_command(uri: str) -> str:
    default = uri == "sqlite:///mlflow.db"
    return "python -m runner ui" + ("" if default else f" --uri {shlex.quote(uri)}")

"""The verbs that train: `sweep`, `resume` and `replay`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.app import Verb, takes_config, takes_sweep, variable_notes, verb, wanted
from runner.cli.shown import LogFormat, shown
from runner.texts.redaction import redact, secrets_of

if TYPE_CHECKING:
    from runner.api.contexts import Context
    from runner.config import Config

_DIFFERS = 4


def _takes_log_format(function: Verb) -> Verb:
    return click.option(
        "--log-format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="What is printed: text for a person, or one JSON object a line for a program.",
    )(function)


@verb
@click.option("--profile", is_flag=True, help="Write a timeline for Perfetto, and print where all time went.")
@_takes_log_format
@takes_config
def sweep(
    arguments: Sequence[str], config_dir: Path | None, config_name: str, profile: bool, log_format: LogFormat
) -> int:
    """Trains every trial of a sweep; without arguments the digits demo.

    \b
    python -m runner sweep
    python -m runner sweep experiment=three_models
    python -m runner sweep experiments/my_model.py params.units=32,64 'params.learning_rate=loguniform(1e-4,1e-1)'
    """  # noqa: D301
    from runner.api.runs import run_sweep

    command = redact(shlex.join(["python", "-m", "runner", *sys.argv[1:]]), secrets_of(os.environ).values())
    with shown(log_format) as show:

        def context_of(config: Config) -> Context:
            show.notes(variable_notes(config))
            return show.context()

        outcome = run_sweep(wanted(arguments, config_dir, config_name), context_of, command=command)
        return show.end(outcome, with_times=True, profile=profile)


@verb
@click.option("--retry-failed", is_flag=True, help="Continue failed trials where they failed.")
@click.option("--more-epochs", type=click.IntRange(0), default=0, help="Train every trial this many epochs longer.")
@_takes_log_format
@takes_sweep
def resume(sweep: str, retry_failed: bool, more_epochs: int, log_format: LogFormat) -> int:
    """Continues a sweep, however it has ended, in the same MLflow runs; SWEEP is as for `results`."""
    from runner.api.catalog import load
    from runner.api.runs import run_resume

    with shown(log_format) as show:
        folder = load(sweep).folder
        context = show.context()
        context.began(folder)
        outcome = run_resume(folder, context, retry_failed=retry_failed, more_epochs=more_epochs)
        return show.end(outcome, with_times=False)


@verb
@click.argument("sweep")
@click.argument("trial")
def replay(sweep: str, trial: str) -> int:
    """Trains a trial again, alone, and compares every metric and weight; SWEEP is as for `results`.

    Everything that led to its model is repeated, also of trials from whose states it went on. Nothing is recorded.
    """
    from runner.api.catalog import load
    from runner.api.runs import run_replay

    with shown("text") as show:
        found = run_replay(load(sweep).folder, trial, show.context())
        show.notes(found.lines())
    return 0 if found.is_same else _DIFFERS

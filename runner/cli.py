"""The command line: parses, calls, prints, and turns every outcome into an exit code.

Heavy imports happen inside the verbs, so that mistakes are told within a second or two.
"""

from __future__ import annotations

import csv
import functools
import json
import os
import shlex
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from runner.errors import ExperimentError, RunnerError, TrackingError
from runner.redaction import redact, secrets_of, without_credentials
from runner.signals import StopSignals

if TYPE_CHECKING:
    from rich.console import Console

    from runner.config import Config

_EXIT_CODES = (
    "Exit codes: 0 done · 2 bad config or usage · 3 some trials failed · 75 stopped by infrastructure · "
    "129 closed terminal · 130 Ctrl-C · 143 SIGTERM."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=_EXIT_CODES)
@click.version_option(package_name="lockstep-runner")
def cli() -> None:
    """Trains many Keras models together on one GPU or CPU, in lockstep, and logs them to MLflow."""


def _verb(function: Callable[..., Any]) -> Callable[..., Any]:
    """A verb of the command line: `--debug`, and errors as messages with an exit code."""

    @cli.command(name=function.__name__.removesuffix("_"))
    @click.option("--debug", is_flag=True, help="Show tracebacks.")
    @functools.wraps(function)
    def verb(debug: bool, **arguments: Any) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a sweep talks to its own store and nobody else
        with StopSignals() as signals:
            click.get_current_context().obj = signals
            try:
                sys.exit(function(**arguments) or 0)
            except RunnerError as err:
                _fail(err, debug)
            except KeyboardInterrupt:
                click.echo("stopped by a signal", err=True)
                sys.exit(signals.exit_code)

    return verb


def _fail(err: RunnerError, debug: bool) -> NoReturn:
    masked = functools.partial(redact, secrets=secrets_of(os.environ).values())
    if debug:
        click.echo(masked("".join(traceback.format_exception(err))), err=True, nl=False)
    if debug and isinstance(err, ExperimentError):
        click.echo(f"\nin the experiment:\n{masked(err.traceback)}", err=True)
    for line in masked(str(err)).splitlines() or [type(err).__name__]:
        click.secho(f"error: {line}", err=True, fg="red")
    if isinstance(err, ExperimentError):
        click.echo("nothing was started" + ("" if debug else "; --debug shows the traceback"), err=True)
    sys.exit(err.exit_code)


def _takes_config(function: Callable[..., Any]) -> Callable[..., Any]:
    """The arguments of verbs that read a config."""
    config_dir = click.Path(path_type=Path, file_okay=False)
    function = click.argument("arguments", nargs=-1, metavar="[EXPERIMENT.py] [key=value ...]")(function)
    function = click.option("--config-name", default="config", show_default=True, help="A YAML file of that folder.")(
        function
    )
    return click.option(
        "--config-dir", type=config_dir, help="Folder of YAML configs.  [default: ./conf where there is one]"
    )(function)


def _takes_sweep(function: Callable[..., Any]) -> Callable[..., Any]:
    """The argument of verbs that review one sweep."""
    return click.argument("sweep", default="latest")(function)


@_verb
@click.option("--profile", is_flag=True, help="Write a timeline for chrome://tracing or Perfetto.")
@_takes_config
def sweep(arguments: Sequence[str], config_dir: Path | None, config_name: str, profile: bool) -> int:
    """Trains every trial of a sweep; with no arguments the digits demo.

    \b
    python -m runner sweep
    python -m runner sweep experiment=three_models
    python -m runner sweep experiments/my_model.py params.units=32,64 'params.learning_rate=loguniform(1e-4,1e-1)'
    """  # noqa: D301
    config = _load(arguments, config_dir, config_name)
    from runner.overheads import describe
    from runner.results import print_results
    from runner.review import SWEEPS, open_review, overheads_of, write_timeline
    from runner.sweep import run_sweep

    console = _console()
    secrets = secrets_of(os.environ)
    command = redact(shlex.join(["python", "-m", "runner", *sys.argv[1:]]), secrets.values())
    signals = click.get_current_context().obj
    outcome = run_sweep(config, console=console, command=command, root=SWEEPS, secrets=secrets, signals=signals)
    review = open_review(outcome.folder)
    print_results(review, console)
    overheads = overheads_of(outcome.folder)
    if overheads is not None:
        console.print(describe(overheads), style="dim", highlight=False)
    if profile:
        console.print(f"timeline:  {write_timeline(outcome.folder)}", highlight=False, soft_wrap=True)
    console.print(
        f"review in the browser:  {_ui_command(without_credentials(config.tracking.uri))}",
        highlight=False,
        soft_wrap=True,
    )
    if outcome.problem:
        raise TrackingError(outcome.problem)
    return outcome.exit_code


@_verb
@click.option("--retry-failed", is_flag=True, help="Trials that have failed go on where they failed.")
@click.option("--more-epochs", type=click.IntRange(0), default=0, help="Train every trial this many epochs longer.")
@_takes_sweep
def resume(sweep: str, retry_failed: bool, more_epochs: int) -> int:
    """Goes on with a sweep that has ended in any way, in the same MLflow runs; SWEEP is as for `results`."""
    from runner.results import print_results
    from runner.resume import Asked, run_resume
    from runner.review import find_sweep, open_review

    console, signals = _console(), click.get_current_context().obj
    asked = Asked(retry_failed=retry_failed, more_epochs=more_epochs)
    secrets = secrets_of(os.environ)
    outcome = run_resume(find_sweep(sweep), asked, console=console, secrets=secrets, signals=signals)
    print_results(open_review(outcome.folder), console)
    if outcome.problem:
        raise TrackingError(outcome.problem)
    return outcome.exit_code


@_verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--probe", "with_probe", is_flag=True, help="Measure the memory of each distinct model first.")
@_takes_config
def plan(arguments: Sequence[str], config_dir: Path | None, config_name: str, as_json: bool, with_probe: bool) -> None:
    """Prints what `sweep` would do: trials, slots, limits, rounds, steps."""
    config = _load(arguments, config_dir, config_name)
    from runner import plan as planning
    from runner.preparation import prepare, probe

    prepared = prepare(config)
    made = planning.make_plan(probe(prepared) if with_probe else prepared)
    if as_json:
        click.echo(json.dumps(planning.as_json(made), indent=2, default=str))
    else:
        planning.show(made, _console())


@_verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Lists the sweeps of this folder, newest first."""
    from rich.table import Table

    from runner.review import list_sweeps, score

    reviews = list_sweeps()
    if as_json:
        from runner.review import as_json as review_json

        click.echo(json.dumps([review_json(review) for review in reviews], indent=2))
        return
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for name in ("sweep", "status", "trials", "metric", "best"):
        table.add_column(name, no_wrap=True)
    for review in reviews:
        value = ", ".join(f"{score(trial, review.sweep):.4g} (trial {trial.id})" for trial in review.best) or "–"
        sweep_record = review.sweep
        table.add_row(sweep_record.id, sweep_record.status, str(len(review.trials)), sweep_record.metric, value)
    _console().print(table if reviews else "no sweeps here yet; `python -m runner sweep` makes one")


@_verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@_takes_sweep
def results(sweep: str, as_json: bool, as_csv: bool) -> None:
    """Prints a sweep's trials, best first; SWEEP is an id, its beginning, or "latest"."""
    from runner import review as reviewing

    review = reviewing.open_review(reviewing.find_sweep(sweep))
    if as_json:
        click.echo(json.dumps(reviewing.as_json(review), indent=2))
    elif as_csv:
        header, rows = reviewing.table(review)
        csv.writer(sys.stdout).writerows([header, *rows])
    else:
        from runner.results import print_results

        print_results(review, _console())


@_verb
@click.option(
    "--export", "target", type=click.Path(path_type=Path), help="Write the best trial's model to this folder."
)
@click.option("--trial", "trial_id", help="This trial instead of the best.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a list.")
@_takes_sweep
def best(sweep: str, target: Path | None, trial_id: str | None, as_json: bool) -> None:
    """Prints a sweep's best trial (of a mixed sweep, each member's); with --export writes its model for plain Keras."""
    from runner import review as reviewing
    from runner.errors import ConfigError

    review = reviewing.open_review(reviewing.find_sweep(sweep))
    trials = review.chosen(trial_id)
    if as_json:
        click.echo(json.dumps([reviewing.summary(review.sweep, trial) for trial in trials], indent=2))
    else:
        for trial in trials:
            click.echo(reviewing.in_one_line(review.sweep, trial))
    if target is None:
        return
    if len(trials) > 1:
        raise click.UsageError(f"one model at a time; add --trial {' or --trial '.join(trial.id for trial in trials)}")
    try:
        written = reviewing.export_model(review, trials[0], target)
    except OSError as err:
        raise ConfigError(f"--export {target}: {err}") from err
    click.echo(f"wrote {', '.join(path.name for path in written)} to {target}", err=as_json)
    click.echo(reviewing.how_to_load(target), err=as_json)


@_verb
@click.option("--tracking-uri", metavar="URI", help="Another MLflow store.  [default: that of the sweep's config]")
@_takes_sweep
def sync(sweep: str, tracking_uri: str | None) -> None:
    """Sends what MLflow lacks of a sweep, from its journal; may be repeated."""
    from runner.journal import locked
    from runner.review import find_sweep
    from runner.tracking import sync as send

    folder = find_sweep(sweep)
    with locked(folder):
        where = send(folder, tracking_uri, on_warning=functools.partial(click.echo, err=True))
    click.echo(f"{where} has all of sweep {folder.name}")


@_verb
@click.option("--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port on 127.0.0.1.")
@click.option("--uri", help="MLflow tracking URI.  [default: that of the latest sweep, else sqlite:///mlflow.db]")
def ui(port: int, uri: str | None) -> int:
    """Opens the MLflow UI on 127.0.0.1, for this machine alone."""
    from runner.ui import serve, server_command, server_environment

    store = uri or _latest_uri()
    shown = without_credentials(store)
    if store.startswith(("http://", "https://")):
        click.echo(f"this store has a UI of its own: {shown}")
        return 0
    _check_port(port)
    click.echo(f"MLflow UI of {shown}: http://127.0.0.1:{port} in a few seconds (Ctrl-C ends it)")
    return serve(server_command(port), server_environment(store, os.environ), click.get_current_context().obj)


@_verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--uri", help="MLflow tracking URI.  [default: that of the latest sweep, else sqlite:///mlflow.db]")
def doctor(as_json: bool, uri: str | None) -> int:
    """Looks at GPUs, TensorFlow, MPS, Ray, MLflow's store and disks, and says what to do; exit code 2 if one fails."""
    from dataclasses import asdict

    from runner.doctor import examine, exit_code
    from runner.review import SWEEPS

    findings = examine(uri or _latest_uri(), SWEEPS)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
        return exit_code(findings)
    width = max(len(finding.part) for finding in findings)
    for finding in findings:
        colour = {"ok": "green", "warn": "yellow", "fail": "red"}[finding.status]
        click.echo(f"{click.style(f'{finding.status:4}', fg=colour)}  {finding.part:{width}}  {finding.found}")
        if finding.advice:
            click.echo(f"{'':{width + 8}}{finding.advice}")
    return exit_code(findings)


def _latest_uri() -> str:
    from runner.review import list_sweeps

    sweeps = list_sweeps()
    return sweeps[0].sweep.tracking_uri if sweeps else "sqlite:///mlflow.db"


def _load(arguments: Sequence[str], config_dir: Path | None, config_name: str) -> Config:
    from runner.config import load_config

    files = [argument for argument in arguments if "=" not in argument and argument.endswith(".py")]
    overrides = [argument for argument in arguments if argument not in files]
    if len(files) > 1:
        raise click.UsageError(f"one experiment file at a time, got {', '.join(files)}; mix several with `members`")
    return load_config(files[0] if files else None, overrides, config_dir=config_dir, config_name=config_name)


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as err:
            raise click.UsageError(f"port {port} of 127.0.0.1: {err.strerror}; choose another one with --port") from err


def _console() -> Console:
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000  # a pipe has no edge to wrap at
    return Console(width=width, highlight=False)


def _ui_command(uri: str) -> str:
    default = uri == "sqlite:///mlflow.db"
    return "python -m runner ui" + ("" if default else f" --uri {shlex.quote(uri)}")

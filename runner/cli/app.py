"""The parts that all verbs share: the group, errors as messages with an exit code, common arguments, the console."""

from __future__ import annotations

import functools
import json
import math
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from runner.errors import ExperimentError, RunnerError
from runner.host.signals import StopSignals
from runner.texts.redaction import redact, secrets_of

if TYPE_CHECKING:
    from rich.console import Console

    from runner.api.runs import Wanted
    from runner.config import Config

Verb = Callable[..., int | None]
"""What a verb does; it returns its exit code, or None for 0."""

_EXIT_CODES = (
    "Exit codes: 0 done · 2 bad config or usage · 3 some trials failed · 4 replay differs · "
    "75 stopped by infrastructure · 129 closed terminal · 130 Ctrl-C · 143 SIGTERM."
)


class _Verbs(click.Group):
    """The verbs; an unknown verb that other tools have gets a hint."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As `click.Group.resolve_command`."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as err:
            from runner.config import hints

            hint = hints.for_verb(args[0])
            raise click.UsageError(f"{err.message} Here {hint}.", ctx) if hint else err from None


class _Verb(click.Command):
    """A verb; a setting that is written as an option gets a hint."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As `click.Command.parse_args`."""
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as err:
            raise click.UsageError(f"{err.format_message()} {_hint_for_option(err.option_name, given)}", ctx) from None


def _hint_for_option(option: str, arguments: Sequence[str]) -> str:
    from runner.config import hints
    from runner.config.schema import default_values

    keys = [f"{section}.{key}" for section, values in default_values().items() if isinstance(values, dict)
            for key in values]  # fmt: skip
    written = next((argument for argument in arguments if argument.split("=")[0] == option), option)
    after = arguments[arguments.index(written) + 1 :][:1] if written in arguments else []
    value = after[0] if after and not after[0].startswith("-") and not after[0].endswith(".py") else None
    return f"Here {hints.for_option(written, value, [*default_values(), *keys])}."


@click.group(
    cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}, epilog=_EXIT_CODES
)
@click.version_option(package_name="lockstep-runner")
def cli() -> None:
    """Trains many Keras models together on one GPU or CPU, in lockstep, and logs them to MLflow."""


def verb(function: Verb) -> click.Command:
    """Adds a verb to the command line, with `--debug` and with errors as messages and exit codes."""

    @cli.command(cls=_Verb, name=function.__name__.removesuffix("_"))
    @click.option("--debug", is_flag=True, help="Show tracebacks.")
    @functools.wraps(function)
    def run(debug: bool, **arguments: object) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a sweep connects to its own store only
        _print_any_text()
        with StopSignals() as signals:
            click.get_current_context().obj = signals
            try:
                sys.exit(function(**arguments) or 0)
            except RunnerError as err:
                _fail(err, debug)
            except KeyboardInterrupt:
                click.echo("stopped by a signal", err=True)
                sys.exit(signals.exit_code)

    return run


def _print_any_text() -> None:
    """Makes stdout escape what it cannot encode, such as a file's name in a message; stderr does so by itself."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


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


def takes_config(function: Verb) -> Verb:
    """Adds the arguments of verbs that read a config."""
    config_dir = click.Path(path_type=Path, file_okay=False)
    function = click.argument("arguments", nargs=-1, metavar="[EXPERIMENT.py] [key=value ...]")(function)
    function = click.option("--config-name", default="config", show_default=True, help="A YAML file of that folder.")(
        function
    )
    return click.option(
        "--config-dir", type=config_dir, help="Folder of YAML configs.  [default: ./conf where there is one]"
    )(function)


def takes_sweep(function: Verb) -> Verb:
    """Adds the argument of verbs that work on one sweep."""
    return click.argument("sweep", default="latest")(function)


def wanted(arguments: Sequence[str], config_dir: Path | None, config_name: str) -> Wanted:
    """The sweep that the arguments of `takes_config` describe.

    Raises:
        UsageError: more than one experiment file.
    """
    from runner.api.runs import Wanted

    files = [argument for argument in arguments if "=" not in argument and argument.endswith(".py")]
    overrides = tuple(argument for argument in arguments if argument not in files)
    if len(files) > 1:
        raise click.UsageError(f"one experiment file at a time, got {', '.join(files)}; mix several with `members`")
    file = files[0] if files else None
    return Wanted(experiment=file, overrides=overrides, config_dir=config_dir, config_name=config_name)


def variable_notes(config: Config) -> Sequence[str]:
    """Which of MLflow's environment variables are used, and which are not."""
    from runner.config.mlflow_variables import notes

    return list(notes(config.tracking.uri, config.tracking.mlflow_experiment, os.environ))


def echo_json(value: object) -> None:
    """Prints a value as JSON; NaN and infinity, which JSON lacks, become texts, and so does what is no plain value."""
    click.echo(json.dumps(_finite(value), indent=2, default=str))


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def make_console() -> Console:
    """The console for standard output: a terminal, a file or a pipe."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 1000  # a pipe has no width to wrap at
    if sys.stdout.isatty() and os.environ.get("TERM") in ("dumb", "unknown"):  # for which Rich assumes 80
        width = shutil.get_terminal_size().columns
    return Console(width=width, highlight=False)

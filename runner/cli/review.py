"""The verbs that read journals, `list`, `results` and `best`; and `clean`, which removes files they do not need."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.app import make_console, takes_sweep, verb

if TYPE_CHECKING:
    from runner.api.result import Result


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Lists the sweeps of this folder, newest first."""
    from runner.api.catalog import reviews, summaries
    from runner.views.results import print_sweeps

    if as_json:
        click.echo(json.dumps(summaries(), indent=2))
    elif found := reviews():
        print_sweeps(found, make_console())
    else:
        click.echo("there is no sweep here yet; `python -m runner sweep` makes one")


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option(
    "--by-setting/--by-trial",
    default=None,
    help="One line for each setting, with its mean; the default if any has several seeds.",
)
@takes_sweep
def results(sweep: str, as_json: bool, as_csv: bool, by_setting: bool | None) -> None:
    """Prints a sweep's trials, best first; SWEEP is an id, its beginning, or "latest"."""
    from runner.api.catalog import load

    result = load(sweep)
    if as_json:
        click.echo(json.dumps(result.summary, indent=2))
    elif as_csv:
        header, rows = result.table()
        csv.writer(sys.stdout).writerows([header, *rows])
    else:
        from runner.views.results import print_results

        print_results(result.review, make_console(), by_setting)


@verb
@click.option(
    "--export", "target", type=click.Path(path_type=Path), help="Write the best trial's model to this folder."
)
@click.option("--trial", "trial_id", help="This trial instead of the best.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a list.")
@takes_sweep
def best(sweep: str, target: Path | None, trial_id: str | None, as_json: bool) -> None:
    """Prints a sweep's best trial (of a mixed sweep, each member's); with --export writes its model for plain Keras."""
    from runner.api.catalog import load
    from runner.views.results import trial_in_one_line

    result = load(sweep)
    review = result.review
    trials = review.chosen(trial_id)
    if as_json:
        click.echo(json.dumps(result.summaries(trial.id for trial in trials), indent=2))
    else:
        for trial in trials:
            click.echo(trial_in_one_line(review, trial))
    if target is None:
        return
    if len(trials) > 1:
        raise click.UsageError(f"one model at a time; add --trial {' or --trial '.join(trial.id for trial in trials)}")
    _export(result, trials[0].id, target, to_stderr=as_json)


def _export(result: Result, trial_id: str, target: Path, to_stderr: bool) -> None:
    """Writes a trial's model to a folder, and says what was written and how to load it.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from runner.errors import ConfigError

    try:
        exported = result.export(target, trial_id)
    except ConfigError as err:
        raise ConfigError(f"--export {err}") from err
    click.echo(
        f"wrote {', '.join(str(path.relative_to(target)) for path in exported.files)} to {target}", err=to_stderr
    )
    if exported.warning:
        click.echo(exported.warning, err=True)
    click.echo(exported.how_to_load, err=to_stderr)


@verb
@click.option(
    "--models",
    type=click.IntRange(0),
    metavar="N",
    help="Remove the models of all but each member's best N trials too.",
)
@click.option(
    "--files",
    type=click.IntRange(0),
    metavar="N",
    help="Remove what callbacks have written for all but each member's best N trials too.",
)
@click.option("--dry-run", is_flag=True, help="Only print what would be removed.")
@click.argument("sweep")
def clean(sweep: str, models: int | None, files: int | None, dry_run: bool) -> None:
    """Removes an ended sweep's snapshots, and the leftovers of an interrupted one; SWEEP is as for `results`.

    Removes nothing from the journal or from MLflow.
    """
    from runner.api.catalog import load

    for line in load(sweep).clean(models, files=files, dry_run=dry_run).lines():
        click.echo(line)

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
    from runner.journal import TrialRecord
    from runner.review.catalog import Review


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Lists the sweeps of this folder, newest first."""
    from runner.review.catalog import list_sweeps
    from runner.review.summaries import sweep_summary
    from runner.views.results import print_sweeps

    reviews = list_sweeps()
    if as_json:
        click.echo(json.dumps([sweep_summary(review) for review in reviews], indent=2))
    elif reviews:
        print_sweeps(reviews, make_console())
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
    from runner.review.catalog import find_sweep, open_review
    from runner.review.summaries import full_table, sweep_summary

    review = open_review(find_sweep(sweep))
    if as_json:
        click.echo(json.dumps(sweep_summary(review), indent=2))
    elif as_csv:
        header, rows = full_table(review)
        csv.writer(sys.stdout).writerows([header, *rows])
    else:
        from runner.views.results import print_results

        print_results(review, make_console(), by_setting)


@verb
@click.option(
    "--export", "target", type=click.Path(path_type=Path), help="Write the best trial's model to this folder."
)
@click.option("--trial", "trial_id", help="This trial instead of the best.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a list.")
@takes_sweep
def best(sweep: str, target: Path | None, trial_id: str | None, as_json: bool) -> None:
    """Prints a sweep's best trial (of a mixed sweep, each member's); with --export writes its model for plain Keras."""
    from runner.review.catalog import find_sweep, open_review
    from runner.review.summaries import trial_summary
    from runner.views.results import trial_in_one_line

    review = open_review(find_sweep(sweep))
    trials = review.chosen(trial_id)
    if as_json:
        click.echo(json.dumps([trial_summary(review.sweep, trial) for trial in trials], indent=2))
    else:
        for trial in trials:
            click.echo(trial_in_one_line(review, trial))
    if target is None:
        return
    if len(trials) > 1:
        raise click.UsageError(f"one model at a time; add --trial {' or --trial '.join(trial.id for trial in trials)}")
    _export(review, trials[0], target, to_stderr=as_json)


def _export(review: Review, trial: TrialRecord, target: Path, to_stderr: bool) -> None:
    """Writes a trial's model to a folder, and says what was written and how to load it.

    Raises:
        ConfigError: the folder cannot be written.
    """
    from runner.errors import ConfigError
    from runner.review.export import code_outside, export_model, how_to_load

    try:
        written = export_model(review, trial, target)
    except OSError as err:
        where = "" if err.filename in (None, str(target)) else f"{err.filename}: "
        raise ConfigError(f"--export {target}: {where}{err.strerror or err}") from err
    click.echo(f"wrote {', '.join(str(path.relative_to(target)) for path in written)} to {target}", err=to_stderr)
    if warning := code_outside(trial):
        click.echo(warning, err=True)
    click.echo(how_to_load(target), err=to_stderr)


@verb
@click.option(
    "--models",
    type=click.IntRange(0),
    metavar="N",
    help="Remove the models of all but each member's best N trials too.",
)
@click.option("--dry-run", is_flag=True, help="Only print what would be removed.")
@click.argument("sweep")
def clean(sweep: str, models: int | None, dry_run: bool) -> None:
    """Removes an ended sweep's snapshots, and the leftovers of an interrupted one; SWEEP is as for `results`.

    Removes nothing from the journal or from MLflow.
    """
    from runner.driver import clean as cleaning
    from runner.review.catalog import find_sweep

    folder = find_sweep(sweep)
    repeated = cleaning.replayed(folder)
    removed = cleaning.clean(folder, models, dry_run)
    for each in removed:
        note = f", of which MLflow has {cleaning.mib(each.shared_bytes)} as the same files" if each.shared_bytes else ""
        click.echo(f"{each.what}: {cleaning.mib(each.size_bytes)}{note}")
    if repeated:
        will = "would train" if dry_run else "will train"
        click.echo(f"`resume` {will} {repeated} trial{'s' * (repeated > 1)} from the beginning, with the same results")
    freed = cleaning.mib(sum(each.freed_bytes for each in removed))
    click.echo(f"{folder.name}: {'would free' if dry_run else 'freed'} {freed}")

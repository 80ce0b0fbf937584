"""The verbs that read journals: `list`, `results` and `best`; and `clean`, which removes what they can do without."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import click

from runner.cli.app import make_console, takes_sweep, verb


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Lists the sweeps of this folder, newest first."""
    from rich.table import Table

    from runner.review.catalog import list_sweeps

    reviews = list_sweeps()
    if as_json:
        from runner.review.catalog import as_json as review_json

        click.echo(json.dumps([review_json(review) for review in reviews], indent=2))
        return
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for name in ("sweep", "status", "trials", "metric", "best"):
        table.add_column(name, no_wrap=True)
    for review in reviews:
        value = (
            ", ".join(f"{trial.score(review.sweep.metric):.4g} (trial {trial.id})" for trial in review.leaders) or "–"
        )
        sweep_record = review.sweep
        table.add_row(sweep_record.id, sweep_record.status, str(len(review.trials)), sweep_record.metric, value)
    make_console().print(table if reviews else "no sweeps here yet; `python -m runner sweep` makes one")


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@takes_sweep
def results(sweep: str, as_json: bool, as_csv: bool) -> None:
    """Prints a sweep's trials, best first; SWEEP is an id, its beginning, or "latest"."""
    from runner.review import catalog as reviewing

    review = reviewing.open_review(reviewing.find_sweep(sweep))
    if as_json:
        click.echo(json.dumps(reviewing.as_json(review), indent=2))
    elif as_csv:
        header, rows = reviewing.full_table(review)
        csv.writer(sys.stdout).writerows([header, *rows])
    else:
        from runner.views.results import print_results

        print_results(review, make_console())


@verb
@click.option(
    "--export", "target", type=click.Path(path_type=Path), help="Write the best trial's model to this folder."
)
@click.option("--trial", "trial_id", help="This trial instead of the best.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a list.")
@takes_sweep
def best(sweep: str, target: Path | None, trial_id: str | None, as_json: bool) -> None:
    """Prints a sweep's best trial (of a mixed sweep, each member's); with --export writes its model for plain Keras."""
    from runner.errors import ConfigError
    from runner.review import catalog as reviewing

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
    click.echo(f"wrote {', '.join(str(path.relative_to(target)) for path in written)} to {target}", err=as_json)
    for text in reviewing.what_is_missing(trials[0]):
        click.echo(text, err=True)
    click.echo(reviewing.how_to_load(target), err=as_json)


@verb
@click.option(
    "--models",
    type=click.IntRange(0),
    metavar="N",
    help="Remove the models of all but each member's best N trials too.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.argument("sweep")
def clean(sweep: str, models: int | None, dry_run: bool) -> None:
    """Removes an ended sweep's snapshots, and what an interrupted one has left; SWEEP is as for `results`.

    Nothing of the journal is removed, and nothing that MLflow has.
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

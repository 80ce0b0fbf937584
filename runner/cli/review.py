"""The verbs that read journals, `list`, `results` and `best`; and `clean`, which removes files they do not need."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.app import echo_json, make_console, takes_sweep, verb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.api.result import Result


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """Lists the sweeps of this folder, newest first."""
    from runner.api.catalog import reviews, summaries
    from runner.views.results import print_sweeps

    if as_json:
        echo_json(summaries())
    elif found := reviews():
        print_sweeps(found, make_console())
    else:
        click.echo("there is no sweep here yet; `python -m runner sweep` makes one")


@verb
@click.option("--sort", metavar="COLUMN", help="Order by a column; -COLUMN for the largest first.")
@click.option("--filter", "filters", multiple=True, metavar="CONDITION", help='As "units>64"; also < <= >= = != ~.')
@click.option("--columns", metavar="NAME,...", help="These columns of --csv.")
@click.option("--history", is_flag=True, help="One line for each epoch of each trial.")
@click.option(
    "--by-setting/--by-trial",
    default=None,
    help="One line for each setting, with its mean; the default if any has several seeds.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@takes_sweep
def results(
    sweep: str,
    sort: str | None,
    filters: tuple[str, ...],
    columns: str | None,
    history: bool,
    by_setting: bool | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Prints a sweep's trials, best first; SWEEP is an id, its beginning, or "latest"."""
    from runner.api.catalog import load

    if as_csv and as_json:
        raise click.UsageError("--csv and --json: choose one")
    if by_setting is not None and (as_csv or as_json or history):
        raise click.UsageError("--by-setting and --by-trial are for the table; --csv, --json and --history have trials")
    result, names = load(sweep), tuple(name.strip() for name in (columns or "").split(",") if name.strip())
    if as_json and not (sort or filters or names or history):
        echo_json(result.summary)
    elif as_json or as_csv or history:
        header, rows = result.table(*filters, sort=sort, columns=names, history=history)
        _print_plainly(header, rows, as_csv=as_csv, as_json=as_json)
    else:
        from runner.views.results import print_results

        print_results(result.review, make_console(), by_setting, filters=filters, sort=sort, columns=names)


def _print_plainly(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, as_csv: bool, as_json: bool
) -> None:  # fmt: skip
    """Prints a table as JSON, a list of objects; as CSV; or for a person."""
    if as_json:
        echo_json([dict(zip(header, row, strict=True)) for row in rows])
    elif as_csv:
        csv.writer(sys.stdout).writerows([header, *rows])
    else:
        from runner.views.results import print_table

        print_table(header, rows, make_console())


@verb
@click.option(
    "--export", "target", type=click.Path(path_type=Path), help="Write the best trial's model to this folder."
)
@click.option("--trial", "trial_id", help="This trial instead of the best.")
@click.option("--of", "name", metavar="NAME", help="The best of all sweeps of this name, instead of one SWEEP.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a list.")
@click.argument("sweep", required=False)
def best(sweep: str | None, target: Path | None, trial_id: str | None, name: str | None, as_json: bool) -> None:
    """Prints a sweep's best trial (of a mixed sweep, each member's); with --export writes its model for plain Keras.

    SWEEP is as for `results`, the newest by default.
    """
    from runner.api.catalog import load
    from runner.views.results import trial_in_one_line

    if name is not None and (sweep or trial_id):
        raise click.UsageError("--of searches all sweeps of a name; leave out SWEEP and --trial")
    if name is not None:
        from runner.api.comparing import best_of

        found = best_of(name)
        sweep, trial_id = found.folder.name, found.id
    result = load(sweep or "latest")
    review = result.review
    trials = review.chosen(trial_id)
    if as_json:
        echo_json(result.summaries(trial.id for trial in trials))
    else:
        for trial in trials:
            click.echo(trial_in_one_line(review, trial))
    if target is None:
        return
    if len(trials) > 1:
        raise click.UsageError(f"one model at a time; add --trial {' or --trial '.join(trial.id for trial in trials)}")
    _export(result, trials[0].id, target, to_stderr=as_json)


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument("sweeps", nargs=-1, required=True, metavar="SWEEP SWEEP ...")
def compare(sweeps: tuple[str, ...], as_json: bool) -> None:
    """Puts sweeps side by side: what differs in their configs, their scores, and how fast they got there.

    SWEEP is as for `results`.
    """
    from runner.api.comparing import compare as compared

    tables = compared(*sweeps).tables()
    if as_json:
        echo_json(
            {name: [dict(zip(table.header, row, strict=True)) for row in table.rows] for name, table in tables.items()}
        )
        return
    from runner.views.comparison import print_comparison

    print_comparison(tables, make_console())


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

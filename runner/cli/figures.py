"""The verbs that show a sweep in figures or give its results to other programs: `report`, `plot` and `export`."""

from __future__ import annotations

from pathlib import Path

import click

from runner.cli.app import verb

_COMPARISON = "comparison.html"


@verb
@click.option("--open", "opens", is_flag=True, help="Open it in the browser.")
@click.argument("sweeps", nargs=-1, metavar="[SWEEP ...]")
def report(sweeps: tuple[str, ...], opens: bool) -> None:
    """Writes the page with all figures of a sweep again; of several sweeps one page that compares them.

    SWEEP is as for `results`. A sweep's own page is sweeps/ID/report.html, which it writes at its end by itself.
    """
    from runner.api.catalog import load
    from runner.api.comparing import compare

    file = compare(*sweeps).report(_COMPARISON) if len(sweeps) > 1 else load(*sweeps).report()
    click.echo(f"wrote {file}")
    if opens:
        click.launch(file.absolute().as_uri())


@verb
@click.option("--png", type=click.Path(path_type=Path), help="Draw to this file.")
@click.option("--svg", type=click.Path(path_type=Path), help="Draw to this file.")
@click.option("--pdf", type=click.Path(path_type=Path), help="Draw to this file.")
@click.option("--member", metavar="NAME", help="Of a mixed sweep, for importance, parallel, slice and contour.")
@click.argument("sweep")
@click.argument("figure")
def plot(
    sweep: str, figure: str, png: Path | None, svg: Path | None, pdf: Path | None, member: str | None
) -> None:  # fmt: skip
    """Draws a figure of a sweep for a paper; without a file, to FIGURE.png. SWEEP is as for `results`.

    FIGURE is curves, history, importance, repeats, parallel, slice, contour, timeline, throughput, memory or times.
    """
    from runner.api.catalog import load

    result = load(sweep)
    given = [(file, suffix) for file, suffix in ((png, ".png"), (svg, ".svg"), (pdf, ".pdf")) if file is not None]
    for file, suffix in given or [(Path(f"{figure}.png"), ".png")]:
        if file.suffix != suffix:
            raise click.UsageError(f"--{suffix[1:]} {file}: must end with {suffix}")
        click.echo(f"wrote {result.plot(figure, file, member=member)}")


@verb
@click.option("--to", "kind", required=True, metavar="csv|parquet|optuna", help="The format.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write.  [default: the sweep's id]")
@click.argument("sweep")
def export(sweep: str, kind: str, folder: Path | None) -> None:
    """Writes a sweep's results for other programs; SWEEP is as for `results`.

    csv and parquet: `trials` with a row for each trial, `epochs` with one for each epoch. optuna: `optuna.db`, a study
    that `optuna.load_study` and optuna-dashboard open. `best --export` writes a model.
    """
    from runner.api.catalog import load

    result = load(sweep)
    for file in result.write_results(kind, folder or Path(result.id)):
        click.echo(f"wrote {file}")

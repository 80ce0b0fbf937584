"""`make bench` and `make bench-quick`: measures the runner and its alternatives.

Every run is appended to `benchmarks/results/runs.jsonl` when it ends. The groups named on the command line are measured
again, and the report covers all recorded runs.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from benchmarks import report
from benchmarks.cases import GROUPS, all_cases, quick_cases
from benchmarks.measure import Row, measure
from benchmarks.ratios import findings, parity_problems

RESULTS = Path(__file__).parent / "results"


@click.command()
@click.option(
    "--quick", is_flag=True, help="One repeat of the ratios that a code change may break; fails if one is far off."
)
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True, help="Runs of each case.")
@click.option("--prefix", default="", help="Prefix of each command, such as 'taskset -c 0,1'.")
@click.option("--report", "report_only", is_flag=True, help="Measure nothing; write the report of the recorded runs.")
@click.argument("groups", nargs=-1, type=click.Choice(GROUPS))
def main(quick: bool, repeats: int, prefix: str, report_only: bool, groups: tuple[str, ...]) -> None:
    """Measures GROUPS, or everything, and writes benchmarks/results/."""
    cases = [case for case in (quick_cases() if quick else all_cases()) if not groups or case.group in groups]
    if quick:
        rows = list(measure(cases, 1, click.echo, shlex.split(prefix)))
        _judge(rows)
        return
    RESULTS.mkdir(exist_ok=True)
    runs = RESULTS / "runs.jsonl"
    if not report_only:
        measured = {case.group for case in cases}
        kept = [row for row in _read(runs) if row["group"] not in measured]
        runs.write_text("".join(json.dumps(row) + "\n" for row in kept))
        for row in measure(cases, repeats, click.echo, shlex.split(prefix)):
            with runs.open("a") as file:
                file.write(json.dumps(row) + "\n")
    rows = _read(runs)
    report.write(rows, RESULTS)
    click.echo(report.markdown(rows, findings(rows)))


def _judge(rows: list[Row]) -> None:
    shown = findings(rows, rough=True)
    click.echo(report.markdown(rows, shown))
    missed = [found.name for found in shown if not found.met] + parity_problems(rows)
    if missed:
        raise click.ClickException(f"far from the targets: {'; '.join(missed)}")


def _read(runs: Path) -> list[Row]:
    return [json.loads(line) for line in runs.read_text().splitlines()] if runs.exists() else []


if __name__ == "__main__":
    main()

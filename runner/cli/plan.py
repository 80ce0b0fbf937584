"""The verb `plan`, which prints a `runner.Plan`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.app import echo_json, make_console, takes_config, variable_notes, verb, wanted

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from runner.api.plan import Plan


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--probe", "with_probe", is_flag=True, help="Measure the memory of each distinct model first.")
@takes_config
def plan(arguments: Sequence[str], config_dir: Path | None, config_name: str, as_json: bool, with_probe: bool) -> None:
    """Prints what `sweep` would do: trials, slots, limits, rounds, steps."""
    from runner.api.runs import plan_sweep

    made = plan_sweep(wanted(arguments, config_dir, config_name), probe=with_probe)
    if as_json:
        echo_json(made.summary)
    else:
        console = make_console()
        _show(made, console)
        for text in variable_notes(made.config):
            console.print(text, markup=False, highlight=False, soft_wrap=True)


def _show(plan: Plan, console: Console) -> None:
    """Prints the plan for a person."""
    texts = plan.texts()
    console.print(f"[bold]{plan.name}[/]: {texts.headline}")
    for line in texts.slots:
        console.print(line, highlight=False)
    console.print(texts.store, markup=False, highlight=False, soft_wrap=True)
    for line in texts.disk:
        console.print(line, highlight=False)
    console.print(_table(plan))
    for line in texts.steps:
        console.print(line, highlight=False)


def _table(plan: Plan) -> Table:
    from rich.table import Table

    header, rows = plan.table()
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for name in header:
        table.add_column(name, justify="left" if name == "trial" else "right")
    for row in rows:
        table.add_row(*("–" if v is None else f"{v:.4g}" if isinstance(v, float) else str(v) for v in row))
    return table

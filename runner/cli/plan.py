"""The verb `plan`, which prints what `driver.plan` computes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.app import load, make_console, print_variable_notes, takes_config, verb

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from runner.driver.plan import Plan


@verb
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--probe", "with_probe", is_flag=True, help="Measure the memory of each distinct model first.")
@takes_config
def plan(arguments: Sequence[str], config_dir: Path | None, config_name: str, as_json: bool, with_probe: bool) -> None:
    """Prints what `sweep` would do: trials, slots, limits, rounds, steps."""
    config = load(arguments, config_dir, config_name)
    from runner.driver.prepare import prepare, probe

    prepared = prepare(config)
    from runner.driver.plan import make_plan  # imports SQLAlchemy, for which a mistake in the config need not wait

    made = make_plan(probe(prepared) if with_probe else prepared)
    if as_json:
        from runner.driver.plan_text import plan_summary
        from runner.review.catalog import SWEEPS

        click.echo(json.dumps(plan_summary(made, SWEEPS), indent=2, default=str))
    else:
        console = make_console()
        _show(made, console)
        print_variable_notes(config, console)


def _show(plan: Plan, console: Console) -> None:
    """Prints the plan for a person."""
    from runner.driver import plan_text
    from runner.review.catalog import SWEEPS

    console.print(f"[bold]{plan.prepared.config.name}[/]: {plan_text.headline(plan)}")
    for line in (*plan_text.slot_lines(plan.prepared), *plan_text.member_lines(plan)):
        console.print(line, highlight=False)
    console.print(plan_text.store_line(plan), markup=False, highlight=False, soft_wrap=True)
    for line in plan_text.space_lines(plan, SWEEPS):
        console.print(line, highlight=False)
    console.print(_table(plan))
    for line in plan_text.step_lines(plan):
        console.print(line, highlight=False)


def _table(plan: Plan) -> Table:
    from rich.table import Table

    from runner.driver.plan_text import trial_table

    header, rows = trial_table(plan)
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for name in header:
        table.add_column(name, justify="left" if name == "trial" else "right")
    for row in rows:
        table.add_row(*("–" if v is None else f"{v:.4g}" if isinstance(v, float) else str(v) for v in row))
    return table

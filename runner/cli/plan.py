"""The verb `plan`, which prints what `driver.plan` computes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from runner.cli.app import load, make_console, print_variable_notes, takes_config, verb
from runner.texts.redaction import without_credentials

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from runner.driver.plan import Plan
    from runner.driver.prepare import Prepared


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
        click.echo(json.dumps(_as_plain_data(made), indent=2, default=str))
    else:
        console = make_console()
        _show(made, console)
        print_variable_notes(config, console)


def _as_plain_data(plan: Plan) -> dict[str, object]:
    """The plan for other programs."""
    from runner.driver.prepare import sums

    prepared = plan.prepared
    return {
        "name": prepared.config.name,
        "metric": plan.metric,
        "goal": plan.goal,
        "fleet": prepared.config.fleet.kind,
        "tracking": {
            "uri": without_credentials(prepared.config.tracking.uri),
            "mlflow_experiment": prepared.config.tracking.mlflow_experiment,
        },
        "machine": asdict(prepared.machine),
        "nodes": {node: asdict(machine) for node, machine in prepared.machines.items() if node},
        "slots": [{"index": slot.index, **asdict(slot.allocation)} for slot in prepared.slots],
        "sums": sums(prepared),
        "models": [
            {"first_trial": need.trial.id, "trials": need.trials, "memory_mib": need.memory_mib}
            for need in prepared.needs
        ],
        "disk": _disk(plan),
        "cohorts": {member: [asdict(cohort) for cohort in cohorts] for member, cohorts in plan.cohorts.items()},
        "steps": plan.steps,
        "members": {
            member: {name: value for name, value in asdict(facts).items() if name not in ("summary", "steps_per_epoch")}
            for member, facts in plan.facts.items()
        },
        "trials": [
            {
                "id": planned.trial.id,
                "member": planned.trial.member,
                "settings": planned.trial.settings,
                "seed": planned.trial.seed,
                "steps_per_epoch": planned.steps_per_epoch,
                "rounds": planned.rounds,
                "steps": planned.steps,
            }
            for planned in plan.trials
        ],
    }


def _disk(plan: Plan) -> dict[str, object]:
    from runner.driver.disk import free_bytes
    from runner.review.catalog import SWEEPS

    return {
        "models_bytes": sum(plan.disk.models),
        "snapshots_bytes": plan.disk.snapshots * plan.disk.snapshot_bytes,
        "total_bytes": plan.disk.total_bytes,
        "free_bytes": free_bytes(SWEEPS),
        "measured": plan.disk.is_complete,
    }


def _show(plan: Plan, console: Console) -> None:
    """Prints the plan for a person."""
    from runner.driver.disk import lines as disk_lines
    from runner.driver.prepare import advice, sums
    from runner.review.catalog import SWEEPS

    prepared = plan.prepared
    slot, count, tracking = prepared.slots[0].allocation, len(prepared.slots), prepared.config.tracking
    limits = sorted({slot.allocation.gpu_memory_mib or 0 for slot in prepared.slots})
    limit = f"{limits[0]} to {limits[-1]}" if len(limits) > 1 else str(limits[0])
    gpu = f"{slot.num_gpus:g} GPU under a limit of {limit} MiB" if slot.num_gpus else "no GPU"
    console.print(
        f"[bold]{prepared.config.name}[/]: {prepared.most_trials} trials ranked by {plan.metric} ({plan.goal})"
    )
    console.print(
        f"{count} slots on the {prepared.config.fleet.kind} fleet, each {slot.num_cpus:g} CPU, {slot.threads} "
        f"TensorFlow thread{'s' * (slot.threads > 1)}, {gpu}",
        highlight=False,
    )
    for line in (*sums(prepared), *_needs(prepared), *advice(prepared)):
        console.print(f"  {line}", highlight=False)
    for name, facts in plan.facts.items():
        rows = "a stream" if facts.rows is None else f"{facts.rows} rows"
        how = facts.program + (f" ({facts.program_reason})" if facts.program_reason else "")
        console.print(f"{name}: {rows}, {facts.parameters} weights, program: {how}", highlight=False)
    text = f"runs go to {without_credentials(tracking.uri)}, MLflow experiment {tracking.mlflow_experiment}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    for line in disk_lines(plan.disk, SWEEPS):
        console.print(line, highlight=False)
    console.print(_table(plan))
    for line in _cohort_lines(plan):
        console.print(line, highlight=False)
    console.print(_steps_line(plan), highlight=False)


def _cohort_lines(plan: Plan) -> Iterator[str]:
    """How many settings train until which epoch; equal cohorts in one line."""
    population = plan.prepared.config.search.population
    for member, (count, replaced) in plan.populations.items():
        assert population is not None
        yield (
            f"{member}: a population of {count}: after every {population.interval} epochs the worst {replaced} go on "
            f"from the best {replaced}"
        )
    for member, cohorts in plan.cohorts.items():
        for cohort, count in Counter(cohorts).items():
            steps = ", ".join(
                f"{settings} to epoch {epoch}" for settings, epoch in zip(cohort.settings, cohort.epochs, strict=True)
            )
            times = f" ({count} such brackets)" if count > 1 else ""
            yield f"{member}: {plan.prepared.config.search.stop} trains {steps}{times}"


def _steps_line(plan: Plan) -> str:
    full = plan.full_steps
    if plan.steps == full:
        return f"{full} steps, if no rule stops a trial early"
    return f"{plan.steps} steps, {plan.steps / full:.0%} of the {full} that all trials would take"


def _needs(prepared: Prepared) -> Iterator[str]:
    """The memory that each distinct model takes; one line if nothing was measured."""
    where = "GPU memory" if prepared.slots[0].allocation.gpus else "host memory"
    if all(need.memory_mib is None for need in prepared.needs):
        yield f"{where} per model: not measured (plan --probe measures it)"
        return
    for need in prepared.needs:
        found = "not measured" if need.memory_mib is None else f"{need.memory_mib:.0f} MiB"
        searched = [name for name in need.trial.searched if not isinstance(need.trial.settings.get(name), float)]
        settings = " ".join(f"{name}={need.trial.settings.get(name)}" for name in searched if name != "seed")
        trials = f"{need.trials} trial{'s' * (need.trials > 1)}"
        yield f"{where} of {' '.join(filter(None, (need.trial.member, settings)))} ({trials}): {found}"


def _table(plan: Plan) -> Table:
    from rich.table import Table

    searched = [*dict.fromkeys(name for planned in plan.trials for name in planned.trial.searched if name != "seed")]
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for name in ("trial", *searched, "seed", "epochs", "steps/epoch", "rounds", "steps"):
        table.add_column(name, justify="left" if name == "trial" else "right")
    for planned in plan.trials:
        trial = planned.trial
        values = ["–" if name in trial.inactive else trial.settings.get(name, "") for name in searched]
        counts = (trial.seed, trial.train.epochs, planned.steps_per_epoch, planned.rounds, planned.steps)
        table.add_row(trial.id, *(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values), *map(str, counts))
    return table

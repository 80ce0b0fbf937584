"""What `sweep` would do, without doing it: trials, slots and limits, steps and rounds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from runner.autotune.auto import steps_per_epoch, with_turns
from runner.driver.check import check_members
from runner.driver.disk import free_bytes, plan_disk
from runner.driver.disk import lines as disk_lines
from runner.driver.metric import choose_metric
from runner.driver.prepare import Prepared, advice, open_fleet, sums
from runner.errors import ExperimentError
from runner.records import Checked, Facts, Failure, Trial
from runner.review.catalog import SWEEPS
from runner.texts.redaction import without_credentials


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedTrial:
    """One trial's share of the work, if no rule stops it early."""

    trial: Trial
    steps_per_epoch: int
    rounds: int
    steps: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """The whole sweep before it is run."""

    prepared: Prepared
    metric: str
    goal: str
    trials: tuple[PlannedTrial, ...]
    facts: Mapping[str, Facts]


def make_plan(prepared: Prepared) -> Plan:
    """Builds each member once in a worker, which tells the data's size, and counts.

    Raises:
        ExperimentError: a member cannot be trained.
    """
    with open_fleet(prepared, prepared.slots[:1]) as fleet:
        checked = check_members(prepared, fleet.check)
        metric, goal = choose_metric(prepared, checked)
        first_of_data = {trial.data_key: trial for trial in reversed(prepared.trials)}
        found = fleet.check(list(first_of_data.values()))
    sizes = {key: _facts(trial, found[trial.id], checked) for key, trial in first_of_data.items()}
    trials = tuple(_planned(t, sizes[t.data_key], checked[t.member].step_s) for t in prepared.trials)
    facts = {member: check.facts for member, check in checked.items()}
    return Plan(prepared=prepared, metric=metric, goal=goal, trials=trials, facts=facts)


def _facts(trial: Trial, found: Checked | Failure, checked: Mapping[str, Checked]) -> Facts:
    if isinstance(found, Checked):
        return found.facts
    if found.kind == "data":
        raise ExperimentError(f"{trial.source.path}: trial {trial.id}: {found.message}", found.traceback)
    return checked[trial.member].facts  # only this setting's model fails; its data is the member's


def _planned(trial: Trial, facts: Facts, step_s: float) -> PlannedTrial:
    length = steps_per_epoch(trial, facts)
    train = with_turns(trial, facts, step_s)
    rounds = math.ceil(train.epochs / train.epochs_per_round) * math.ceil(length / (train.steps_per_round or length))
    return PlannedTrial(trial=trial, steps_per_epoch=length, rounds=rounds, steps=length * trial.train.epochs)


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data."""
    return {
        "name": plan.prepared.config.name,
        "metric": plan.metric,
        "goal": plan.goal,
        "fleet": plan.prepared.config.fleet.kind,
        "tracking": {
            "uri": without_credentials(plan.prepared.config.tracking.uri),
            "mlflow_experiment": plan.prepared.config.tracking.mlflow_experiment,
        },
        "machine": asdict(plan.prepared.machine),
        "nodes": {node: asdict(machine) for node, machine in plan.prepared.machines.items() if node},
        "slots": [{"index": slot.index, **asdict(slot.allocation)} for slot in plan.prepared.slots],
        "sums": sums(plan.prepared),
        "models": [
            {"first_trial": need.trial.id, "trials": need.trials, "memory_mib": need.memory_mib}
            for need in plan.prepared.needs
        ],
        "disk": _disk_json(plan),
        "members": {name: _member_json(facts) for name, facts in plan.facts.items()},
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


def _disk_json(plan: Plan) -> dict[str, Any]:
    found = plan_disk(plan.prepared, plan.facts)
    return {
        "models_bytes": sum(found.models),
        "snapshots_bytes": found.snapshots * found.snapshot_bytes,
        "total_bytes": found.total_bytes,
        "free_bytes": free_bytes(SWEEPS),
        "measured": found.is_complete,
    }


def _member_json(facts: Facts) -> dict[str, Any]:
    return {name: value for name, value in asdict(facts).items() if name not in ("summary", "steps_per_epoch")}


def show(plan: Plan, console: Console) -> None:
    """Prints the plan for a person."""
    slot, count = plan.prepared.slots[0].allocation, len(plan.prepared.slots)
    limits = sorted({slot.allocation.gpu_memory_mib or 0 for slot in plan.prepared.slots})
    limit = f"{limits[0]} to {limits[-1]}" if len(limits) > 1 else str(limits[0])
    gpu = f"{slot.num_gpus:g} GPU under a limit of {limit} MiB" if slot.num_gpus else "no GPU"
    console.print(
        f"[bold]{plan.prepared.config.name}[/]: {len(plan.trials)} trials ranked by {plan.metric} ({plan.goal})"
    )
    console.print(
        f"{count} slots on the {plan.prepared.config.fleet.kind} fleet, each {slot.num_cpus:g} CPU, {slot.threads} "
        f"TensorFlow thread{'s' * (slot.threads > 1)}, {gpu}",
        highlight=False,
    )
    for line in (*sums(plan.prepared), *_needs(plan.prepared), *advice(plan.prepared)):
        console.print(f"  {line}", highlight=False)
    for name, facts in plan.facts.items():
        rows = "a stream" if facts.rows is None else f"{facts.rows} rows"
        how = facts.program + (f" ({facts.program_reason})" if facts.program_reason else "")
        console.print(f"{name}: {rows}, {facts.parameters} weights, program: {how}", highlight=False)
    tracking = plan.prepared.config.tracking
    text = f"runs go to {without_credentials(tracking.uri)}, MLflow experiment {tracking.mlflow_experiment}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    for line in disk_lines(plan_disk(plan.prepared, plan.facts), SWEEPS):
        console.print(line, highlight=False)
    console.print(_table(plan))
    console.print(f"{sum(p.steps for p in plan.trials)} steps, if no rule stops a trial early", highlight=False)


def _needs(prepared: Prepared) -> Iterator[str]:
    """What each distinct model takes; one line where nothing was measured."""
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
    searched = list(dict.fromkeys(name for planned in plan.trials for name in planned.trial.searched))
    table = Table(box=None, header_style="bold", padding=(0, 1))
    for name in ("trial", *searched, "seed", "epochs", "steps/epoch", "rounds", "steps"):
        table.add_column(name, justify="left" if name == "trial" else "right")
    for planned in plan.trials:
        trial = planned.trial
        values = [trial.settings.get(name, "") for name in searched]
        counts = (trial.seed, trial.train.epochs, planned.steps_per_epoch, planned.rounds, planned.steps)
        table.add_row(trial.id, *(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values), *map(str, counts))
    return table

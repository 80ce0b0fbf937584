"""A plan as text for a person, and as plain data for other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from runner.autotune import stacking
from runner.driver.disk import free_bytes
from runner.driver.disk import lines as disk_lines
from runner.driver.plan import Plan
from runner.driver.slots_text import sums
from runner.texts.redaction import without_credentials
from runner.views.numbers import count


def headline(plan: Plan) -> str:
    """How many trials there are, and what ranks them; without the sweep's name."""
    return f"{count(plan.prepared.most_trials, 'trial')} ranked by {plan.metric} ({plan.goal})"


def member_lines(plan: Plan) -> Iterator[str]:
    """The data and the model of each member."""
    for name, facts in plan.facts.items():
        rows = "a stream" if facts.rows is None else count(facts.rows, "row")
        how = facts.program + (f" ({facts.program_reason})" if facts.program_reason else "")
        yield f"{name}: {rows}, {facts.parameters} weights, program: {how}"


def stack_lines(plan: Plan) -> Iterator[str]:
    """The stacks that the sweep would try, if any."""
    prepared = plan.prepared
    wanted = prepared.config.resources.stack
    if told := stacking.planned(prepared.trials, len(prepared.slots), wanted, _on_gpu(plan)):
        yield f"stacks: {told} (resources.stack={wanted})"


def store_line(plan: Plan) -> str:
    """The store and the experiment that MLflow's runs go to."""
    tracking = plan.prepared.config.tracking
    return f"runs go to {without_credentials(tracking.uri)}, MLflow experiment {tracking.mlflow_experiment}"


def space_lines(plan: Plan, root: Path) -> Iterator[str]:
    """What the sweep takes of the disk of this folder."""
    return disk_lines(plan.disk, root)


def step_lines(plan: Plan) -> Iterator[str]:
    """How many settings train until which epoch, equal cohorts in one line; and the steps of all."""
    yield from _cohort_lines(plan)
    full = plan.full_steps
    if plan.steps == full:
        yield f"{full} steps, if no rule stops a trial early"
    else:
        yield f"{plan.steps} steps, {plan.steps / full:.0%} of the {full} that all trials would take"


def trial_table(plan: Plan) -> tuple[list[str], list[list[object]]]:
    """Header and rows: trial, searched settings (None if one does not matter for the trial), seed, and counts."""
    searched = [*dict.fromkeys(name for planned in plan.trials for name in planned.trial.searched if name != "seed")]
    rows: list[list[object]] = []
    for planned in plan.trials:
        trial = planned.trial
        values = [None if name in trial.inactive else trial.settings.get(name, "") for name in searched]
        counts = (trial.seed, trial.train.epochs, planned.steps_per_epoch, planned.rounds, planned.steps)
        rows.append([trial.id, *values, *counts])
    return ["trial", *searched, "seed", "epochs", "steps/epoch", "rounds", "steps"], rows


def plan_summary(plan: Plan, root: Path) -> dict[str, object]:
    """The plan as plain data.

    Args:
        plan: of a sweep.
        root: the folder of all sweeps.
    """
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
        "stacks": [
            {"first_trial": next(t.id for t in prepared.trials if t.likely_program == program), "size": size}
            for program, size in stacking.may_be_tried(
                prepared.trials, len(prepared.slots), prepared.config.resources.stack, _on_gpu(plan)
            ).items()
        ],
        "disk": {
            "models_bytes": sum(plan.disk.models),
            "snapshots_bytes": plan.disk.snapshots * plan.disk.snapshot_bytes,
            "total_bytes": plan.disk.total_bytes,
            "free_bytes": free_bytes(root),
            "measured": plan.disk.is_complete,
        },
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


def _on_gpu(plan: Plan) -> bool:
    return any(slot.allocation.num_gpus > 0 for slot in plan.prepared.slots)


def _cohort_lines(plan: Plan) -> Iterator[str]:
    population = plan.prepared.config.search.population
    for member, (size, replaced) in plan.populations.items():
        assert population is not None
        yield (
            f"{member}: a population of {size}: after every {population.interval} epochs the worst {replaced} go on "
            f"from the best {replaced}"
        )
    for member, cohorts in plan.cohorts.items():
        for cohort, times in Counter(cohorts).items():
            steps = ", ".join(
                f"{settings} to epoch {epoch}" for settings, epoch in zip(cohort.settings, cohort.epochs, strict=True)
            )
            such = f" ({times} such brackets)" if times > 1 else ""
            yield f"{member}: {plan.prepared.config.search.stop} trains {steps}{such}"

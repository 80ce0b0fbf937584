"""Tags, params and files that show a sweep and its trials in MLflow, computed from the journal's records. Pure.

Trials' runs repeat the params of the sweep's run and some of its tags, because MLflow's page hides children that do not
match a filter.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import NamedTuple

from runner.journal import BEST_EPOCH, SCORE, UNSURE, MetricRow, SweepRecord, TrialRecord, epoch_key
from runner.records import BY_CLOCK, Decision, Facts, stacks_of, to_json
from runner.tracking.metric_keys import artifact_path, mlflow_key
from runner.tracking.pages import view_of_trials
from runner.tracking.run_names import run_name

ENDING_TAGS = ("failure", "stop.reason", "stop.by_clock", "diverged")  # removed from the run of a trial that is resumed
RUN_NAME = "mlflow.runName"
RUN_STATUS = {"complete": "FINISHED", "stopped": "FINISHED", "failed": "FAILED", "killed": "KILLED"}


class Code(NamedTuple):
    """An experiment's code: its path as the user named it, its absolute folder, and its files relative to that."""

    path: str
    root: str
    files: tuple[str, ...]


def shared_tags(sweep: SweepRecord) -> dict[str, str]:
    """Tags of the sweep's run and of every trial's."""
    return {"sweep.id": sweep.id, "sweep.name": sweep.name}


def sweep_tags(sweep: SweepRecord) -> dict[str, str]:
    """Further tags of the sweep's run alone, because they would crowd those of its trials."""
    versions = {mlflow_key(f"version.{package}"): version for package, version in sweep.versions.items()}
    return {"sweep.metric": sweep.metric, "sweep.goal": sweep.goal, **versions}


def view_of(sweep: SweepRecord, trials: Sequence[TrialRecord], run_id: str) -> str:
    """The view that MLflow's page of the sweep's trials has: what varies, and the metrics that are known by now."""
    varied = dict.fromkeys(mlflow_key(name) for trial in trials for name in trial.trial.searched)
    of_trials = dict.fromkeys(name for trial in trials for name in trial.metrics if trial.ended_well)
    metrics = [epoch_key(sweep.metric), "loss", "val_loss", *of_trials]
    ascending = sweep.goal == "minimize"
    return view_of_trials(run_id, [*varied], [mlflow_key(name) for name in metrics], ascending=ascending)


def sweep_params(
    sweep: SweepRecord,
    settings: Iterable[Mapping[str, object]],
    late: bool = False,
    searched: Container[str] = (),
) -> dict[str, str]:
    """Params of the sweep's run and of every trial's: the sweep's own, and those that all its trials share.

    Args:
        sweep: the sweep.
        settings: of all trials.
        searched: names of settings that vary, also if the trials so far have equal values.
        late: whether to return the params that are only known once models are built, or all others.
    """
    each = [{key: value for key, value in of.items() if (key in UNSURE) == late} for of in settings]
    if late:
        return _params({key: value for key, value in each[0].items() if all(_has(of, key, value) for of in each)})
    own = {"sweep.metric": sweep.metric, "sweep.goal": sweep.goal}
    fixed = {key: value for key, value in each[0].items() if key not in searched}
    common = {key: value for key, value in fixed.items() if all(_has(other, key, value) for other in each)}
    return _params({**common, **own})


def trial_params(trial: TrialRecord) -> dict[str, str]:
    """Params of a trial's run beside the sweep's, as far as they are known."""
    known = trial.first_settings  # a run's params cannot change
    return _params(known if trial.facts else {key: value for key, value in known.items() if key not in UNSURE})


def model_params(trial: TrialRecord) -> dict[str, str]:
    """Params of a trial's model, with the values that it has in the end."""
    return _params(trial.used_settings)


def late_params(trial: TrialRecord) -> dict[str, str]:
    """Params that are only known once the model is built and its data loaded."""
    return {key: value for key, value in trial_params(trial).items() if key in UNSURE}


def code(trial: TrialRecord) -> Code:
    """The trial's code."""
    source = trial.trial.source
    return Code(source.path, source.root, tuple(name for name, _ in source.files))


def trial_tags(trial: TrialRecord) -> dict[str, str]:
    """Tags of a trial's run when it begins, beside the sweep's."""
    return {"trial.id": trial.id, "member": trial.member, **_place(trial)}


def _place(trial: TrialRecord) -> dict[str, str]:
    allocation = {} if trial.allocation is None else asdict(trial.allocation)
    share = {"slot": trial.slot, **{name: value for name, value in allocation.items() if value}}
    return {f"share.{name}": _text(value) for name, value in share.items()}


def facts_tags(facts: Facts) -> dict[str, str]:
    """Tags that are known once the model is built; empty ones are left out."""
    tags = {
        "program": facts.program,
        "program.reason": facts.program_reason,
        "exact": "false" if facts.inexact else "true",
        "exact.reason": facts.inexact,
        "stacked": str(facts.stack) if facts.stack > 1 else "",
        "stacked.difference": f"{facts.stack_difference:.1e}" if facts.stack > 1 else "",
        "stacked.reason": facts.stack_reason,
        "model.parameters": str(facts.parameters),
        "code.outside": ", ".join(facts.outside),
    }
    return {key: value for key, value in tags.items() if value}


def stack_tags(trial: TrialRecord, decisions: Iterable[Decision]) -> dict[str, str]:
    """The sizes of the stacks in which the trial has trained, if there were several."""
    later = stacks_of(decisions)
    return {"stacked.sizes": ", ".join(map(str, (trial.trial.train.stack, *later)))} if later else {}


def ending_tags(trial: TrialRecord, metric: str, seconds: Mapping[str, float], incidents: int) -> dict[str, str]:
    """Tags for where the trial's time went, why it ended early, and how often it has lost its worker.

    Repeats its slot and its share, which may have changed since it began, and names the run with its score.
    """
    tags = {f"time.{name}": f"{value:.3f}" for name, value in seconds.items()} | _place(trial)
    tags |= {RUN_NAME: run_name(trial, metric)}
    if trial.reason:
        tags["failure" if trial.status == "failed" else "stop.reason"] = trial.reason
    if trial.reason.startswith(tuple(f"{rule}:" for rule in BY_CLOCK)):
        tags["stop.by_clock"] = "true"
    if trial.diverged:
        tags["diverged"] = "true"
    if trial.lineage:
        tags["lineage"] = trial.lineage
        tags |= {} if trial.facts is None else facts_tags(trial.facts)  # of another model than it began with
    tags |= {f"param.{name}": _text(value) for clone in trial.clones for name, value in clone.values.items()}
    return tags | ({"failures": str(incidents)} if incidents else {})


def ending_metrics(sweep: SweepRecord, trial: TrialRecord, epoch_ended_ms: int) -> tuple[MetricRow, ...]:
    """An ended trial's score, and the epoch of its model; empty if it has no model.

    They have that epoch's timestamp, so that a resumed trial that keeps the same model has them once.
    """
    epoch = trial.kept_epoch
    if epoch is None or not trial.ended_well:
        return ()
    score = trial.score(sweep.metric)
    found = {BEST_EPOCH: float(epoch)} | ({} if score is None else {SCORE: score})
    return tuple(
        MetricRow(seq=0, trial=trial.id, key=key, step=epoch, value=value, timestamp_ms=epoch_ended_ms)
        for key, value in found.items()
    )


def no_score(trial: TrialRecord) -> tuple[MetricRow, ...]:
    """A NaN that replaces the score of a resumed trial that has none any more, so that MLflow ranks it last."""
    row = MetricRow(
        seq=0, trial=trial.id, key=SCORE, step=trial.epochs, value=math.nan, timestamp_ms=trial.ended_ms or 0
    )
    return (row,)


def sweep_files(sweep: SweepRecord) -> dict[str, str]:
    """Text artifacts of the sweep's run by path."""
    return {"config.yaml": sweep.config, "command.txt": sweep.command + "\n"}


def trial_files(trial: TrialRecord) -> dict[str, str]:
    """Text artifacts of a trial's run when it begins, by path: its record and its code."""
    files = trial.trial.source.files
    record = json.loads(to_json(trial.first))
    record["source"]["files"] = [name for name, _ in files]  # each is an artifact of its own
    texts = {"trial.json": json.dumps(record, indent=2, sort_keys=True) + "\n"}
    return texts | {source_path(name): text for name, text in files}


def source_path(name: str) -> str:
    """The artifact path of a file of the experiment's code."""
    return artifact_path(f"source/{name}")


def rebuild_reason(trial: TrialRecord) -> str:
    """Why a trial's model is kept as weights alone."""
    if trial.facts is not None and trial.facts.loadable:
        return "Keras cannot load the file that it saves of it"
    return "it uses classes that only its source defines"


def rebuild_note(sweep: SweepRecord, trial: TrialRecord, reason: str) -> str:
    """How to rebuild a model that plain Keras cannot load."""
    arguments = {name: trial.trial.params[name] for name in trial.trial.model_params}
    return (
        f"Plain Keras cannot load this model: {reason}\n"
        f"Rebuild it with {source_path(trial.trial.source.module)}:\n\n"
        f"    model = build_model(**{arguments!r})\n"
        "    weights = numpy.load('weights.npz', allow_pickle=False)\n"
        "    model.set_weights([weights[name] for name in weights.files])\n\n"
        "If its first training step creates weights, use the script that comes with an export instead:\n\n"
        f"    python -m runner best {sweep.id} --trial {trial.id} --export DIR\n\n"
        f"Or train it again (trial {trial.id}):\n\n    {sweep.command}\n"
    )


def model_name(sweep: SweepRecord, trial: TrialRecord) -> str:
    """A logged model's name, without the punctuation that MLflow refuses."""
    return re.sub(r"[/:.%\"']", "-", f"{sweep.name}-{trial.id}")


def _params(settings: Mapping[str, object]) -> dict[str, str]:
    return {mlflow_key(name): _text(value) for name, value in settings.items()}


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, list | dict | None) else str(value)


def _has(settings: Mapping[str, object], key: str, value: object) -> bool:
    # 1 == 1.0 == True, but as params they differ.
    return key in settings and _text(settings[key]) == _text(value)

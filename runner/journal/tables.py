"""The records that are read from a journal, and the names of its metrics."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from runner.records import DIVERGED, Allocation, Clone, Facts, Goal, Trial, Turn, json_text, uncloned

GPU_PEAK = "memory/gpu_peak_mib"  # a metric by optimizer step, recorded each time that it rises
ROUND_PREFIX = "round/"  # metrics of the current epoch so far; their step is the optimizer step
TEST_PREFIX = "test_"  # metrics of the finished model
END_PREFIX = "end/"  # metrics that callbacks log at the end of training
PARAM_PREFIX = "param/"  # values of parameters that change while a trial is trained; their step is the epoch
RATE = "optimizer/learning_rate"  # the optimizer's rate by epoch
EPOCH_PREFIX = "epoch/"  # marks an epoch metric whose own name looks like one of these
BEST_PREFIX, TRIALS_PREFIX, SYSTEM_PREFIX = "best/", "trials/", "system/"  # metrics of the sweep itself
SCORE, BEST_EPOCH = "score", "best_epoch"  # metrics of an ended trial in MLflow
# Settings that some data and models ignore or replace; a trial's facts say whether.
UNSURE = ("train.batch_size", "train.compile")
Status = Literal["queued", "running", "complete", "stopped", "failed", "killed"]
SweepStatus = Literal["running", "complete", "failed", "killed"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRecord:
    """One sweep as the journal has it. Times are milliseconds since the Unix epoch.

    Args:
        config: the resolved config as YAML.
        command: the command line that repeats the sweep.
        tracking_uri: the config's store, without credentials.
        versions: packages whose versions may change results.
        register: the name under which the best trial's model is registered in MLflow; None to register none.
        notified: whether the command that is called at the sweep's end was called for this end.
    """

    id: str
    name: str
    created_ms: int
    metric: str
    goal: Goal
    config: str
    command: str
    tracking_uri: str
    mlflow_experiment: str
    versions: Mapping[str, str]
    status: SweepStatus = "running"
    ended_ms: int | None = None
    run_id: str | None = None
    register: str | None = None
    notified: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """One trial as the journal has it.

    Args:
        settings: `Trial.settings` in JSON's types: a tuple is a list.
        trial: the whole trial.
        metrics: epoch metrics of the trial's model, which are those of `kept_epoch`; until it has ended, the latest.
        best_epoch: the epoch whose weights the trial's model has, if early stopping restores the best.
        epochs: number of completed epochs.
        seconds: of its worker's time that all its turns took; in a stack its share of them.
        ended_by: who decided its last end, as `Decision.by`; empty if none has been decided.
        clones: other trials' states from which it has gone on, in order.
        model: path of the exported `.keras` file relative to the sweep's folder; None before its end.
        run_id: its run in the config's own MLflow store, once there is one.
    """

    id: str
    position: int
    member: str
    settings: Mapping[str, object]
    trial: Trial
    status: Status
    reason: str
    traceback: str
    slot: int | None
    allocation: Allocation | None
    facts: Facts | None
    best_epoch: int | None
    started_ms: int | None
    ended_ms: int | None
    clones: tuple[Clone, ...] = ()
    model: str | None = None
    weights: str | None = None
    run_id: str | None = None
    epochs: int = 0
    seconds: float = 0.0
    ended_by: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def used_settings(self) -> dict[str, object]:
        """The settings as data and model use them, without those that do not matter for this trial."""
        return self._used(self.settings, self.trial)

    @property
    def first_settings(self) -> dict[str, object]:
        """The same as the trial began, before it took over values of others."""
        first = self.first
        is_changed = any(clone.values for clone in self.clones)
        settings = json.loads(json_text(first.settings)) if is_changed else self.settings
        return self._used(settings, first)

    @property
    def first(self) -> Trial:
        """The trial as it began."""
        return functools.reduce(uncloned, reversed(self.clones), self.trial)

    @property
    def lineage(self) -> str:
        """Whose states it went on from, and after which epochs; empty for its own all along."""
        return ", ".join(f"from {clone.parent} after epoch {clone.epoch}" for clone in self.clones)

    def _used(self, settings: Mapping[str, object], trial: Trial) -> dict[str, object]:
        used = {name: value for name, value in settings.items() if name not in trial.inactive}
        if self.facts is None:
            return used
        if self.facts.rows is None:
            used.pop("train.batch_size", None)  # a pipeline makes its own batches
        if self.facts.compile:
            used["train.compile"] = self.facts.compile
        return used

    @property
    def ended_well(self) -> bool:
        """Whether it was trained until all its epochs were done or a rule stopped it."""
        return self.status in ("complete", "stopped")

    @property
    def diverged(self) -> bool:
        """Whether it was stopped because its loss is not finite."""
        return self.status == "stopped" and self.reason.startswith(DIVERGED)

    @property
    def cause(self) -> str:
        """Why it has ended early, in one word: the rule that stopped it, `diverged`, or where it failed; else empty."""
        if self.diverged:
            return "diverged"
        if self.status == "failed":
            kind = self.reason.partition(":")[0]
            return kind if kind.isidentifier() else "failed"
        return self.ended_by if self.status == "stopped" else ""

    @property
    def kept_epoch(self) -> int | None:
        """The epoch whose weights its model has, or would have if it ended now; None if it has no model."""
        if self.status == "failed" or (self.diverged and self.best_epoch is None):
            return None
        return self.best_epoch or self.epochs or None

    def score(self, metric: str) -> float | None:
        """The metric of its model, which ranks it; None without a model or without a finite value."""
        value = None if self.kept_epoch is None else self.metrics.get(epoch_key(metric))
        return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True, kw_only=True, slots=True)
class MetricRow:
    """One value of one metric; `seq` orders all rows of a sweep."""

    seq: int
    trial: str
    key: str
    step: int
    value: float
    timestamp_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TurnRow:
    """One turn of one trial.

    Args:
        slot: in which it ran, which may not be that of the turn before.
        step: optimizer steps done after it.
        epoch: epochs completed after it.
    """

    trial: str
    slot: int
    round: int
    step: int
    epoch: int
    turn: Turn


@dataclass(frozen=True, kw_only=True, slots=True)
class BarrierRow:
    """One barrier. Times are seconds since the epoch.

    Args:
        began_s: when its round began.
        reported_s: when all workers had reported.
        committed_s: when the journal had it; None if the driver died before it wrote that down.
    """

    number: int
    began_s: float
    reported_s: float
    committed_s: float | None

    @property
    def ended_s(self) -> float:
        """When the journal had it; if that is not known, when all workers had reported."""
        return self.reported_s if self.committed_s is None else self.committed_s

    @property
    def commit_s(self) -> float:
        """Seconds that the commit took; 0 if they are not known."""
        return self.ended_s - self.reported_s


def number_of(value: float | None) -> float:
    """The value of a metric as its row has it: sqlite has no NaN, so that NULL stands for it."""
    return math.nan if value is None else value


def epoch_key(name: str) -> str:
    """The key of an epoch metric; marks a name that looks like one of this program's own metrics."""
    others = (ROUND_PREFIX, TEST_PREFIX, END_PREFIX, EPOCH_PREFIX, PARAM_PREFIX, "memory/")
    return EPOCH_PREFIX + name if name.startswith(others) or name in (SCORE, BEST_EPOCH, RATE) else name

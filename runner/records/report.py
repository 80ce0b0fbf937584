"""What workers return: the check of a trial, the report of a turn, an exported model, a snapshot, or a failure."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from runner.records.details import Details
from runner.records.facts import Facts
from runner.records.trial import Metrics

Files: TypeAlias = tuple[tuple[str, bytes], ...]
"""Files by value: paths relative to their folder, with `/`, and contents."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Aside:
    """What an experiment's code prints, and warnings, beside the worker's answer.

    Args:
        output: printed since the previous answer; shortened if it is long.
        warnings: for a person, each shown once in a sweep.
    """

    output: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StackTrial:
    """A stack of copies of one model, tried beside the model alone under XLA.

    Args:
        size: number of models.
        reason: why it cannot be; empty if it can.
        difference: as `Facts.stack_difference`.
        step_s: measured seconds of one step of all models.
        alone_s: of one step of one model.
        compile_s: seconds to trace and compile the stack and to run it once.
    """

    size: int
    reason: str = ""
    difference: float = 0.0
    step_s: float = 0.0
    alone_s: float = 0.0
    compile_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """The check of a trial: its model was built, trained for one step and discarded.

    Args:
        metrics: names of the epoch metrics that the trial will report.
        step_s: measured seconds of one training step.
        trace_s: seconds to trace and compile the step and to run it once.
        memory_mib: peak of the GPU's allocator during the check, MiB; without a GPU, of the process's resident memory.
        details: for a person; a worker always gives them.
        stacked: the trial of a stack; None if none was wanted.
    """

    trial_id: str
    facts: Facts
    metrics: tuple[str, ...]
    step_s: float
    trace_s: float
    memory_mib: float = 0.0
    details: Details | None = None
    stacked: StackTrial | None = None
    aside: Aside = Aside()


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """When a turn ran, where, and at what cost. Times are seconds since the Unix epoch, on the worker's clock.

    Args:
        compute_s: seconds in training steps.
        evaluate_s: seconds in validation.
        seat_s: seconds spent building and tracing the model, in its first turn.
        swap_s: seconds spent exchanging another trial's variables for this trial's.
        memory_mib: peak resident memory of the worker's process, MiB.
        gpu_memory_mib: highest peak of TensorFlow's allocator on any GPU in this turn, MiB; 0 without a GPU.
    """

    pid: int
    started_s: float
    ended_s: float
    compute_s: float
    evaluate_s: float = 0.0
    seat_s: float = 0.0
    swap_s: float = 0.0
    memory_mib: float = 0.0
    gpu_memory_mib: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """An epoch that has ended.

    Args:
        number: its number, from 1.
        metrics: exactly what Keras' `History` would hold for it.
        ended_s: seconds since the Unix epoch, on the worker's clock.
        learning_rate: of its last step; None if the model has no optimizer.
    """

    number: int
    metrics: Metrics
    ended_s: float
    learning_rate: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Renewed:
    """What a worker returns when a sweep that used it has ended.

    Args:
        codes: identities of the sources that it has imported.
        reasons: why no other sweep may use it, for a person; empty if another sweep of the same code may.
    """

    codes: frozenset[str]
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a worker returns for a trial's turn.

    Args:
        trial_id: the trial.
        round: the trial's own round.
        step: optimizer steps since the trial began, with those of the state that it went on from.
        epoch: epochs completed.
        running: metrics of the current epoch so far, as Keras' progress bar shows them.
        epochs: those that ended in this turn, in order; the last one ended when the turn did.
        facts: in the first report, and in the first after a clone, because the model may be another one.
        stops: a callback has set `model.stop_training`.
        logged: as `Export.logged`, of a trial whose loss is not finite, because it may have no model; so is `files`.
        files: as `Export.files`.
        is_worn: the worker wants to be replaced before it has many more models.
    """

    trial_id: str
    round: int
    step: int
    epoch: int
    running: Metrics
    turn: Turn
    epochs: tuple[Epoch, ...] = ()
    facts: Facts | None = None
    stops: bool = False
    logged: Metrics = field(default_factory=dict)
    files: Files | None = None
    is_worn: bool = False
    aside: Aside = Aside()


FailureKind = Literal["data", "build", "train", "export", "snapshot", "disk", "oom", "worker", "hang"]
_LOST: frozenset[FailureKind] = frozenset({"oom", "worker", "hang"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A failed turn. It is a value, not an exception, so that it does not hide the reports of other trials.

    Args:
        kind: `data`, `build`, `train` or `export`: the experiment's own code failed there; `snapshot`: a snapshot does
            not fit the rebuilt model; `disk`: a disk is full or read-only, no matter who wrote to it; `oom`: out of
            memory, reported by the process or the reason why it was killed; `worker`: the process died; `hang`: it took
            too long and was killed.
        noticed_s: when the loss of a worker was noticed, seconds since the Unix epoch; 0 for other kinds.
        epochs: those that had ended in the turn.
        facts: None if the model had not been built.
        place: file and line of the innermost frame in the experiment's own code, as `a.py:3, in helper`; empty if
            there is none.
        files: as `Export.files`.
    """

    trial_id: str
    kind: FailureKind
    message: str
    traceback: str = ""
    noticed_s: float = 0.0
    epochs: tuple[Epoch, ...] = ()
    facts: Facts | None = None
    aside: Aside = Aside()
    place: str = ""
    files: Files | None = None

    @property
    def lost_worker(self) -> bool:
        """Whether the worker's process is gone or unusable, with every seat in it: the slot needs a new worker."""
        return self.kind in _LOST


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """A finished trial's model, by value or as files on this machine that the receiver may move.

    Args:
        model: a `.keras` file if `Facts.loadable` is true and Keras can load the file again; else empty bytes.
        weights: an `.npz` of all weights in the order of `model.get_weights()`.
        test_metrics: `test_*` metrics; empty if the data has no test split.
        logged: what callbacks have logged at the end of training, by name.
        best_epoch: the epoch whose weights a callback has put in place at the end of training; None for the last one.
        files: what callbacks have written, if the trial has no folder on this machine; None if it has.
    """

    trial_id: str
    model: bytes | Path
    weights: bytes | Path
    test_metrics: Metrics = field(default_factory=dict)
    logged: Metrics = field(default_factory=dict)
    best_epoch: int | None = None
    files: Files | None = None
    aside: Aside = Aside()


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Everything that a trial needs to continue as if it had never been interrupted.

    Args:
        round: turns completed; a snapshot of an interrupted turn lies within turn number `round`.
        step: optimizer steps done.
        state: an `.npz` that needs no pickle, by value or as a file on this machine; only workers know its contents.
        aside: what the interrupted turn has printed, because that turn has no report.
        inherited: the state is another trial's, from which this one goes on.
    """

    trial_id: str
    round: int
    step: int
    state: bytes | Path
    aside: Aside = Aside()
    inherited: bool = False

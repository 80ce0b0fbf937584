"""What workers answer: what a model is, what a turn gave, a model or a state by value, or why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

from runner.records.json_values import Plain
from runner.records.trial import Metrics

ProgramKind = Literal["round", "stream", "plain"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tensor:
    """One input or output of a model.

    Args:
        name: None where it is the only one.
        shape: of a batch; -1 for sizes that vary, the first among them.
    """

    name: str | None
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Signature:
    """What a model takes and gives; `outputs` is None where it does not say."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] | None

    @classmethod
    def of(cls, plain: Plain) -> Self:
        """The signature whose `asdict`, read back from JSON, gave these plain values."""
        outputs = plain["outputs"]
        return cls(inputs=_tensors(plain["inputs"]), outputs=None if outputs is None else _tensors(outputs))


def _tensors(plain: Sequence[Plain]) -> tuple[Tensor, ...]:
    return tuple(Tensor(**{**each, "shape": tuple(each["shape"])}) for each in plain)


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What only the built model and the loaded data can tell of a trial; fixed before its first step.

    Args:
        steps_per_epoch: optimizer steps an epoch.
        rows: training rows; None for a dataset of unknown length.
        validation_rows: validation rows; None for none or unknown.
        parameters: number of the model's weights, trainable and not.
        program: how its steps run: "round" (compiled rounds over arrays in memory), "stream" (compiled rounds over a
            `tf.data` pipeline) or "plain" (one call a step).
        program_reason: why it is not "round"; empty where it is.
        inexact: why a repetition may differ in the last bits or more; empty for exact trials.
        summary: the model's summary as text.
        batch: what a training batch looks like, as the Python that makes it of TensorFlow's specs; empty where it has
            parts that are no tensors.
        loadable: True where plain `keras.models.load_model` can load the exported model without the user's code.
        signature: None for a model that does not say what it takes.
        weights_bytes: of its weights; 0 where unknown.
        state_bytes: of all that training changes: weights, the optimizer's state, metrics.
        compile: how its steps run where the model decides it: "eager" for `run_eagerly`, "xla" for `jit_compile`; empty
            where `train.compile` does.
        outside: files that the experiment's code has imported, which are neither in its folder nor installed.
    """

    steps_per_epoch: int
    rows: int | None
    validation_rows: int | None
    parameters: int
    program: ProgramKind
    program_reason: str
    inexact: str
    summary: str
    loadable: bool
    batch: str = ""
    signature: Signature | None = None
    weights_bytes: int = 0
    state_bytes: int = 0
    compile: Literal["", "eager", "xla"] = ""
    outside: tuple[str, ...] = ()

    @classmethod
    def of(cls, plain: Plain) -> Self:
        """The facts whose `to_json` gave these plain values."""
        signature = plain.get("signature")
        typed = {"signature": None if signature is None else Signature.of(signature)}
        return cls(**{**plain, **typed, "outside": tuple(plain.get("outside", ()))})


@dataclass(frozen=True, kw_only=True, slots=True)
class Aside:
    """What an experiment's code says beside its answer.

    Args:
        output: what it has printed since the answer before, shortened where it is long.
        warnings: what a person should hear once in a sweep.
    """

    output: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    """A trial that has been built and tried for one step, on a model that was thrown away.

    Args:
        metrics: names of the epoch metrics that the trial will report.
        step_s: seconds of one training step, measured.
        trace_s: seconds to trace and compile the step and to run it once.
        memory_mib: peak of the GPU's allocator meanwhile, or without a GPU of the process' resident memory, MiB.
    """

    trial_id: str
    facts: Facts
    metrics: tuple[str, ...]
    step_s: float
    trace_s: float
    memory_mib: float = 0.0
    aside: Aside = Aside()


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """Where and when a turn ran. Times are seconds since the epoch, on the worker's clock.

    Args:
        compute_s: seconds inside training steps.
        evaluate_s: seconds inside validation.
        seat_s: seconds spent to build and trace the model (first turn only).
        swap_s: seconds spent to put the trial's variables in place of another's.
        memory_mib: peak resident memory of the worker's process, MiB.
        gpu_memory_mib: peak of TensorFlow's allocator on the fullest GPU in this turn, MiB; 0 without a GPU.
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
        number: epochs completed with it, from 1.
        metrics: exactly what `History` would hold for it.
        ended_s: when, seconds since the epoch, on the worker's clock.
    """

    number: int
    metrics: Metrics
    ended_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a trial returns for its turn.

    Args:
        trial_id: whose report.
        round: the trial's own round.
        step: optimizer steps done since the trial began.
        epoch: epochs completed.
        running: metrics of the current epoch so far, as Keras' progress bar shows them.
        epochs: those that ended in this turn, in order; the last of them ended with it.
        facts: with the first report only.
    """

    trial_id: str
    round: int
    step: int
    epoch: int
    running: Metrics
    turn: Turn
    epochs: tuple[Epoch, ...] = ()
    facts: Facts | None = None
    aside: Aside = Aside()


FailureKind = Literal["data", "build", "train", "export", "snapshot", "disk", "oom", "worker", "hang"]
_LOST: frozenset[FailureKind] = frozenset({"oom", "worker", "hang"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A failed turn, as a value: it hides no sibling's report.

    Args:
        kind: `data`, `build`, `train` or `export`: the experiment's own code failed there; `snapshot`: a snapshot does
            not fit the rebuilt model; `disk`: a disk took no more, whoever wrote to it; `oom`: out of memory, of which
            the process told or was killed; `worker`: the process died; `hang`: it took too long and was killed.
        noticed_s: when a lost worker was noticed, seconds since the epoch; 0 for other kinds.
        epochs: those that had ended in the turn.
        facts: where the model had been built.
        place: file and line of the innermost frame that is the experiment's own; empty where none is.
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

    @property
    def lost_worker(self) -> bool:
        """True where the process is gone or not to be used again, and every seat in it: the slot needs a new worker."""
        return self.kind in _LOST


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """A finished trial's model, by value or as files of this machine that whoever gets them may move away.

    Args:
        model: a `.keras` file where `Facts.loadable` and Keras loads it again; else empty bytes.
        weights: an `.npz` of all weights in the order of `model.get_weights()`.
        test_metrics: `test_*` metrics where the data has a test split.
    """

    trial_id: str
    model: bytes | Path
    weights: bytes | Path
    test_metrics: Metrics = field(default_factory=dict)
    aside: Aside = Aside()


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """All that is needed to go on with a trial as if it had never been interrupted.

    Args:
        round: turns completed; a snapshot of an interrupted turn lies within turn number `round`.
        step: optimizer steps done.
        state: an `.npz` that needs no pickle, by value or as a file of this machine; what is in it only workers know.
        aside: what its turn has said that was interrupted and has no report.
    """

    trial_id: str
    round: int
    step: int
    state: bytes | Path
    aside: Aside = Aside()

"""Frozen records that cross module borders. Plain data: a driver, a worker and a journal read them alike."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, Self

Params = Mapping[str, Any]
Metrics = Mapping[str, float]
Goal = Literal["maximize", "minimize"]
Mode = Literal["auto", "min", "max"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyStopping:
    """Stop a trial whose monitored epoch metric no longer improves; semantics of `keras.callbacks.EarlyStopping`."""

    monitor: str = "val_loss"
    min_delta: float = 0.0
    patience: int = 0
    mode: Mode = "auto"
    baseline: float | None = None
    start_from_epoch: int = 0
    restore_best: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ReduceLROnPlateau:
    """Lower the learning rate on a plateau; semantics of `keras.callbacks.ReduceLROnPlateau`."""

    monitor: str = "val_loss"
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4
    mode: Mode = "auto"
    cooldown: int = 0
    min_lr: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """How a trial is trained; part of its identity.

    Args:
        epochs: epochs to train.
        batch_size: rows a step, for array data (a `tf.data.Dataset` brings its own batches).
        steps_per_epoch: steps an epoch; None for one pass over the data.
        steps_per_round: most steps of one turn; None for a whole epoch. The driver decides "auto" before the first
            step.
        shuffle: a fresh permutation of the rows for each pass, from (seed, pass).
        validate_every: validate at the end of every n-th epoch.
        compile: how its steps are compiled, which changes results in the last bits. The driver decides "auto" before
            the first step; a worker takes it for "graph".
    """

    epochs: int = 10
    batch_size: int = 32
    steps_per_epoch: int | None = None
    steps_per_round: int | None = None
    shuffle: bool = True
    validate_every: int = 1
    compile: Literal["auto", "graph", "xla"] = "graph"
    early_stopping: EarlyStopping | None = None
    reduce_lr_on_plateau: ReduceLROnPlateau | None = None

    def steps_in_turn(self, steps_per_epoch: int, step: int) -> int:
        """Steps of the turn that starts after `step` optimizer steps: never past the end of the epoch."""
        return min(self.steps_per_round or steps_per_epoch, steps_per_epoch - step % steps_per_epoch)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """An experiment's code, carried by value so that a worker on another node can run it.

    Args:
        path: the experiment file as the user named it.
        root: absolute folder it lies in on the driver's machine.
        files: `(path relative to root, text)` of the experiment file and the Python files beside it that it imports.
    """

    path: str
    root: str
    files: tuple[tuple[str, str], ...]

    @property
    def module(self) -> str:
        """File name of the experiment within `root`."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def digest(self) -> str:
        """SHA-256 over names and texts: equal digests are equal code."""
        return _digest(self.files)

    @property
    def identity(self) -> str:
        """Equal for the same code in the same place."""
        return f"{self.root}/{self.module}:{self.digest[:16]}"


@functools.lru_cache(maxsize=256)  # asked for in every turn of every trial
def _digest(files: tuple[tuple[str, str], ...]) -> str:
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One model with fixed hyperparameters and a seed. Data, not a process.

    Args:
        id: unique within the sweep and fit for a file name, such as "007" or "cnn-002".
        member: the experiment within a mixed sweep; the sweep's name where there is only one.
        params: every parameter of `build_model` and `load_data`, the signatures' defaults included.
        data_params: the names in `params` that `load_data` takes.
        model_params: the names in `params` that `build_model` takes.
        searched: the names (`units`, `train.batch_size`, `seed`) that this sweep varies.
    """

    id: str
    index: int
    member: str
    source: Source
    params: Params
    data_params: tuple[str, ...]
    model_params: tuple[str, ...]
    searched: tuple[str, ...]
    train: TrainSettings
    seed: int

    @property
    def data_key(self) -> str:
        """Equal for trials that share one loaded data set: same file, code and values of `load_data`'s parameters.

        Equal code in two folders may read what lies beside it.
        """
        values = {name: self.params[name] for name in self.data_params}
        return self.source.identity + json.dumps(values, sort_keys=True, default=str)

    @property
    def settings(self) -> dict[str, Any]:
        """What distinguishes this trial, flat: its parameters, and the training settings that may be searched.

        A parameter named seed is `params.seed` here: `seed` is the trial's own.
        """
        train = {
            f"train.{name}": getattr(self.train, name)
            for name in ("epochs", "batch_size", "steps_per_epoch", "compile")
        }
        params = {"params.seed" if name == "seed" else name: value for name, value in self.params.items()}
        return {**params, **train, "seed": self.seed}

    @property
    def digest(self) -> str:
        """SHA-256 over all that its numbers depend on: equal digests train alike, for however many epochs."""
        endless = replace(self, train=replace(self.train, epochs=0))
        return hashlib.sha256(to_json(endless).encode()).hexdigest()

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """The trial whose `to_json` gave these plain values."""
        train, source = dict(record["train"]), dict(record["source"])
        rules = {"early_stopping": EarlyStopping, "reduce_lr_on_plateau": ReduceLROnPlateau}
        train |= {name: None if train[name] is None else rule(**train[name]) for name, rule in rules.items()}
        source["files"] = tuple((name, text) for name, text in source["files"])
        names = {name: tuple(record[name]) for name in ("data_params", "model_params", "searched")}
        return cls(**{**record, **names, "source": Source(**source), "train": TrainSettings(**train)})


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """A slot's share of a device: one record feeds Ray's request, TensorFlow's limits and MPS.

    Args:
        num_cpus: CPUs asked of Ray; may be a fraction.
        num_gpus: GPUs asked of Ray; may be a fraction.
        gpus: the GPUs it is planned for, by their names in CUDA_VISIBLE_DEVICES; one, unless `num_gpus` is above 1.
        gpu_memory_mib: TensorFlow's memory limit on each of them, MiB; None without a GPU.
        gpu_overhead_mib: what the process is taken to need there beyond the limit, MiB.
        threads: TensorFlow's intra-op and inter-op threads. They change results in the last bits, so they are part of
            a trial's identity.
        memory_mib: host memory that the process may take beyond what it has as a bare worker, MiB; None for no limit.
        mps_thread_percentage: the part of the GPU's multiprocessors that MPS lets it use; None without MPS.
        node: the machine, by what Ray calls it; empty for this one.
    """

    num_cpus: float
    num_gpus: float = 0.0
    gpus: tuple[str, ...] = ()
    gpu_memory_mib: int | None = None
    gpu_overhead_mib: int = 0
    threads: int = 1
    memory_mib: int | None = None
    mps_thread_percentage: int | None = None
    node: str = ""

    @property
    def memory_limit_mib(self) -> int | None:
        """The limit that a model may run into: of GPU memory where it has a GPU, else of host memory."""
        return self.gpu_memory_mib if self.gpus else self.memory_mib


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A place for one worker."""

    index: int
    allocation: Allocation


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """The driver's order for one trial's turn.

    Args:
        trial: whose turn it is; a trial new to the worker is seated first.
        round: the trial's own round, from 0.
        keep_best: before stepping, keep a copy of the weights (the last epoch was the best so far).
        learning_rate: before stepping, set the optimizer's learning rate.
    """

    trial: Trial
    round: int
    keep_best: bool = False
    learning_rate: float | None = None


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
        loadable: True where plain `keras.models.load_model` can load the exported model without the user's code.
        signature: None for a model that does not say what it takes.
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
    signature: Signature | None = None


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
class Report:
    """What a trial returns for its turn.

    Args:
        trial_id: whose report.
        round: the trial's own round.
        step: optimizer steps done since the trial began.
        epoch: epochs completed.
        running: metrics of the current epoch so far, as Keras' progress bar shows them.
        epoch_metrics: at an epoch's end, exactly what `History` would hold for it; else None.
        facts: with the first report only.
    """

    trial_id: str
    round: int
    step: int
    epoch: int
    running: Metrics
    epoch_metrics: Metrics | None
    turn: Turn
    facts: Facts | None = None


FailureKind = Literal["data", "build", "train", "export", "snapshot", "oom", "worker", "hang"]
_LOST: frozenset[FailureKind] = frozenset({"oom", "worker", "hang"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """A failed turn, as a value: it hides no sibling's report.

    Args:
        kind: `data`, `build`, `train` or `export`: the experiment's own code failed there; `snapshot`: a snapshot does
            not fit the rebuilt model; `oom`: out of memory, of which the process told or was killed; `worker`: the
            process died; `hang`: it took too long and was killed.
        noticed_s: when a lost worker was noticed, seconds since the epoch; 0 for other kinds.
    """

    trial_id: str
    kind: FailureKind
    message: str
    traceback: str = ""
    noticed_s: float = 0.0

    @property
    def lost_worker(self) -> bool:
        """True where the process is gone or not to be used again, and every seat in it: the slot needs a new worker."""
        return self.kind in _LOST


VerdictKind = Literal["keep", "complete", "stop", "fail"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the driver decides for a trial at the barrier.

    Args:
        kind: keep on; complete (all epochs done); stop (a rule says so); fail.
        reason: why a rule stopped it or why it failed.
        keep_best: the epoch just ended is the best so far and its weights may be restored later.
        learning_rate: learning rate to set before the next step.
        restore_best: the trial's result is the kept best weights, not the last ones.
    """

    kind: VerdictKind
    reason: str = ""
    keep_best: bool = False
    learning_rate: float | None = None
    restore_best: bool = False

    @property
    def ends(self) -> bool:
        """True where the trial leaves its slot."""
        return self.kind != "keep"


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """A finished trial's model by value.

    Args:
        model: bytes of a `.keras` file where `Facts.loadable` and Keras loads it again; else empty.
        weights: bytes of an `.npz` of all weights in the order of `model.get_weights()`.
        test_metrics: `test_*` metrics where the data has a test split.
    """

    trial_id: str
    model: bytes
    weights: bytes
    test_metrics: Metrics = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """All that is needed to go on with a trial as if it had never been interrupted.

    Args:
        round: turns completed; a snapshot of an interrupted turn lies within turn number `round`.
        step: optimizer steps done.
        state: an `.npz` that needs no pickle; what is in it only workers know.
    """

    trial_id: str
    round: int
    step: int
    state: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Incident:
    """A trial has lost its worker.

    Args:
        round: the turn it happened in.
        kind: as `Failure.kind`.
        noticed_s: seconds since the epoch.
    """

    trial_id: str
    round: int
    kind: FailureKind
    message: str
    noticed_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """How a trial that has no seat gets one again, and its state.

    Args:
        snapshot: where to begin; None for the trial's beginning.
        orders: the turns since then, to be repeated.
    """

    trial: Trial
    snapshot: Snapshot | None
    orders: tuple[Work, ...]


def to_json(record: Any) -> str:
    """A record as JSON text with sorted keys; values JSON does not know are written as strings."""
    return json.dumps(asdict(record), sort_keys=True, default=str)

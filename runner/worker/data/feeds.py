"""A trial's splits behind one interface: arrays in memory, or `tf.data` pipelines."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol, TypeAlias

import keras
import tensorflow as tf

from runner.data import Data, is_pydataset
from runner.records import TrainSettings
from runner.worker import private
from runner.worker.data.arrays import ArrayData, ArraySplit, as_tensor
from runner.worker.data.batches import Batch, RowOrder, Rows, Stream
from runner.worker.data.digests import digest_of_arrays, digest_of_pipeline
from runner.worker.data.pipelines import is_endless, is_seeded_by_iterators, is_the_same_each_pass, pipeline_inexact
from runner.worker.data.pydataset import INEXACT as PYDATASET_INEXACT
from runner.worker.data.pydataset import as_pipeline
from runner.worker.programs.base import Logs, Program, StepFunction
from runner.worker.programs.compiled import rows_program, stream_program
from runner.worker.shared_parts import SharedParts

SPLITS = ("train", "validation", "test")
Evaluator: TypeAlias = Callable[["BatchHooks | None"], Logs]
Shape: TypeAlias = tuple[tf.TypeSpec, int | None, int | None]
_TAKE = "give it one by .take(n), of n batches: it is evaluated whole"


class DataError(ValueError):
    """What `load_data` returned cannot be trained on, whatever the model."""


class BatchHooks(Protocol):
    """Is called for each batch of an evaluation."""

    def begin(self, batch: int) -> None:
        """Before a batch, from 0."""

    def end(self, batch: int, logs: Logs) -> bool:
        """After it; returns whether the evaluation ends here."""


class Feed(Protocol):
    """The source of a trial's batches.

    Attributes:
        rows: training rows; None if unknown.
        validation_rows: validation rows; None if there are none or their number is unknown.
        steps_per_epoch: optimizer steps an epoch.
        inexact: why the same batches may not come again; empty if they do.
        place: the trial's `RowOrder` or `Stream` in its training data, for its program.
        splits: names of the splits.
    """

    rows: int | None
    validation_rows: int | None
    steps_per_epoch: int
    inexact: str
    place: Any
    splits: frozenset[str]

    def spec(self) -> tf.TypeSpec:
        """The spec of a training batch, whose length is open as in `fit`."""

    def shapes(self) -> dict[str, Shape]:
        """The spec of a batch of each split, its rows and its batches, if these are known."""

    def digests(self) -> dict[str, str]:
        """A digest of each split, equal for equal data."""

    def resume(self, step: int, validations: int) -> None:
        """Goes to the position after `step` training batches and this number of validations."""

    def training(self, step: StepFunction, why_stepwise: str = "") -> Program:
        """The program that trains by this step, called one by one if there is a reason."""

    def evaluator(self, step: StepFunction, split: str) -> Evaluator:
        """A function that runs `step` over the whole "validation" or "test" split and returns the last logs.

        It calls hooks for each batch if it gets them.
        """


class Resident:
    """A data set's arrays as tensors, of which all trials of a process use the same ones."""

    def __init__(self, data: ArrayData) -> None:
        self.data = data
        self._tensors: dict[str, Batch] = {}
        self._digests: dict[str, str] = {}

    @property
    def splits(self) -> frozenset[str]:
        """Names of the splits."""
        return frozenset(name for name in SPLITS if getattr(self.data, name) is not None)

    def batches(self, split: str, batch_size: int) -> Rows:
        """A split in batches."""
        arrays: ArraySplit = getattr(self.data, split)
        if split not in self._tensors:
            self._tensors[split] = keras.tree.map_structure(as_tensor, arrays.tensors)
        return Rows(self._tensors[split], arrays.rows, batch_size)

    def digest(self, split: str) -> str:
        """As `Feed.digests`, of one split; computed once for all trials."""
        if split not in self._digests:
            self._digests[split] = digest_of_arrays(getattr(self.data, split))
        return self._digests[split]


class ArrayFeed:
    """Batches that are gathered by index from arrays in memory."""

    inexact = ""

    def __init__(self, resident: Resident, train: TrainSettings, seed: int) -> None:
        data = resident.data
        self._resident, self._batch_size = resident, train.batch_size
        self._train = resident.batches("train", train.batch_size)
        self.rows: int | None = data.train.rows
        self.validation_rows: int | None = data.validation.rows if data.validation else None
        self.steps_per_epoch = train.steps_per_epoch or self._train.batches
        self.place = RowOrder(data.train.rows, seed if train.shuffle else None)
        self.splits = resident.splits

    def spec(self) -> tf.TypeSpec:
        """As `Feed.spec`."""
        return self._train.spec(None)

    def shapes(self) -> dict[str, Shape]:
        """As `Feed.shapes`."""
        splits = {name: self._resident.batches(name, self._batch_size) for name in SPLITS if name in self.splits}
        return {name: (split.spec(None), split.rows, None) for name, split in splits.items()}

    def rows_of(self, split: str) -> Rows:
        """A split in batches."""
        return self._resident.batches(split, self._batch_size)

    def digests(self) -> dict[str, str]:
        """As `Feed.digests`."""
        return {name: self._resident.digest(name) for name in SPLITS if name in self.splits}

    def resume(self, step: int, validations: int) -> None:
        """As `Feed.resume`."""
        self.place.resume(step)

    def training(self, step: StepFunction, why_stepwise: str = "") -> Program:
        """As `Feed.training`."""
        return rows_program(step, self._train, why_stepwise)

    def evaluator(self, step: StepFunction, split: str) -> Evaluator:
        """As `Feed.evaluator`."""
        rows = self._resident.batches(split, self._batch_size)
        program, as_they_lie = rows_program(step, rows), RowOrder(rows.rows, None)

        def evaluate(hooks: BatchHooks | None) -> Logs:
            if hooks is None:
                return program.run(as_they_lie, 0, rows.batches)
            logs: Logs = {}
            for number in range(rows.batches):
                hooks.begin(number)
                logs = program.run(as_they_lie, number, 1)
                if hooks.end(number, logs):
                    break
            return logs

        return evaluate


class StreamFeed:
    """Batches from `tf.data` pipelines or `PyDataset`s. The training pipeline starts again when it ends.

    Args:
        data: pipelines for all splits.
        train: the trial's settings.
        seed: of the order of a `PyDataset`'s batches.
        shared: what other trials' pipelines use.

    Attributes:
        evaluate_until_s: seconds since the epoch after which a split of unknown length counts as endless.

    Raises:
        DataError: a pipeline is empty, or its length is unknown and `train.steps_per_epoch` is not set, or a
            validation or test pipeline has no end.
    """

    def __init__(self, data: Data, train: TrainSettings, seed: int, shared: SharedParts) -> None:
        given = {name: split for name in SPLITS if (split := getattr(data, name)) is not None}
        self._python = {name for name, split in given.items() if is_pydataset(split)}
        self._pipelines = {
            name: self._opened(name, split, seed if train.shuffle else None) for name, split in given.items()
        }
        if data.class_weight is not None:
            weigh = private.class_weight_map(data.class_weight)
            self._pipelines["train"] = self._pipelines["train"].map(weigh)
        dataset = self._pipelines["train"]
        batches = _length(dataset)
        self.steps_per_epoch = train.steps_per_epoch or batches or _refuse_unknown_length(dataset)
        self.rows: int | None = None
        self.validation_rows: int | None = None
        self.place = Stream(dataset, batches, ahead="train" not in self._python)
        self.inexact = self._inexact(train.deterministic, shared)
        self.splits = frozenset(given)
        self.evaluate_until_s = math.inf

    def _opened(self, name: str, split: Any, seed: int | None) -> tf.data.Dataset:
        if name in self._python:
            split = as_pipeline(name, split, seed if name == "train" else None)
        if name != "train" and is_endless(split):
            end = "give it a number of batches (num_batches, or len)" if name in self._python else _TAKE
            raise DataError(f"{name} data has no end; {end}")
        return split

    def _inexact(self, deterministic: bool, shared: SharedParts) -> str:
        reasons = {
            name: PYDATASET_INEXACT
            if name in self._python
            else pipeline_inexact(pipeline, deterministic) or shared.inexact(pipeline)
            for name, pipeline in self._pipelines.items()
        }
        found = {reason: name for name, reason in reversed(reasons.items()) if reason}  # each reason once
        return "; ".join(reason if name == "train" else f"{name}: {reason}" for reason, name in found.items())

    def spec(self) -> tf.TypeSpec:
        """As `Feed.spec`. Draws no batch, because an iterator advances the seeds of a pipeline that reshuffles."""
        return self._pipelines["train"].element_spec

    def shapes(self) -> dict[str, Shape]:
        """As `Feed.shapes`."""
        found = {name: (split.element_spec, int(split.cardinality())) for name, split in self._pipelines.items()}
        return {name: (spec, None, count if count >= 0 else None) for name, (spec, count) in found.items()}

    def digests(self) -> dict[str, str]:
        """As `Feed.digests`; equal for pipelines of equal batches and length, because their values are not read."""
        return {
            name: digest_of_pipeline(split.element_spec, int(split.cardinality()))
            for name, split in self._pipelines.items()
        }

    def resume(self, step: int, validations: int) -> None:
        """As `Feed.resume`. Draws training batches again, and repeats passes over validation that change later ones."""
        self.place.resume(step)
        dataset = self._pipelines.get("validation")
        if dataset is None or is_the_same_each_pass(dataset):
            return
        only_iterators = is_seeded_by_iterators(dataset)
        for _ in range(validations):
            iterator = iter(dataset)
            if not only_iterators:
                for _ in iterator:
                    pass

    def training(self, step: StepFunction, why_stepwise: str = "") -> Program:
        """As `Feed.training`."""
        return stream_program(step, self._pipelines["train"].element_spec, why_stepwise)

    def evaluator(self, step: StepFunction, split: str) -> Evaluator:
        """As `Feed.evaluator`."""
        if not step.eager:
            step.trace(self._pipelines[split].element_spec)  # one trace for batches of every length, as in `fit`

        def evaluate(hooks: BatchHooks | None) -> Logs:
            logs: Logs = {}
            for number, batch in enumerate(self._whole(split)):
                if hooks is not None:
                    hooks.begin(number)
                logs = step(batch)
                if hooks is not None and hooks.end(number, logs):
                    break
            return logs

        return evaluate

    def check_that_it_ends(self, split: str) -> None:
        """Reads a split of unknown length once.

        Raises:
            DataError: it has not ended by `evaluate_until_s`.
        """
        if _is_of_unknown_length(self._pipelines[split]):
            for _ in self._whole(split):
                pass

    def _whole(self, split: str) -> Iterator[Batch]:
        dataset = self._pipelines[split]
        if split not in self._python:
            dataset = dataset.prefetch(tf.data.AUTOTUNE)
        is_unknown, number = _is_of_unknown_length(dataset), 0
        for number, batch in enumerate(dataset, start=1):
            yield batch
            if is_unknown and time.time() > self.evaluate_until_s:
                raise DataError(_has_not_ended(split, number))
        if number == 0:
            raise DataError(f"{split} data is empty")


def _is_of_unknown_length(dataset: tf.data.Dataset) -> bool:
    return bool(dataset.cardinality() == tf.data.UNKNOWN_CARDINALITY)


def _has_not_ended(split: str, batches: int) -> str:
    return (
        f"{split} data has not ended after {batches} batches and most of fleet.first_turn_timeout_s, and does not know "
        f"its length; if it has no end, {_TAKE}; if it is long, raise the timeout"
    )


def _length(dataset: tf.data.Dataset) -> int | None:
    batches = int(dataset.cardinality())
    if batches == 0:
        raise DataError("train data is empty")
    return batches if batches > 0 else None  # negative: endless or unknown


def _refuse_unknown_length(dataset: tf.data.Dataset) -> NoReturn:
    what = "has no end" if is_endless(dataset) else "does not know its length"
    raise DataError(f"train data is a pipeline that {what}; set train.steps_per_epoch")

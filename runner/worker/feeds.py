"""A trial's splits, from arrays in memory or from `tf.data` pipelines, behind one interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import keras
import tensorflow as tf

from runner.data import Data
from runner.records import TrainSettings
from runner.worker import keras_private
from runner.worker.arrays import ArrayData, ArraySplit
from runner.worker.batches import RowOrder, Rows, Stream
from runner.worker.ops import pipeline_inexact
from runner.worker.program import Program, StepFunction, rows_program, stream_program
from runner.worker.tensors import as_tensor

SPLITS = ("train", "validation", "test")
Evaluator = Callable[[], Any]


class Feed(Protocol):
    """Where a trial's batches come from.

    Attributes:
        rows: training rows; None where unknown.
        validation_rows: validation rows; None for none or unknown.
        steps_per_epoch: optimizer steps an epoch.
        inexact: why the batches may not come again as they came; empty where they do.
        place: where the trial is in its training data; given to its program.
        splits: the splits there are.
    """

    rows: int | None
    validation_rows: int | None
    steps_per_epoch: int
    inexact: str
    place: Any
    splits: frozenset[str]

    def sample(self) -> Any:
        """One training batch, or its spec, to build a model with; the place in the data stays."""

    def training(self, step: StepFunction) -> Program:
        """The program that trains."""

    def evaluator(self, step: StepFunction, split: str) -> Evaluator:
        """Runs `step` over the whole "validation" or "test" split; returns the last logs."""


class Resident:
    """A data set's arrays as tensors, once for each process however many trials use them."""

    def __init__(self, data: ArrayData) -> None:
        self.data = data
        self._tensors: dict[str, Any] = {}

    @property
    def splits(self) -> frozenset[str]:
        """The splits there are."""
        return frozenset(name for name in SPLITS if getattr(self.data, name) is not None)

    def batches(self, split: str, batch_size: int) -> Rows:
        """A split in batches."""
        arrays: ArraySplit = getattr(self.data, split)
        if split not in self._tensors:
            self._tensors[split] = keras.tree.map_structure(as_tensor, arrays.tensors)
        return Rows(self._tensors[split], arrays.rows, batch_size)


class ArrayFeed:
    """Batches gathered by index from arrays in memory."""

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

    def sample(self) -> Any:
        """The first batch of the rows as they lie."""
        return self._train.batch(0, tf.range(self._train.rows, dtype=tf.int64))

    def training(self, step: StepFunction) -> Program:
        """As `Feed.training`."""
        return rows_program(step, self._train)

    def evaluator(self, step: StepFunction, split: str) -> Evaluator:
        """As `Feed.evaluator`."""
        rows = self._resident.batches(split, self._batch_size)
        program, as_they_lie = rows_program(step, rows), RowOrder(rows.rows, None)
        return lambda: program.run(as_they_lie, 0, rows.batches)


class StreamFeed:
    """Batches drawn from `tf.data` pipelines; the training pipeline starts again when it runs out.

    Raises:
        ValueError: the pipeline is empty, or its length is unknown and `train.steps_per_epoch` is not set.
    """

    def __init__(self, data: Data, train: TrainSettings) -> None:
        dataset = data.train
        if data.class_weight is not None:
            dataset = dataset.map(keras_private.class_weight_map(data.class_weight))
        batches = _length(dataset)
        self.steps_per_epoch = train.steps_per_epoch or batches or _refuse_unknown_length()
        self.rows: int | None = None
        self.validation_rows: int | None = None
        self.inexact = pipeline_inexact(dataset)
        self.place = Stream(dataset, batches)
        self.splits = frozenset(name for name in SPLITS if getattr(data, name) is not None)
        self._data, self._pipeline = data, dataset

    def sample(self) -> Any:
        """What a batch of the pipeline looks like, and only where it does not say so a batch."""
        # Every iterator advances a reshuffling pipeline's seeds: drawing a batch would change the order from `fit`'s.
        spec = self._pipeline.element_spec
        if all(_tells_shape(leaf) for leaf in keras.tree.flatten(spec)):
            return spec
        return next(iter(self._pipeline))

    def training(self, step: StepFunction) -> Program:
        """As `Feed.training`."""
        return stream_program(step, self._pipeline.element_spec)

    def evaluator(self, step: StepFunction, split: str) -> Evaluator:
        """As `Feed.evaluator`."""
        dataset = getattr(self._data, split).prefetch(tf.data.AUTOTUNE)

        def evaluate() -> Any:
            logs = None
            for batch in dataset:
                logs = step(batch)
            if logs is None:
                raise ValueError(f"{split} data is empty")
            return logs

        return evaluate


def _tells_shape(leaf: Any) -> bool:
    return isinstance(leaf, tf.TensorSpec) and leaf.shape.rank is not None and None not in leaf.shape[1:]


def _length(dataset: Any) -> int | None:
    batches = int(dataset.cardinality())
    if batches == 0:
        raise ValueError("train data is empty")
    return batches if batches > 0 else None  # negative: endless or unknown


def _refuse_unknown_length() -> int:
    raise ValueError("train data is a tf.data.Dataset that does not know its length; set train.steps_per_epoch")

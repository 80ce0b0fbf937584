"""A trial's splits, from arrays in memory or from `tf.data` pipelines, behind one interface."""

from __future__ import annotations

from typing import Any, Protocol

import keras
import tensorflow as tf

from runner.data import Data
from runner.records import TrainSettings
from runner.worker import keras_private
from runner.worker.arrays import ArrayData, ArraySplit
from runner.worker.program import Program, Rows, StepFunction, Stream, rows_program, stream_program


class Feed(Protocol):
    """Where a trial's batches come from.

    Attributes:
        rows: training rows; None where unknown.
        validation_rows: validation rows; None for none or unknown.
        steps_per_epoch: optimizer steps an epoch.
        has_validation: whether there is a validation split.
        has_test: whether there is a test split.
    """

    rows: int | None
    validation_rows: int | None
    steps_per_epoch: int
    has_validation: bool
    has_test: bool

    def sample(self) -> Any:
        """One training batch, or its spec, to build a model with; the place in the data stays."""

    def training(self, step: StepFunction) -> Program:
        """The program that trains."""

    def evaluate(self, step: StepFunction, split: str) -> Any:
        """Runs `step` over the whole "validation" or "test" split; returns the last logs."""


class Resident:
    """A data set's arrays as tensors, once for each process however many trials use them."""

    def __init__(self, data: ArrayData) -> None:
        self.data = data
        self._tensors: dict[str, Any] = {}

    def tensors(self, split: str) -> Any:
        """Leaves of "train", "validation" or "test" as tensors `[rows, ...]`."""
        if split not in self._tensors:
            arrays: ArraySplit = getattr(self.data, split)
            self._tensors[split] = keras.tree.map_structure(tf.convert_to_tensor, arrays.tensors)
        return self._tensors[split]


class ArrayFeed:
    """Batches gathered by index from arrays in memory."""

    def __init__(self, resident: Resident, train: TrainSettings, seed: int) -> None:
        data = resident.data
        self._resident, self._batch_size = resident, train.batch_size
        self._train = Rows(
            resident.tensors("train"), data.train.rows, train.batch_size, seed if train.shuffle else None
        )
        self._programs: dict[str, tuple[Program, int]] = {}
        self.rows: int | None = data.train.rows
        self.validation_rows: int | None = data.validation.rows if data.validation else None
        self.steps_per_epoch = train.steps_per_epoch or self._train.batches
        self.has_validation, self.has_test = data.validation is not None, data.test is not None

    def sample(self) -> Any:
        """The first batch of the rows as they lie."""
        return self._train.batch(0, tf.range(self._train.rows, dtype=tf.int64))

    def training(self, step: StepFunction) -> Program:
        """As `Feed.training`."""
        return rows_program(step, self._train)

    def evaluate(self, step: StepFunction, split: str) -> Any:
        """As `Feed.evaluate`; the split's program is made once."""
        if split not in self._programs:
            count = getattr(self._resident.data, split).rows
            rows = Rows(self._resident.tensors(split), count, self._batch_size, None)
            self._programs[split] = (rows_program(step, rows), rows.batches)
        program, batches = self._programs[split]
        return program.run(0, batches)


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
        self.has_validation, self.has_test = data.validation is not None, data.test is not None
        self._data, self._pipeline, self._stream = data, dataset, Stream(dataset, batches)

    def sample(self) -> Any:
        """What a batch of the pipeline looks like, and only where it does not say so a batch."""
        # Every iterator advances a reshuffling pipeline's seeds: drawing a batch would change the order from `fit`'s.
        spec = self._pipeline.element_spec
        if all(_tells_shape(leaf) for leaf in keras.tree.flatten(spec)):
            return spec
        return next(iter(self._pipeline))

    def training(self, step: StepFunction) -> Program:
        """As `Feed.training`."""
        return stream_program(step, self._stream)

    def evaluate(self, step: StepFunction, split: str) -> Any:
        """As `Feed.evaluate`."""
        logs = None
        for batch in getattr(self._data, split).prefetch(tf.data.AUTOTUNE):
            logs = step(batch)
        if logs is None:
            raise ValueError(f"{split} data is empty")
        return logs


def _tells_shape(leaf: Any) -> bool:
    return isinstance(leaf, tf.TensorSpec) and leaf.shape.rank is not None and None not in leaf.shape[1:]


def _length(dataset: Any) -> int | None:
    batches = int(dataset.cardinality())
    if batches == 0:
        raise ValueError("train data is empty")
    return batches if batches > 0 else None  # negative: endless or unknown


def _refuse_unknown_length() -> int:
    raise ValueError("train data is a tf.data.Dataset that does not know its length; set train.steps_per_epoch")

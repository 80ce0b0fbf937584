"""Batches of a trial from arrays in memory, which all trials of a process share."""

from __future__ import annotations

import keras
import tensorflow as tf

from runner.records import TrainSettings
from runner.worker.data.arrays import ArrayData, ArraySplit, as_tensor
from runner.worker.data.batches import Batch, RowOrder, Rows
from runner.worker.data.digests import digest_of_arrays
from runner.worker.data.feeds import SPLITS, BatchHooks, Evaluator, Shape
from runner.worker.programs.base import Logs, Program, StepFunction
from runner.worker.programs.compiled import rows_program


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

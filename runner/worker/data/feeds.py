"""The interface of a trial's data: `array_feed` has it for arrays in memory, `stream_feed` for pipelines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import tensorflow as tf

from runner.worker.programs.base import Logs, Program, StepFunction

SPLITS = ("train", "validation", "test")
Evaluator: TypeAlias = Callable[["BatchHooks | None"], Logs]
Shape: TypeAlias = tuple[tf.TypeSpec, int | None, int | None]


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

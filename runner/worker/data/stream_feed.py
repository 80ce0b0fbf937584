"""Batches of a trial from `tf.data` pipelines, or from `PyDataset`s, which become pipelines."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any, NoReturn

import tensorflow as tf

from runner.data import Data, is_pydataset
from runner.records import TrainSettings
from runner.worker import private
from runner.worker.data.batches import Batch, Stream
from runner.worker.data.digests import digest_of_pipeline
from runner.worker.data.feeds import SPLITS, BatchHooks, DataError, Evaluator, Shape
from runner.worker.data.pipelines import is_endless, is_seeded_by_iterators, is_the_same_each_pass, pipeline_inexact
from runner.worker.data.pydataset import INEXACT as PYDATASET_INEXACT
from runner.worker.data.pydataset import as_pipeline
from runner.worker.programs.base import Logs, Program, StepFunction
from runner.worker.programs.compiled import stream_program
from runner.worker.shared_parts import SharedParts

_TAKE = "give it one by .take(n), of n batches: it is evaluated whole"


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

"""A live model with its compiled programs, which several trials use one after another.

Tracing and compiling take far longer than a small model's turn. Trials whose models differ only in the values of
variables share one engine: each trial has values of its own, which are assigned before its turn. A fingerprint proves
that nothing else differs, because a trace has constants for dropout rates, momenta, schedules, vocabularies and
everything but a float learning rate. A model without that proof has an engine of its own.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import keras
import tensorflow as tf

from runner.records import Trial
from runner.worker import private
from runner.worker.data.array_feed import ArrayFeed
from runner.worker.data.feeds import BatchHooks, Evaluator, Feed
from runner.worker.global_state import Settings
from runner.worker.metrics import as_numbers, flat
from runner.worker.oom import is_out_of_memory
from runner.worker.programs.base import Logs, StepFunction
from runner.worker.programs.fingerprint import Fingerprint, fingerprint
from runner.worker.storage import is_out_of_space, temporary_files_in

_KEPT_IDLE = 4
State: TypeAlias = list[tf.Tensor]
"""The values of all variables of a trial, in the order of `variables`; on their device, or in host memory."""


@dataclass(frozen=True, slots=True)
class Built:
    """A compiled model whose steps are not traced yet.

    Args:
        model: its first step creates the variables that are missing.
        feed: its data.
        has_callbacks: callbacks, which may do anything with the model, take part in its training.
        why_stepwise: why its steps are called one by one; empty if they need not be.
    """

    model: keras.Model
    feed: Feed
    has_callbacks: bool = False
    why_stepwise: str = ""


class Engine:
    """A model's programs.

    Args:
        built: the model and the data of the first trial that uses it.
        xla: compile the steps by XLA.
    """

    def __init__(self, built: Built, xla: bool) -> None:
        self.model, self.xla = built.model, xla
        self._feed = built.feed
        self.test_step = StepFunction(self.model, self.model.test_step, xla)
        self._evaluators: dict[str, Evaluator] = {}
        self.occupant: object | None = None
        """The seat whose values the variables have."""
        self._loads: bool | None = None
        known = {id(variable.value) for variable in variables(self.model)}
        self.train_step = StepFunction(self.model, self.model.train_step, xla)
        self.program = built.feed.training(self.train_step, built.why_stepwise)
        self._others = tuple(variable for variable in self.program.captured if id(variable) not in known)
        self.is_shareable = not self._others
        """Whether the traced step uses only variables that another trial's model has a list of."""

    def evaluate(self, split: str, prefix: str) -> dict[str, float]:
        """Metrics over a whole split; `prefix` is added to their names."""
        logs = as_numbers(flat(self.evaluation(split)))
        return {prefix + name: value for name, value in logs.items()}

    def evaluation(self, split: str, hooks: BatchHooks | None = None) -> Logs:
        """The logs of an evaluation of a whole split, as `fit` passes them to callbacks."""
        evaluator = self._evaluator(split)
        self.model.reset_metrics()
        return private.raw_epoch_logs(self.model, evaluator(hooks))

    def save(self, file: Path) -> bool:
        """Writes the model as a `.keras` file; false, and no file, if Keras cannot load it. Loading is tried once."""
        if self._loads is False:
            return False
        with temporary_files_in(file.parent):
            self.model.save(file)
            if self._loads is None:
                self._loads = _can_be_loaded(file)
        if self._loads is False:
            file.unlink()
            return False
        return True

    def prepare(self, splits: Collection[str]) -> None:
        """Traces validation, which creates variables that nothing else creates."""
        for split in splits:
            self._evaluator(split)

    def begin_again(self, feed: Feed) -> None:
        """Replaces the occupant's data by a feed from which nothing has been drawn."""
        self._feed, self._evaluators = feed, {}

    def read(self) -> State:
        """The occupant's values."""
        return [_read(variable) for variable in self.variables]

    def write(self, state: State) -> None:
        """Assigns these values to the variables. What is on their device is not copied."""
        for variable, value in zip(self.variables, state, strict=True):
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=value)

    def clear(self) -> None:
        """Frees the memory of the variables, which have no values until the next `write`."""
        for variable in self.variables:
            tf.raw_ops.AssignVariableOp(resource=variable.handle, value=tf.zeros((0,), variable.dtype))

    @property
    def variables(self) -> Sequence[tf.Variable]:
        """The variables of `read` and `write`, in their order."""
        return [*(variable.value for variable in variables(self.model)), *self._others]

    @property
    def nbytes(self) -> int:
        """Size of the variables."""
        return sum(variable.dtype.size * math.prod(variable.shape) for variable in self.variables)

    def _evaluator(self, split: str) -> Evaluator:
        if split not in self._evaluators:
            self._evaluators[split] = self._feed.evaluator(self.test_step, split)
        return self._evaluators[split]


class Engines:
    """The engines of a process: those in use, and a few that wait for the next trial of their architecture."""

    def __init__(self) -> None:
        self._engines: dict[tuple[str, str, Fingerprint], Engine] = {}

    def engine_for(self, built: Built, trial: Trial) -> Engine:
        """An engine for this model: one with an equal fingerprint if there is one, else a new one with the model."""
        xla = trial.train.compile == "xla"
        is_shareable = isinstance(built.feed, ArrayFeed) and not built.has_callbacks
        found = fingerprint(built.model, variables(built.model)) if is_shareable else None
        if found is None:
            return Engine(built, xla)
        key = trial.data_key, repr((trial.train.batch_size, xla, Settings.current())), found
        engine = self._engines.pop(key, None) or Engine(built, xla)
        if engine.is_shareable:
            self._engines[key] = engine  # the last in order is the last used
            self._drop_idle()
        return engine

    def release(self, data_keys: Collection[str]) -> None:
        """Drops idle engines of other data, which they would keep in memory."""
        for key, engine in list(self._engines.items()):
            if engine.occupant is None and key[0] not in data_keys:
                del self._engines[key]

    def drop(self, data_key: str) -> None:
        """Drops engines of these data, which are read again."""
        self._engines = {key: engine for key, engine in self._engines.items() if key[0] != data_key}

    @property
    def nbytes(self) -> int:
        """Size of their variables."""
        return sum(engine.nbytes for engine in self._engines.values())

    def _drop_idle(self) -> None:
        idle = [key for key, engine in self._engines.items() if engine.occupant is None][:-_KEPT_IDLE]
        for key in idle:
            del self._engines[key]


def variables(model: keras.Model) -> Sequence[keras.Variable]:
    """All variables of a model that training changes: weights, seeds, optimizer with learning rate, metrics."""
    return [*model.variables, *(model.optimizer.variables if model.optimizer else ()), *model.metrics_variables]


def read(model: keras.Model) -> State:
    """The values of a model's variables.

    They are the variables' own memory, as are those of `Engine.write`: TensorFlow copies a value that is used elsewhere
    before it changes it, so that an exchange of states moves no data.
    """
    # Raw ops, as in `Engine.write`, because Keras' own way takes fifteen times as long, most of a small model's turn.
    return [_read(variable.value) for variable in variables(model)]


def in_host_memory(state: State) -> State:
    """The same values in host memory."""
    return [value.cpu() for value in state]


def _read(variable: tf.Variable) -> tf.Tensor:
    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)


def _can_be_loaded(file: Path) -> bool | None:
    """Whether Keras loads the file; None if memory ran out, because a second model does not fit, which shows nothing.

    Such a file is kept, because its config names only what Keras has (`Facts.loadable`). It does not count as the
    trial's lack of memory, because no worker has more memory for a second model, so that repeating the trial is no use.
    The next trial tries again.
    """
    try:
        with tf.device("CPU:0"):  # a GPU may have no room for a second model
            keras.models.load_model(file)
    except Exception as err:  # Keras' own classes may fail in any way on what they saved
        if is_out_of_space(err):
            raise
        return None if is_out_of_memory(err) else False
    return True

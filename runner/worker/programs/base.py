"""What all programs share: their interface, and one step compiled as `fit` compiles it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from runner.records import ProgramKind
from runner.worker.data.batches import Batch

Logs: TypeAlias = dict[str, Any]
"""What a step returns: tensors by name, perhaps in levels as `get_metrics_result` has them."""
Step: TypeAlias = Callable[[Batch], Logs]
"""A model's `train_step` or `test_step`."""


def as_arrays(logs: Logs) -> Logs:
    """Waits for the steps that return these logs."""
    arrays: Logs = keras.tree.map_structure(lambda leaf: None if leaf is None else np.asarray(leaf), logs)
    return arrays


class Program(Protocol):
    """Runs one model's steps over one split. A trial's position in the data is not part of it, but an argument.

    Attributes:
        kind: as `Facts.program`.
        reason: why the kind is not "round"; empty if it is.
        inexact: why a repetition may differ; empty if it does not.
        captured: the variables that the traced step uses; empty if there is no trace.
    """

    kind: ProgramKind
    reason: str
    inexact: str
    captured: Sequence[tf.Variable]

    def run(self, place: Any, step: int, count: int) -> Logs:
        """Runs steps and returns the last one's logs.

        Args:
            place: the trial's `RowOrder` or `Stream`, whichever its feed has.
            step: number of the first step since the trial began.
            count: number of steps, at least one.
        """


class StepFunction:
    """One step on one batch, compiled as `fit` compiles it, or eager if the model asks for that.

    Args:
        model: a compiled Keras model.
        step: its `train_step` or `test_step`.
        xla: compile by XLA even if the model does not ask for it.
    """

    def __init__(self, model: keras.Model, step: Step, xla: bool) -> None:
        self.eager = bool(model.run_eagerly)
        self.xla = xla and not self.eager
        # autograph=False as in `fit`: what trains there trains here, and nothing is rewritten.
        jit_compile = True if self.xla or model.jit_compile is True else None
        logged = _with_logs_of_fit(model, step)
        self._function = tf.function(logged, autograph=False, reduce_retracing=not self.xla, jit_compile=jit_compile)
        self._call: Step = logged if self.eager else self._function

    def __call__(self, batch: Batch) -> Logs:
        """Logs of one step."""
        return self._call(batch)

    def trace(self, batch_spec: tf.TypeSpec) -> tf.types.experimental.ConcreteFunction:
        """The concrete function for batches of this spec."""
        return self._function.get_concrete_function(batch_spec)


def _with_logs_of_fit(model: keras.Model, step: Step) -> Step:
    """The step with its logs as tensors, as in `fit`, so that 0.1 becomes a float32."""

    @functools.wraps(step)
    def logged(batch: Batch) -> Logs:
        logs = step(batch)
        if not isinstance(logs, dict) or not logs:
            raise TypeError(
                f"{type(model).__name__}.{step.__name__} returned {logs!r}; fit needs a dict with at least one metric: "
                'return self.get_metrics_result(), or {"loss": loss}'
            )
        tensors: Logs = keras.tree.map_structure(
            lambda leaf: None if leaf is None else tf.convert_to_tensor(leaf), logs
        )
        return tensors

    return logged

"""What an engine does in training, validation and reporting, as functions of values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from runner.worker.data.batches import Rows
from runner.worker.programs.base import StepFunction
from runner.worker.programs.engine import Engine
from runner.worker.stacking.lifting import Lifted
from runner.worker.stacking.refusal import NotVectorizableError


@dataclass(frozen=True, slots=True)
class Part:
    """One traced function of an engine.

    Args:
        lifted: the function.
        places: of its variables among all of the engine's.
    """

    lifted: Lifted
    places: tuple[int, ...]

    def __call__(self, batch: Any, state: Sequence[tf.Tensor], constants: Sequence[tf.Tensor]) -> tuple[list[Any], Any]:
        """The values of all of the engine's variables afterwards, and what the function returns."""
        after, logs = self.lifted(batch, [state[place] for place in self.places], constants)
        found = list(state)
        for place, value in zip(self.places, after, strict=True):
            found[place] = value
        return found, logs


@dataclass(frozen=True, slots=True)
class Steps:
    """A step over a split.

    Args:
        rows: the split.
        full: the step on a full batch.
        rest: the step on the partial batch that ends a pass; None if all are full.
    """

    rows: Rows
    full: Part
    rest: Part | None

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its functions."""
        return (self.full,) if self.rest is None else (self.full, self.rest)


class Traces:
    """The traces of an engine.

    Args:
        engine: of a model that trains on arrays in memory.
        train: its training data.
        validation: its validation data; None without.

    Attributes:
        constants: of all parts, in their order.
        reset: the values of the metrics' variables when an epoch begins, by place.
        digest: equal for engines whose trials may be one program.

    Raises:
        NotVectorizableError: a trace cannot be a function of values.
    """

    def __init__(self, engine: Engine, train: Rows, validation: Rows | None) -> None:
        self._places = {id(variable): place for place, variable in enumerate(engine.variables)}
        self.train = self._steps(engine.train_step, train)
        self.validation = None if validation is None else self._steps(engine.test_step, validation)
        self.results = self._part(tf.function(engine.model.get_metrics_result, autograph=False).get_concrete_function)
        validating = () if self.validation is None else self.validation.parts
        self.rates = self._rates(engine.model)
        reporting = (self.results,) if self.rates is None else (self.results, self.rates)
        self.parts = (*self.train.parts, *validating, *reporting)
        self.reset = _reset(engine)
        self.constants = [constant for part in self.parts for constant in part.lifted.constants]
        shapes = [(variable.dtype.name, tuple(variable.shape)) for variable in engine.variables]
        known = repr([(part.lifted.digest, part.places) for part in self.parts]) + repr(shapes)
        self.digest = hashlib.sha256(known.encode()).hexdigest()

    def _rates(self, model: keras.Model) -> Part | None:
        if getattr(model.optimizer, "learning_rate", None) is None:
            return None

        def rate() -> tf.Tensor:
            return tf.convert_to_tensor(model.optimizer.learning_rate)

        return self._part(tf.function(rate, autograph=False).get_concrete_function)

    def _steps(self, step: StepFunction, rows: Rows) -> Steps:
        partial = rows.rows % rows.batch_size
        full = self._part(lambda: step.trace(rows.spec(rows.batch_size)))
        return Steps(rows, full, self._part(lambda: step.trace(rows.spec(partial))) if partial else None)

    def _part(self, trace: Callable[[], tf.types.experimental.ConcreteFunction]) -> Part:
        lifted = Lifted(trace())
        unknown = [variable.name for variable in lifted.variables if id(variable) not in self._places]
        if unknown:
            raise NotVectorizableError(f"variable {unknown[0]}, which no list of the model has")
        return Part(lifted, tuple(self._places[id(variable)] for variable in lifted.variables))


def _reset(engine: Engine) -> dict[int, tf.Tensor]:
    """The values of the metrics' variables after a reset, by place. The engine's own values stay."""
    metrics = {id(variable.value) for variable in engine.model.metrics_variables}
    before = engine.read()
    engine.model.reset_metrics()
    after = engine.read()
    engine.write(before)
    return {place: after[place] for place, variable in enumerate(engine.variables) if id(variable) in metrics}

"""The compiled program of a stack: steps of all its models at once, by XLA."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from runner.worker.data.batches import Batch, Rows
from runner.worker.stacking.traces import Part, Steps, Traces
from runner.worker.stacking.vectorizing import vectorized

Values: TypeAlias = list[tf.Tensor]
"""The variables' values of all models: `[models, ...]` each, in the order of `Engine.variables`."""
_SCALAR = tf.TensorSpec([], tf.int64)


class StackedProgram:
    """Steps of a stack of models.

    Args:
        traces: of one of them; those of the others are equal but for constants.
        size: number of models.
    """

    def __init__(self, traces: Traces, size: int) -> None:
        self._traces, self.size = traces, size
        first: list[int] = [0]
        for part in traces.parts:
            first.append(first[-1] + len(part.lifted.constants))
        self._constants = {id(part): slice(*first[n : n + 2]) for n, part in enumerate(traces.parts)}
        self._train = tf.function(self._trace_train, autograph=False, jit_compile=True)
        self._rest = tf.function(self._trace_rest, autograph=False, jit_compile=True)
        self._evaluate = tf.function(self._trace_evaluation, autograph=False, jit_compile=True)
        self._results = tf.function(self._trace_results, autograph=False, jit_compile=True)
        self._rates = tf.function(self._trace_rates, autograph=False, jit_compile=True)

    @property
    def train_rows(self) -> Rows:
        """The training data."""
        return self._traces.train.rows

    def run(
        self, state: Values, constants: Values, orders: tf.Tensor, start: int, count: int
    ) -> tuple[Values, dict[str, Any]]:
        """Runs steps of one pass.

        Args:
            state: at their begin.
            constants: the models' constants, `[models, ...]` each, of all parts.
            orders: each model's order of the rows in this pass, `int64 [models, rows]`.
            start: number of the first step within the pass.
            count: number of steps; they do not go past the end of the pass.

        Returns:
            The state afterwards, and the last step's logs, `[models, ...]` each.
        """
        steps, logs = self._traces.train, dict[str, Any]()
        full = min(count, self._full(steps) - start)
        if full > 0:
            number = tf.constant(start, tf.int64)
            state, logs = self._train(state, constants, orders, number, number + full)
        if count > max(full, 0):
            state, logs = self._rest(state, constants, orders)
        return list(state), logs

    def evaluate(self, state: Values, constants: Values) -> tuple[Values, dict[str, Any]]:
        """The state after a pass over the validation data, whose metrics `state` has reset, and the last logs."""
        state, logs = self._evaluate(state, constants)
        return list(state), logs

    def results(self, state: Values, constants: Values) -> dict[str, Any]:
        """What `get_metrics_result` of each model returns, `[models, ...]` each."""
        found: dict[str, Any] = self._results(state, constants)
        return found

    def rates(self, state: Values, constants: Values) -> tf.Tensor | None:
        """The models' learning rates, `[models]`; None without optimizers."""
        return None if self._traces.rates is None else self._rates(state, constants)

    def report(self, state: Values, constants: Values) -> None:
        """Compiles what comes after steps, which may have operations that steps lack."""
        self.results(state, constants)
        self.rates(state, constants)
        if self._traces.validation is not None:
            self.evaluate(state, constants)

    @staticmethod
    def _full(steps: Steps) -> int:
        return steps.rows.rows // steps.rows.batch_size

    def _apply(
        self, part: Part, batch: Batch, is_stacked: bool, state: Values, constants: Values
    ) -> tuple[Values, Any]:
        """One call of a part for all models. `is_stacked`: each has a batch of its own."""
        own = constants[self._constants[id(part)]]

        def one(values: tuple[Any, Values, Values]) -> tuple[Values, Any]:
            mine, before, of_part = values
            return part(mine if is_stacked else batch, before, of_part)

        after, logs = vectorized(one, (batch if is_stacked else tf.zeros([self.size]), list(state), list(own)))
        return [tf.ensure_shape(value, old.shape) for value, old in zip(after, state, strict=True)], logs

    def _take(self, steps: Steps, orders: tf.Tensor) -> Batch:
        return keras.tree.map_structure(lambda leaf: tf.gather(leaf, orders, axis=0), steps.rows.tensors)

    def _trace_train(
        self, state: Values, constants: Values, orders: tf.Tensor, start: tf.Tensor, stop: tf.Tensor
    ) -> tuple[Values, Any]:
        steps = self._traces.train
        size = steps.rows.batch_size

        def body(index: tf.Tensor, values: Values, _: Any) -> tuple[tf.Tensor, Values, Any]:
            batch = self._take(steps, tf.slice(orders, [0, index * size], [self.size, size]))
            after, logs = self._apply(steps.full, batch, True, list(values), constants)
            return index + 1, after, logs

        return self._loop(body, start, stop, state, self._empty_logs(steps.full))

    def _trace_rest(self, state: Values, constants: Values, orders: tf.Tensor) -> tuple[Values, Any]:
        steps = self._traces.train
        assert steps.rest is not None
        batch = self._take(steps, orders[:, self._full(steps) * steps.rows.batch_size :])
        return self._apply(steps.rest, batch, True, list(state), constants)

    def _trace_evaluation(self, state: Values, constants: Values) -> tuple[Values, Any]:
        steps = self._traces.validation
        assert steps is not None
        rows, full = steps.rows, self._full(steps)
        order = tf.range(rows.rows, dtype=tf.int64)

        def body(index: tf.Tensor, values: Values, _: Any) -> tuple[tf.Tensor, Values, Any]:
            after, logs = self._apply(steps.full, rows.full_batch(index, order), False, list(values), constants)
            return index + 1, after, logs

        logs = self._empty_logs(steps.full)
        zero = tf.constant(0, tf.int64)
        state, logs = self._loop(body, zero, zero + full, list(state), logs)
        if steps.rest is not None:
            batch = self._take(steps, order[full * rows.batch_size :])
            state, logs = self._apply(steps.rest, batch, False, list(state), constants)
        return state, logs

    def _trace_results(self, state: Values, constants: Values) -> Any:
        return self._apply(self._traces.results, None, False, list(state), constants)[1]

    def _trace_rates(self, state: Values, constants: Values) -> Any:
        assert self._traces.rates is not None
        return self._apply(self._traces.rates, None, False, list(state), constants)[1]

    @staticmethod
    def _loop(body: Any, start: tf.Tensor, stop: tf.Tensor, state: Values, logs: Any) -> tuple[Values, Any]:
        _, after, last = tf.while_loop(
            lambda index, *_: index < stop, body, (start, list(state), logs), parallel_iterations=1
        )
        return list(after), last

    def _empty_logs(self, part: Part) -> Any:
        return keras.tree.map_structure(
            lambda leaf: tf.zeros([self.size, *leaf.shape], leaf.dtype), part.lifted.structure
        )


def stacked(columns: Sequence[Sequence[Any]]) -> Values:
    """Values of several models, `[model][variable]`, as one tensor for each variable."""
    return [tf.stack([tf.convert_to_tensor(value) for value in column]) for column in zip(*columns, strict=True)]


def among_others(state: Sequence[tf.Tensor], size: int) -> Values:
    """A model's values in the place `size // 2` of a stack, among others that a mix-up of models would bring in."""

    def changed(value: tf.Tensor, distance: int) -> tf.Tensor:
        return value * tf.cast(1 + distance / size, value.dtype) if value.dtype.is_floating else value

    return stacked([[changed(value, place - size // 2) for value in state] for place in range(size)])

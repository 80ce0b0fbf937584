"""Steps called one by one from Python, for models whose steps cannot become one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import tensorflow as tf

from runner.records import ProgramKind
from runner.worker.data.batches import Batch
from runner.worker.determinism import drawn_from_hidden_state, graph_ops
from runner.worker.programs.base import Logs, StepFunction
from runner.worker.variables import captured_by

_UNEXAMINED = "run_eagerly: the steps' Python code is not examined for TensorFlow's hidden random state"
P = TypeVar("P")


class PlainProgram(Generic[P]):
    """Steps called one by one.

    Args:
        step: the model's step.
        reason: why the steps cannot be compiled into one program.
        draw: returns the batch of a step number, given the trial's place.
        concrete: the traced step; None if steps are eager.
    """

    kind: ProgramKind = "plain"

    def __init__(
        self,
        step: StepFunction,
        reason: str,
        draw: Callable[[P, int], Batch],
        concrete: tf.types.experimental.ConcreteFunction | None = None,
    ) -> None:
        self._step, self.reason, self._draw = step, reason, draw
        self.inexact = _UNEXAMINED if concrete is None else drawn_from_hidden_state(graph_ops(concrete))
        self.captured: Sequence[tf.Variable] = () if concrete is None else captured_by(concrete)

    def run(self, place: P, step: int, count: int) -> Logs:
        """As `Program.run`."""
        logs: Logs = {}
        for number in range(step, step + count):
            logs = self._step(self._draw(place, number))
        return logs

"""Graph or XLA: when it is worth measuring, and which to take. Pure arithmetic over seconds per step.

On a CPU XLA removes the cost of launching many small operations, several times a small model's step, and is slower
than TensorFlow's own kernels where a step is real work. Neither is right for all, so both are timed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Compile = Literal["graph", "xla"]

WORTHWHILE_S = 4.0  # a slot that trains for less as a graph gains nothing that compiling would not cost
CPU_OVERHEAD_S = 2e-3  # a longer step on a CPU is not made of overhead
MARGIN = 0.9  # XLA must be this much faster, compiling included


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """What one model's step costs on one machine, in seconds.

    Args:
        graph_s: a step as a graph.
        xla_s: a step by XLA; None where it was not worth measuring, infinite where it cannot be compiled.
        xla_compile_s: compiling by XLA, once for each architecture and worker.
        steps: that a slot of the last sweep took of the architecture: the next sweep is probably of that size.
    """

    graph_s: float
    xla_s: float | None = None
    xla_compile_s: float = 0.0
    steps: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, float | None]) -> Timings:
        """From plain data.

        Raises:
            TypeError, ValueError: it is none.
        """
        return cls(**{name: None if value is None else float(value) for name, value in values.items()})  # type: ignore[arg-type]

    def step_s(self, how: Compile) -> float:
        """Seconds of a step compiled like this; a graph's where XLA was not measured."""
        return self.xla_s if how == "xla" and self.xla_s is not None else self.graph_s


def is_worth_measuring(graph_s: float, steps: float, on_gpu: bool) -> bool:
    """Whether XLA could pay off for a slot that takes so many steps of one architecture."""
    return graph_s * steps >= WORTHWHILE_S and (on_gpu or graph_s <= CPU_OVERHEAD_S)


def choose(timings: Timings, steps: float) -> Compile:
    """The faster way for a slot that takes so many steps of one architecture, compiling included."""
    if timings.xla_s is None:
        return "graph"
    graph, xla = timings.graph_s * steps, timings.xla_s * steps + timings.xla_compile_s
    return "xla" if xla < MARGIN * graph else "graph"

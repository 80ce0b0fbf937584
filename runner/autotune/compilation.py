"""Decides between graph and XLA from seconds per step, and when XLA is worth measuring. Pure arithmetic.

On a CPU XLA removes the cost of launching many small operations, which is several times a small model's step, but is
slower than TensorFlow's own kernels if a step is mostly computation. So both are timed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Compile = Literal["graph", "xla"]

WORTHWHILE_S = 4.0  # a slot that trains for less time as a graph gains less than compiling costs
CPU_OVERHEAD_S = 2e-3  # a longer step on a CPU is mostly computation, not overhead
MARGIN = 0.9  # XLA must be this much faster, compiling included


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """Step times of one model on one machine, in seconds.

    Args:
        graph_s: a step as a graph.
        xla_s: a step by XLA; None if it was not worth measuring, infinite if XLA cannot compile it.
        xla_compile_s: compilation by XLA, once for each architecture and worker.
        steps: number of steps of this architecture in one slot of the last sweep; the next sweep probably has as many.
    """

    graph_s: float
    xla_s: float | None = None
    xla_compile_s: float = 0.0
    steps: float = 0.0

    @classmethod
    def of(cls, values: Mapping[str, float | None]) -> Timings:
        """Builds it from plain data.

        Raises:
            TypeError, ValueError: the data are not step times.
        """
        return cls(**{name: None if value is None else float(value) for name, value in values.items()})  # type: ignore[arg-type]

    def step_s(self, how: Compile) -> float:
        """Seconds of a step compiled this way; those of a graph if XLA was not measured."""
        return self.xla_s if how == "xla" and self.xla_s is not None else self.graph_s


def is_worth_measuring(graph_s: float, steps: float, on_gpu: bool) -> bool:
    """Whether XLA could pay off for a slot that takes `steps` steps of one architecture."""
    return graph_s * steps >= WORTHWHILE_S and (on_gpu or graph_s <= CPU_OVERHEAD_S)


def choose(timings: Timings, steps: float) -> Compile:
    """The faster way for a slot that takes `steps` steps of one architecture, including compilation."""
    if timings.xla_s is None:
        return "graph"
    graph, xla = timings.graph_s * steps, timings.xla_s * steps + timings.xla_compile_s
    return "xla" if xla < MARGIN * graph else "graph"

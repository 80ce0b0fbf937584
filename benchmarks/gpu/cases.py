"""What is measured, the most important first. Pure data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, Literal, get_args

Way = Literal["fit", "in turns", "stacked", "time slicing", "MPS"]
"""How several models train: a tuned `model.fit` of one after another; trials that take turns in one worker; one program
of all; a worker for each, between which the card switches; a worker for each, through NVIDIA's MPS."""
WAYS: tuple[Way, ...] = get_args(Way)
IN_PROCESSES: tuple[Way, ...] = ("time slicing", "MPS")
"""Ways with a process for each model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One process to run: a number of models of one workload, trained one way.

    Args:
        workload: a name in `WORKLOADS`.
        how: the way.
        models: how many; `fit` trains one, because its rate does not depend on their number.
        rows: rows of training data.
        batch_size: rows a step.
        compile: `train.compile`; `fit` is measured both ways for `auto`, and the faster one counts.
        gpu: whether it trains on a GPU.
    """

    workload: str
    how: Way
    models: int
    rows: int
    batch_size: int
    compile: str = "auto"
    gpu: bool = True

    @property
    def label(self) -> str:
        """As in messages."""
        return f"{self.workload} K={self.models} {self.how}"

    @property
    def identity(self) -> dict[str, Any]:
        """As in a row of results."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Size:
    rows: int
    batch_size: int
    compile: str = "auto"


# Epochs of a hundred steps or more, so that what `fit` does once an epoch costs it little.
_ON_GPU = {
    "W1": _Size(rows=100_000, batch_size=32),
    "W3": _Size(rows=19_200, batch_size=64),
    "W4": _Size(rows=19_200, batch_size=32),
    "W9": _Size(rows=12_800, batch_size=128),
}
# Convolutions take XLA long to compile on a CPU, and a rehearsal measures nothing.
_ON_CPU = {
    "W1": _Size(rows=6_400, batch_size=32),
    "W3": _Size(rows=128, batch_size=16, compile="graph"),
    "W4": _Size(rows=128, batch_size=16, compile="graph"),
    "W9": _Size(rows=16, batch_size=4, compile="graph"),
}

_Block = tuple[str, Sequence[tuple[Way, int]]]
# The ways of a block alternate with `fit`; W1 has it twice, so that drift within a pass shows.
_PLAN: Sequence[_Block] = (
    ("W1", (("fit", 1), ("stacked", 64), ("MPS", 8))),
    ("W3", (("fit", 1), ("stacked", 8), ("MPS", 8), ("in turns", 8))),
    ("W9", (("fit", 1), ("in turns", 2), ("stacked", 2))),
    ("W1", (("in turns", 8), ("time slicing", 8), ("stacked", 8), ("in turns", 64), ("stacked", 256), ("fit", 1))),
    ("W4", (("fit", 1), ("stacked", 8), ("MPS", 8), ("in turns", 8), ("time slicing", 8))),
    ("W3", (("stacked", 64), ("in turns", 64), ("time slicing", 8))),
    ("W4", (("stacked", 64), ("in turns", 64))),
    ("W1", (("in turns", 1), ("in turns", 256))),
)
_REHEARSAL: Sequence[_Block] = (
    ("W1", (("fit", 1), ("stacked", 4), ("MPS", 2), ("in turns", 4), ("time slicing", 2))),
    ("W3", (("fit", 1), ("in turns", 2))),
    ("W4", (("fit", 1), ("in turns", 2))),
    ("W9", (("fit", 1), ("in turns", 2))),
)


def plan(on_cpu: bool = False, workloads: Sequence[str] = ()) -> tuple[Case, ...]:
    """All cases, the most important first; of a rehearsal, small ones.

    Args:
        on_cpu: rehearse.
        workloads: only these; empty for all.
    """
    sizes = _ON_CPU if on_cpu else _ON_GPU
    return tuple(
        case(workload, how, models, sizes[workload], gpu=not on_cpu)
        for workload, ways in (_REHEARSAL if on_cpu else _PLAN)
        if not workloads or workload in workloads
        for how, models in ways
    )


def case(workload: str, how: Way, models: int, size: _Size | None = None, gpu: bool = True) -> Case:
    """A case of a workload's size on a GPU, or of another."""
    return Case(workload=workload, how=how, models=models, gpu=gpu, **asdict(size or _ON_GPU[workload]))


def passes(cases: Sequence[Case], repeats: int) -> tuple[tuple[int, Case], ...]:
    """All cases as often as that, with the number of the pass.

    In every other pass the cases of a block, which are of one workload, are in reverse, so that drift cancels.
    """
    blocks = [tuple(block) for _, block in groupby(cases, key=lambda one: one.workload)]
    return tuple(
        (number, one)
        for number in range(repeats)
        for block in blocks
        for one in (block if number % 2 == 0 else reversed(block))
    )

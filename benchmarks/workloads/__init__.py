"""What is trained: each module is an experiment file, the same for the runner and for what it is compared with."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Workload:
    """One kind of model and data.

    Args:
        name: as in the report.
        module: the experiment file's name without its suffix.
        batch_size: rows a step.
        rows: training rows.
        tolerance: how far the mean final loss may be from that of `fit`, as a share of it.
        settings: of the runner, besides what all workloads have.
    """

    name: str
    module: str
    batch_size: int
    rows: int
    tolerance: float = 0.1
    settings: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The experiment file, relative to the repository."""
        return f"benchmarks/workloads/{self.module}.py"

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps of a pass."""
        return -(-self.rows // self.batch_size)

    def experiment(self) -> Any:
        """The imported experiment file; imports Keras."""
        return importlib.import_module(f"benchmarks.workloads.{self.module}")


_ALL = (
    Workload(name="W1", module="mlp_small", batch_size=32, rows=100_000),
    Workload(name="W2", module="mlp_wide", batch_size=128, rows=60_000, tolerance=0.2),  # seeds alone differ by 25 %
    Workload(name="W3", module="cnn", batch_size=64, rows=3_840, tolerance=0.2),
    Workload(name="W4", module="transformer", batch_size=32, rows=1_920, tolerance=0.2),
    # Its three models are trained at once, as the others' are whom it is compared with: not two, and then the third.
    Workload(name="W8", module="images", batch_size=32, rows=1_280, settings=("resources.max_concurrent=3",)),
    Workload(name="W9", module="resnet", batch_size=128, rows=12_800),
)
WORKLOADS = {workload.name: workload for workload in _ALL}
ROOT = Path(__file__).parents[2]

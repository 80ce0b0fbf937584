"""Divides the memory of one GPU into shares, and writes out the sum.

    models × (limit + overhead) + margin <= free memory of the GPU

The limit is TensorFlow's; the overhead is what each process takes beyond it (CUDA context, cuDNN, cuBLAS); the margin
stays free for other uses of the card.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from runner.placement.machine import Gpu
from runner.placement.packing import UNITS, units

MARGIN_MIB = 256
MOST_ON_ONE = 100
"""Most models on one GPU: equal parts of more would not fill it in Ray's resolution."""
_HEADROOM = 1.15  # an allocator needs more than the peak, because its free memory is fragmented


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """A GPU, or several equal ones for a single model, and the models placed there.

    Args:
        gpus: one, or those of a model with several.
        overhead_mib: memory that each process takes on each of them beyond its limit.
    """

    gpus: tuple[Gpu, ...]
    overhead_mib: int

    @property
    def free_mib(self) -> int:
        """Free memory of the fullest GPU, MiB."""
        return min(gpu.free_mib for gpu in self.gpus)

    @property
    def usable_mib(self) -> int:
        """Memory that models may take, including their overhead, MiB."""
        return max(0, self.free_mib - MARGIN_MIB)

    def holds(self, limit_mib: int) -> int:
        """How many models with this limit fit."""
        return min(MOST_ON_ONE, self.usable_mib // (limit_mib + self.overhead_mib))

    def limit_of(self, share: float) -> int:
        """The limit of a share of a GPU, share × (free - margin) - overhead, MiB; 0 or less if nothing is left."""
        return self.usable_mib * min(units(share), UNITS) // UNITS - self.overhead_mib

    def limit_of_one_in(self, models: int) -> int:
        """The limit if this many models share it equally."""
        return self.usable_mib // models - self.overhead_mib

    def sum_of(self, models: int, limit_mib: int) -> str:
        """The sum, written out."""
        total = models * (limit_mib + self.overhead_mib) + MARGIN_MIB
        sign = "<=" if total <= self.free_mib else ">"
        return (
            f"{models} × ({limit_mib} + {self.overhead_mib} overhead) + {MARGIN_MIB} margin = {total} {sign} "
            f"{self.free_mib} MiB free on {self.label}"
        )

    @property
    def label(self) -> str:
        """For a person: "GPU 0 (NVIDIA A10)"."""
        return f"GPU {', '.join(gpu.id for gpu in self.gpus)} ({self.gpus[0].name})"


def limit_for(need_mib: float) -> int:
    """The limit for a model whose peak was measured, MiB."""
    return math.ceil(need_mib * _HEADROOM)


def models_in(share: float) -> int:
    """How many models with this share Ray puts on one GPU; 1 for a model with several GPUs."""
    return max(1, min(MOST_ON_ONE, UNITS // units(share)))


def share_of(models: int) -> float:
    """The share of each model if this many fill one GPU."""
    return UNITS // models / UNITS

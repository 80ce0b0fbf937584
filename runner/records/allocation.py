"""A place for one worker, and its share of a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from runner.records.json_values import Plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """A slot's share of a device: one record feeds Ray's request, TensorFlow's limits and MPS.

    Args:
        num_cpus: CPUs asked of Ray; may be a fraction.
        num_gpus: GPUs asked of Ray; may be a fraction.
        gpus: the GPUs it is planned for, by their names in CUDA_VISIBLE_DEVICES; one, unless `num_gpus` is above 1.
        gpu_memory_mib: TensorFlow's memory limit on each of them, MiB; None without a GPU.
        gpu_overhead_mib: what the process is taken to need there beyond the limit, MiB.
        threads: TensorFlow's intra-op and inter-op threads. They change results in the last bits, so they are part of
            a trial's identity.
        memory_mib: host memory that the process may take beyond what it has as a bare worker, MiB; None for no limit.
        mps_thread_percentage: the part of the GPU's multiprocessors that MPS lets it use; None without MPS.
        node: the machine, by what Ray calls it; empty for this one.
    """

    num_cpus: float
    num_gpus: float = 0.0
    gpus: tuple[str, ...] = ()
    gpu_memory_mib: int | None = None
    gpu_overhead_mib: int = 0
    threads: int = 1
    memory_mib: int | None = None
    mps_thread_percentage: int | None = None
    node: str = ""

    @property
    def memory_limit_mib(self) -> int | None:
        """The limit that a model may run into: of GPU memory where it has a GPU, else of host memory."""
        return self.gpu_memory_mib if self.gpus else self.memory_mib

    @classmethod
    def of(cls, plain: Plain) -> Self:
        """The allocation whose `to_json` gave these plain values."""
        return cls(**{**plain, "gpus": tuple(plain["gpus"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A place for one worker."""

    index: int
    allocation: Allocation

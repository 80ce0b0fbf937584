"""A slot for one worker, and its share of a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from runner.records.json_values import Plain
from runner.records.mps import MpsKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """A slot's share of a device. Ray's request, TensorFlow's limits and MPS all follow from this record.

    Args:
        num_cpus: CPUs requested from Ray; may be a fraction.
        num_gpus: GPUs requested from Ray; may be a fraction.
        gpus: the GPUs it is planned for, by their names in CUDA_VISIBLE_DEVICES; one, unless `num_gpus` is above 1.
        gpu_memory_mib: TensorFlow's memory limit on each of these GPUs, MiB; None without a GPU.
        gpu_overhead_mib: GPU memory that the process is assumed to need beyond the limit, MiB.
        threads: TensorFlow's intra-op and inter-op threads. They are part of a trial's identity, because they change
            results in the last bits.
        memory_mib: host memory that the process may take beyond that of an idle worker, MiB; None for no limit.
        mps: whose daemon it computes through, or why through none; None without a GPU.
        mps_thread_percentage: percentage of the GPU's multiprocessors that MPS lets it use; None without MPS.
        places: how many trials live in the slot at once and take turns in its worker, which keeps their states.
        node: Ray's id of the node; empty for this machine.
    """

    num_cpus: float
    num_gpus: float = 0.0
    gpus: tuple[str, ...] = ()
    gpu_memory_mib: int | None = None
    gpu_overhead_mib: int = 0
    threads: int = 1
    memory_mib: int | None = None
    mps: MpsKind | None = None
    mps_thread_percentage: int | None = None
    places: int = 1
    node: str = ""

    @property
    def memory_limit_mib(self) -> int | None:
        """The memory limit that applies to a model: of the GPU if it has one, else of the host."""
        return self.gpu_memory_mib if self.gpus else self.memory_mib

    @property
    def waiting_mib(self) -> int | None:
        """The part of the GPU's limit that the states of waiting trials may take, MiB; None without a limit."""
        return None if self.gpu_memory_mib is None else self.gpu_memory_mib * (self.places - 1) // self.places

    @classmethod
    def of(cls, plain: Plain) -> Self:
        """The allocation whose `to_json` gave these plain values."""
        return cls(**{**plain, "gpus": tuple(plain["gpus"])})


@dataclass(frozen=True, kw_only=True, slots=True)
class Slot:
    """A numbered share of a device, for one worker."""

    index: int
    allocation: Allocation

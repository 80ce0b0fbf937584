"""A machine and a request for slots on it: plain data that the inventory and the config fill in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runner.records import Mps

Auto = Literal["auto"]

GPU_OVERHEAD_MIB = 700
"""Assumed if nothing was measured. A context of CUDA 12 with TensorFlow's libraries is 610 MiB on an H200."""
MPS_CLIENTS = 48
"""Most processes on one GPU through MPS; newer cards take more."""
NO_MPS = Mps(kind="unavailable", reason="there is no GPU")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU as the driver process found it; memory in MiB.

    Args:
        id: its name in CUDA_VISIBLE_DEVICES, which is also what Ray calls it: an index or a UUID.
        free_mib: free memory when it was read.
        mig: it is a slice of a GPU, or divided into slices (Multi-Instance GPU).
    """

    id: str
    uuid: str
    name: str
    memory_mib: int
    free_mib: int
    mig: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """The resources of a machine; memory in MiB.

    Args:
        free_memory_mib: free host memory; None for all of it.
        gpus: in the order of CUDA_VISIBLE_DEVICES, which is the order in which Ray counts them.
        gpu_overhead_mib: memory that a process takes on a GPU beyond TensorFlow's limit.
        mps: whether processes compute on a GPU at the same time, through NVIDIA's MPS.
    """

    cpus: int
    memory_mib: int
    free_memory_mib: int | None = None
    gpus: tuple[Gpu, ...] = ()
    gpu_overhead_mib: int = GPU_OVERHEAD_MIB
    mps: Mps = NO_MPS


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What the config asks for each slot (`resources`).

    Args:
        in_stacks: a worker trains several models as one program.
    """

    num_gpus: float | Auto = "auto"
    num_cpus: float | Auto = "auto"
    gpu_memory_mib: int | Auto = "auto"
    gpu_overhead_mib: int | Auto = "auto"
    memory_mib: int | Auto = "auto"
    max_concurrent: int | Auto = "auto"
    in_stacks: bool = False

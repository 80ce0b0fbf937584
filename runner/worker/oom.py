"""Out of memory: which errors say so, and the numbers that belong to it."""

from __future__ import annotations

import math
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from runner.worker.memory import gpu_limit_and_free_mib
from runner.worker.said import text_of

_MIB = 1024 * 1024
# TensorFlow has one error for all that may run out, open files and disks among them: only its text tells memory.
_ANYWHERE = re.compile(r"OOM when allocating|RESOURCE_EXHAUSTED: .*memory", re.IGNORECASE)
_IN_TENSORFLOW = re.compile(
    r"out of memory|Cannot parse tensor from proto|"
    r"(failed|unable) to allocate|OUT_OF_MEMORY|(CUBLAS|CUDNN|CUSOLVER|CUFFT)_(STATUS_)?ALLOC_FAILED",
    re.IGNORECASE,
)
# A constant in a graph is parsed into memory: that of a graph just traced cannot be malformed.
_TENSOR = re.compile(r"OOM when allocating tensor with shape\s*\[([\d,]*)\] and type (\w+)")
_BYTES = re.compile(r"allocate (?:request for )?(\d+) ?(?:B|bytes)\b")
_ARRAY = re.compile(r"Unable to allocate ([\d.]+) (\w+) for an array")  # NumPy's
_UNITS = {"B": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZES = {"double": 8, "int64": 8, "uint64": 8, "complex64": 8, "complex128": 16, "half": 2, "bfloat16": 2, "int16": 2}
_SIZES |= {"uint16": 2, "int8": 1, "uint8": 1, "bool": 1}  # else 4: float, int32


def is_out_of_memory(err: BaseException) -> bool:
    """Whether an error, or one that it was raised from, says that memory ran out."""
    return any(
        isinstance(each, MemoryError)
        or _ANYWHERE.search(text_of(each)) is not None
        or (isinstance(each, tf.errors.OpError) and _IN_TENSORFLOW.search(text_of(each)) is not None)
        for each in chain_of(err)
    )


def describe(err: BaseException, memory_mib: int | None) -> str:
    """The numbers: what was asked, the limit, and what was free of it.

    Args:
        err: out of memory.
        memory_mib: the limit on this process' host memory beyond a bare worker's; None for none.
    """
    asked = asked_mib(err)
    told = "asked for an unknown amount" if asked is None else f"asked for {asked:.0f} MiB"
    on_gpu = _on_gpu()
    if on_gpu is not None and not any(isinstance(each, MemoryError) for each in chain_of(err)):
        limit, free = on_gpu
        return f"{told}, {free:.0f} MiB free of a limit of {limit:.0f} MiB of GPU memory"
    if memory_mib is not None:
        return f"{told}, {_free_of_limit_mib():.0f} MiB free of a limit of {memory_mib} MiB of host memory"
    return f"{told}, {_available_mib():.0f} MiB of host memory free, no limit"


def _on_gpu() -> tuple[float, float] | None:
    try:
        return gpu_limit_and_free_mib()
    except (RuntimeError, tf.errors.OpError):  # the GPU had no room for TensorFlow itself
        return None


def asked_mib(err: BaseException) -> float | None:
    """How much the allocation that failed had asked for, MiB; None where no error says it."""
    for each in chain_of(err):
        text = text_of(each)
        if found := _TENSOR.search(text):
            shape = [int(size) for size in found[1].split(",") if size]
            return math.prod(shape) * _SIZES.get(found[2], 4) / _MIB
        if found := _ARRAY.search(text):
            return float(found[1]) * _UNITS.get(found[2], 1) / _MIB
        if found := _BYTES.search(text):
            return int(found[1]) / _MIB
    return None


def chain_of(err: BaseException) -> Iterator[BaseException]:
    """The error and those that led to it."""
    seen: set[int] = set()
    following: BaseException | None = err
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _free_of_limit_mib() -> float:
    """What RLIMIT_DATA leaves to this process, MiB."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return max(0.0, limit / _MIB - _kib(Path("/proc/self/status"), "VmData:") / 1024)


def _available_mib() -> float:
    return _kib(Path("/proc/meminfo"), "MemAvailable:") / 1024


def _kib(file: Path, name: str) -> int:
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

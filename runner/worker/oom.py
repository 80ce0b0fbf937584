"""Recognises errors that mean out of memory, and reads the numbers for a message."""

from __future__ import annotations

import math
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from runner.worker.error_text import text_of
from runner.worker.memory import gpu_limit_and_free_mib

_MIB = 1024 * 1024
# TensorFlow has one error for all exhausted resources, such as open files and disks. Only its text names memory.
_ANYWHERE = re.compile(r"OOM when allocating|RESOURCE_EXHAUSTED: .*memory", re.IGNORECASE)
# "Cannot parse tensor": the constant of a graph that was just traced cannot be malformed, so memory is missing for it.
_IN_TENSORFLOW = re.compile(
    r"out of memory|MemoryError\b|Cannot parse tensor from proto|"
    r"(failed|unable) to allocate|OUT_OF_MEMORY|(CUBLAS|CUDNN|CUSOLVER|CUFFT)_(STATUS_)?ALLOC_FAILED",
    re.IGNORECASE,
)
_TENSOR = re.compile(r"OOM when allocating tensor with shape\s*\[([\d,]*)\] and type (\w+)")
_BYTES = re.compile(r"allocate (?:request for )?(\d+) ?(?:B|bytes)\b")
_ARRAY = re.compile(r"Unable to allocate ([\d.]+) (\w+) for an array")  # NumPy's
_UNITS = {"B": 1, "bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZES = {"double": 8, "int64": 8, "uint64": 8, "complex64": 8, "complex128": 16, "half": 2, "bfloat16": 2, "int16": 2}
_SIZES |= {"uint16": 2, "int8": 1, "uint8": 1, "bool": 1}  # else 4: float, int32


def is_out_of_memory(err: BaseException) -> bool:
    """Whether an error, or one of its causes, says that memory ran out."""
    return any(
        isinstance(each, MemoryError)
        or _ANYWHERE.search(text_of(each)) is not None
        or (isinstance(each, tf.errors.OpError) and _IN_TENSORFLOW.search(text_of(each)) is not None)
        for each in chain_of(err)
    )


def describe(err: BaseException, memory_mib: int | None) -> str:
    """The numbers as text: the request, the limit, and the free part of it.

    Args:
        err: an error that means out of memory.
        memory_mib: the limit on this process' host memory beyond a bare worker's, MiB; None for no limit.
    """
    asked = asked_mib(err)
    request = "asked for an unknown amount" if asked is None else f"asked for {asked:.0f} MiB"
    on_gpu = _on_gpu()
    if on_gpu is not None and not any(isinstance(each, MemoryError) for each in chain_of(err)):
        limit, free = on_gpu
        return f"{request}, {free:.0f} MiB free of a limit of {limit:.0f} MiB of GPU memory"
    if memory_mib is not None:
        return f"{request}, {_free_of_limit_mib():.0f} MiB free of a limit of {memory_mib} MiB of host memory"
    return f"{request}, {_available_mib():.0f} MiB of host memory free, no limit"


def _on_gpu() -> tuple[float, float] | None:
    try:
        return gpu_limit_and_free_mib()
    except (RuntimeError, tf.errors.OpError):  # the GPU had no room for TensorFlow itself
        return None


def asked_mib(err: BaseException) -> float | None:
    """The size of the allocation that failed, MiB; None if no error names it."""
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
    """The error, then its causes."""
    seen: set[int] = set()
    following: BaseException | None = err
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def _free_of_limit_mib() -> float:
    """The memory that RLIMIT_DATA leaves to this process, MiB."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return max(0.0, limit / _MIB - _kib(Path("/proc/self/status"), "VmData:") / 1024)


def _available_mib() -> float:
    return _kib(Path("/proc/meminfo"), "MemAvailable:") / 1024


def _kib(file: Path, name: str) -> int:
    lines = file.read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

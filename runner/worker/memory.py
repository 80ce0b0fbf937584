"""Measures a model's memory: the peak of the GPU's allocator, or of the process if there is no GPU."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from runner.worker.startup import peak_memory_mib

_MIB = 1024 * 1024
_RESET = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # man 5 proc_pid_clear_refs


def reset_peak() -> None:
    """Begins a measurement. If the kernel does not allow it, the process' peak remains that of its whole life."""
    reset_gpu_peak()
    try:
        _RESET.write_text(_RESET_PEAK, encoding="ascii")
    except OSError:  # a container that mounts /proc read-only
        return


def peak_mib() -> float:
    """The peak since the last reset, MiB: of the fullest GPU, or without a GPU of the process' own resident memory.

    Arrays that workers share do not count, because they are in the node's memory once for all workers.
    """
    if tf.config.list_logical_devices("GPU"):
        return gpu_peak_mib()
    return max(0.0, peak_memory_mib() - _resident_mib("RssShmem:"))


def own_mib() -> float:
    """The process' own resident memory now, MiB, without what it shares with others and without files."""
    return _resident_mib("RssAnon:")


def _resident_mib(kind: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(kind)) / 1024


def reset_gpu_peak() -> None:
    """Begins a measurement on the GPUs only."""
    for gpu in tf.config.list_logical_devices("GPU"):
        tf.config.experimental.reset_memory_stats(_short(gpu.name))


def gpu_peak_mib() -> float:
    """The peak of the fullest GPU's allocator since the last reset, MiB; 0 without a GPU."""
    gpus = tf.config.list_logical_devices("GPU")
    peaks = [float(tf.config.experimental.get_memory_info(_short(gpu.name))["peak"]) for gpu in gpus]
    return max(peaks, default=0.0) / _MIB


def _short(name: str) -> str:
    return name.removeprefix("/device:")


def gpu_limit_and_free_mib() -> tuple[float, float] | None:
    """TensorFlow's memory limit on the fullest GPU and the free part of it, MiB; None if no GPU has a limit."""
    found = []
    for device, logical in zip(
        tf.config.list_physical_devices("GPU"), tf.config.list_logical_devices("GPU"), strict=False
    ):
        (settings, *_) = tf.config.get_logical_device_configuration(device) or [None]
        if settings is not None and settings.memory_limit is not None:
            used = tf.config.experimental.get_memory_info(_short(logical.name))["current"] / _MIB
            found.append((float(settings.memory_limit), max(0.0, settings.memory_limit - used)))
    return min(found, key=lambda limit_and_free: limit_and_free[1], default=None)

"""Samples what this machine is used for, in a thread: processors, memory, disk, network and GPUs.

The names are those of MLflow's own monitor, for which MLflow has a page. That monitor would write past the journal.

Source of the names: mlflow 3.17, `mlflow/system_metrics/metrics`.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any, Self

import psutil

from runner.records import Sample

_LOOK_S = 1.0  # seconds between two looks, whose mean is a sample
_MB = 1e6
_LATEST = ("disk", "network")  # parts of names of values that are no rates: the last look counts


class UsageSampler:
    """Takes a sample every `every_s` seconds until it is left, and keeps samples until they are asked for.

    Args:
        every_s: seconds that a sample is the mean of; None takes none.
        look: returns the values at a moment.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        every_s: float | None,
        look: Callable[[], Mapping[str, float]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._every_s, self._clock = every_s, clock
        self._look = look
        self._lock, self._ending = threading.Lock(), threading.Event()
        self._looks: list[Mapping[str, float]] = []
        self._samples: list[Sample] = []
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        if self._every_s is not None:
            self._thread = threading.Thread(target=self._run, name="usage-sampler", daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join()

    def taken(self, with_rest: bool = False) -> tuple[Sample, ...]:
        """The samples since the last call; `with_rest`: and one of the shorter time since the last of them."""
        with self._lock:
            if with_rest:
                self._close()
            samples, self._samples = tuple(self._samples), []
        return samples

    def _run(self) -> None:
        assert self._every_s is not None
        with ExitStack() as opened:
            look = self._look or opened.enter_context(_Machine())
            sample_ends_s = self._clock() + self._every_s
            while not self._ending.wait(min(_LOOK_S, self._every_s)):
                values = look()
                with self._lock:
                    self._looks.append(values)
                    if self._clock() >= sample_ends_s:
                        self._close()
                        sample_ends_s = self._clock() + self._every_s

    def _close(self) -> None:
        """Makes a sample of the looks so far."""
        if not self._looks:
            return
        names = dict.fromkeys(name for look in self._looks for name in look)
        values = {name: _summary(name, [look[name] for look in self._looks if name in look]) for name in names}
        self._samples.append(Sample(taken_ms=int(self._clock() * 1000), values=values))
        self._looks = []


class _Machine:
    """Looks at this machine; `nvmlInit` is undone at the end."""

    def __enter__(self) -> Self:
        import pynvml

        self._nvml: Any = pynvml
        self._gpus: list[Any] = []
        with suppress(pynvml.NVMLError):  # no GPU, or no driver that answers, which is reported elsewhere
            pynvml.nvmlInit()
            self._gpus = [pynvml.nvmlDeviceGetHandleByIndex(number) for number in range(pynvml.nvmlDeviceGetCount())]
        psutil.cpu_percent()  # the next call tells what was used since this one
        network = psutil.net_io_counters()
        self._received = 0 if network is None else network.bytes_recv
        self._sent = 0 if network is None else network.bytes_sent
        return self

    def __exit__(self, *exc: object) -> None:
        with suppress(self._nvml.NVMLError):
            self._nvml.nvmlShutdown()

    def __call__(self) -> dict[str, float]:
        memory, disk, network = psutil.virtual_memory(), psutil.disk_usage("."), psutil.net_io_counters()
        found = {
            "cpu_utilization_percentage": psutil.cpu_percent(),
            "system_memory_usage_megabytes": memory.used / _MB,
            "system_memory_usage_percentage": memory.used / memory.total * 100,
            "disk_usage_percentage": disk.percent,
            "disk_usage_megabytes": disk.used / _MB,
            "disk_available_megabytes": disk.free / _MB,
        }
        if network is not None:
            found["network_receive_megabytes"] = (network.bytes_recv - self._received) / _MB
            found["network_transmit_megabytes"] = (network.bytes_sent - self._sent) / _MB
        for number, gpu in enumerate(self._gpus):
            found |= {f"gpu_{number}_{name}": value for name, value in self._of_gpu(gpu).items()}
        return found

    def _of_gpu(self, gpu: Any) -> dict[str, float]:
        nvml, found = self._nvml, dict[str, float]()
        with suppress(nvml.NVMLError):  # some devices do not tell some of this
            memory = nvml.nvmlDeviceGetMemoryInfo(gpu)
            found["memory_usage_megabytes"] = memory.used / _MB
            found["memory_usage_percentage"] = memory.used / memory.total * 100
        with suppress(nvml.NVMLError):
            found["utilization_percentage"] = float(nvml.nvmlDeviceGetUtilizationRates(gpu).gpu)
        with suppress(nvml.NVMLError):
            watts = nvml.nvmlDeviceGetPowerUsage(gpu) / 1000
            found["power_usage_watts"] = watts
            found["power_usage_percentage"] = watts * 1e5 / nvml.nvmlDeviceGetEnforcedPowerLimit(gpu)
        return found


def _summary(name: str, values: list[float]) -> float:
    return round(values[-1] if name.startswith(_LATEST) else statistics.fmean(values), 1)

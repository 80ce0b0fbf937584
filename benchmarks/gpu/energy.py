"""The energy that a GPU has taken, from its own counter."""

from __future__ import annotations

from types import ModuleType, TracebackType
from typing import Any, Self


class EnergyCounter:
    """Reads NVML's counter of a GPU's energy. Enter it before it is read.

    The counter is the whole card's, whatever else computes there. GPUs before the Volta generation have none.

    Args:
        uuid: the GPU; None for a machine without one.
        nvml: stands in for the module `pynvml`.
    """

    def __init__(self, uuid: str | None, nvml: ModuleType | Any = None) -> None:
        if nvml is None:
            import pynvml

            nvml = pynvml
        self._nvml: Any = nvml
        self._uuid, self._handle = uuid, None

    def __enter__(self) -> Self:
        if self._uuid is not None:
            self._nvml.nvmlInit()
            self._handle = self._nvml.nvmlDeviceGetHandleByUUID(self._uuid)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._uuid is not None:
            self._nvml.nvmlShutdown()

    def read_j(self) -> float | None:
        """Joules since the driver was loaded; None without a GPU, and if the GPU does not count them."""
        if self._handle is None:
            return None
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)) / 1000
        except self._nvml.NVMLError_NotSupported:
            return None

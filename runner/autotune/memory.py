"""Memory of models, measured by building and training them for some steps, and kept between sweeps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.autotune.cache import MeasurementsFile, machine_key, model_key
from runner.placement import Machine
from runner.records import Checked, Failure, Slot, Trial

NEEDS_FILE = Path("~/.cache/lockstep-runner/needs.json")
_PLAUSIBLE_OVERHEAD_MIB = range(50, 3_000)  # beyond it, another process took or freed memory during the measurement


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """One distinct model of a sweep.

    Args:
        trial: the first that has it.
        trials: how many have it.
        memory_mib: measured peak, MiB; None if it was not measured.
        weights_bytes: size of its weights; None if it was not measured.
        state_bytes: size of all that training changes; None if it was not measured.
    """

    trial: Trial
    trials: int
    memory_mib: float | None
    weights_bytes: int | None = None
    state_bytes: int | None = None


class Needs:
    """Measured memory of models on one device.

    Args:
        file: keeps the measurements.
        device: the GPU's name, or "cpu".
        versions: of the packages on which they depend.
    """

    def __init__(self, file: MeasurementsFile, device: str, versions: Mapping[str, str]) -> None:
        self._file, self._device, self._versions = file, device, versions

    def of(self, trials: Iterable[Trial]) -> tuple[Need, ...]:
        """Each distinct model of the trials, in their order."""
        alike: dict[str, list[Trial]] = {}
        for trial in trials:
            alike.setdefault(self._key(trial), []).append(trial)
        return tuple(
            Need(
                trial=same[0],
                trials=len(same),
                memory_mib=self._known(key, "memory_mib"),
                weights_bytes=self._count(key, "weights_bytes"),
                state_bytes=self._count(key, "state_bytes"),
            )
            for key, same in alike.items()
        )

    def keep(self, trial: Trial, found: Checked | Failure) -> None:
        """Keeps a measurement; a model that failed has none."""
        if isinstance(found, Checked) and found.memory_mib > 0:
            sizes = {"weights_bytes": found.facts.weights_bytes, "state_bytes": found.facts.state_bytes}
            self._file.put(self._key(trial), {"memory_mib": found.memory_mib, **sizes})

    @property
    def overhead_mib(self) -> int | None:
        """Memory that a process takes on the GPU beyond its limit, MiB; None if it was not measured."""
        known = self._known(machine_key(self._device, self._versions), "overhead_mib")
        return None if known is None else round(known)

    def keep_overhead(self, before: Machine, during: Machine, slot: Slot) -> None:
        """Keeps the overhead: the memory that the GPU lost while a worker ran in the slot, minus the worker's limit.

        TensorFlow takes its whole limit with the first tensor.
        """
        free = {gpu.id: gpu.free_mib for gpu in before.gpus}
        for gpu in during.gpus:
            if gpu.id in slot.allocation.gpus:
                overhead = free[gpu.id] - gpu.free_mib - (slot.allocation.gpu_memory_mib or 0)
                if overhead in _PLAUSIBLE_OVERHEAD_MIB:
                    self._file.put(machine_key(self._device, self._versions), {"overhead_mib": overhead})

    def _key(self, trial: Trial) -> str:
        return model_key(trial, self._device, self._versions)

    def _count(self, key: str, name: str) -> int | None:
        known = self._known(key, name)
        return None if known is None else round(known)

    def _known(self, key: str, name: str) -> float | None:
        found = self._file.get(key)
        value = found.get(name) if isinstance(found, dict) else None
        return float(value) if isinstance(value, int | float) and value > 0 else None


def largest(needs: Sequence[Need]) -> float | None:
    """The largest measured peak, MiB; None if nothing was measured."""
    return max((need.memory_mib for need in needs if need.memory_mib is not None), default=None)


def is_complete(needs: Sequence[Need]) -> bool:
    """Whether every model was measured."""
    return all(need.memory_mib is not None for need in needs)

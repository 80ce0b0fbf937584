"""Measured step times of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from runner.autotune.cache import MeasurementsFile, model_key
from runner.autotune.compilation import Timings
from runner.records import Allocation, Trial


class TimingsFile:
    """A file of timings by key."""

    def __init__(self, path: Path) -> None:
        self._file = MeasurementsFile(path)

    def get(self, key: str) -> Timings | None:
        """What was measured, if anything that can be read."""
        try:
            return Timings.of(self._file.get(key))
        except (AttributeError, TypeError, ValueError):
            return None

    def put(self, key: str, timings: Timings) -> None:
        """Keeps a measurement."""
        self._file.put(key, asdict(timings))


def timings_key(trial: Trial, allocation: Allocation, versions: Mapping[str, str]) -> str:
    """Equal where timings are comparable; which GPU it is and what memory it has left are not what matters."""
    return model_key(trial, (allocation.num_cpus, allocation.num_gpus, allocation.threads), versions)

"""Measurements of this machine, kept between sweeps so that equal sweeps decide alike."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from runner.autotune.compilation import Timings
from runner.records import Allocation, StackTrial, Trial


class MeasurementsFile:
    """A JSON file of measurements by key. A file that cannot be read counts as empty."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> Any:
        """The values kept under the key; None if there are none."""
        return self._read().get(key)

    def put(self, key: str, values: Mapping[str, Any]) -> None:
        """Keeps a measurement. If the file cannot be written, the next sweep measures again."""
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps({**self._read(), key: dict(values)}, indent=1), encoding="utf-8")
            partial.replace(self._path)

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


class TimingsFile:
    """A file of step times by key."""

    def __init__(self, path: Path) -> None:
        self._file = MeasurementsFile(path)

    def get(self, key: str) -> Timings | None:
        """The measured step times; None if there are none that can be read."""
        try:
            return Timings.of(self._file.get(key))
        except (AttributeError, TypeError, ValueError):
            return None

    def put(self, key: str, timings: Timings) -> None:
        """Keeps a measurement."""
        self._file.put(key, asdict(timings))

    def stack(self, key: str, size: int) -> StackTrial | None:
        """What trying a stack of this size has found; None if it was not tried or cannot be read."""
        try:
            return StackTrial(**self._file.get(f"{key} in a stack of {size}"))
        except (AttributeError, TypeError, ValueError):
            return None

    def put_stack(self, key: str, tried: StackTrial) -> None:
        """Keeps what trying a stack has found."""
        self._file.put(f"{key} in a stack of {tried.size}", asdict(tried))


def model_key(trial: Trial, share: object, versions: Mapping[str, str]) -> str:
    """A key that is equal if measurements are comparable: the same model except for its rates, on the same machine.

    Args:
        trial: float parameters of its model count as rates, which cost neither time nor memory.
        share: the part of the machine that the measurement depends on.
        versions: of the packages that it depends on.
    """
    model = {name: trial.params[name] for name in trial.model_params if not isinstance(trial.params[name], float)}
    train = (trial.train.batch_size, trial.train.compile, trial.train.deterministic)
    return _digest(trial.data_key, repr(model), *train, repr(share), *_machine(), sorted(versions.items()))


def timings_key(trial: Trial, allocation: Allocation, versions: Mapping[str, str]) -> str:
    """A key that is equal if step times are comparable. They do not depend on which GPU it is or on its free memory."""
    return model_key(trial, (allocation.num_cpus, allocation.num_gpus, allocation.threads), versions)


def machine_key(share: object, versions: Mapping[str, str]) -> str:
    """A key that is equal for the same part of the same machine."""
    return _digest(repr(share), *_machine(), sorted(versions.items()))


def _machine() -> tuple[object, ...]:
    return platform.node(), platform.machine(), platform.processor(), os.cpu_count()


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()

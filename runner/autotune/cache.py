"""What was measured on this machine, kept between sweeps so that it is measured once and decides alike each time."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.records import Trial


class MeasurementsFile:
    """A JSON file of measurements by key. One that cannot be read is an empty one: it is measured again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> Any:
        """What was kept under the key; None for nothing."""
        return self._read().get(key)

    def put(self, key: str, values: Mapping[str, Any]) -> None:
        """Keeps a measurement; where that is impossible it is measured again the next time."""
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


def model_key(trial: Trial, share: object, versions: Mapping[str, str]) -> str:
    """Equal where measurements of two trials are comparable: the same model but for its rates, on the same machine.

    Args:
        trial: parameters of its model that are floats are taken for rates, which cost no time and no memory.
        share: the part of the machine that matters.
        versions: of the packages that matter.
    """
    model = {name: trial.params[name] for name in trial.model_params if not isinstance(trial.params[name], float)}
    train = (trial.train.batch_size, trial.train.compile, trial.train.deterministic)
    return _digest(trial.data_key, repr(model), *train, repr(share), *_machine(), sorted(versions.items()))


def machine_key(share: object, versions: Mapping[str, str]) -> str:
    """Equal for the same part of the same machine."""
    return _digest(repr(share), *_machine(), sorted(versions.items()))


def _machine() -> tuple[object, ...]:
    return platform.node(), platform.machine(), platform.processor(), os.cpu_count()


def _digest(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()

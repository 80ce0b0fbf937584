"""Measured step times of this machine, kept between sweeps so that a trial is compiled the same way every time."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

from runner.compilation import Timings
from runner.records import Allocation, Trial


class TimingsFile:
    """A JSON file of timings by key. One that cannot be read is an empty one: it is measured again."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get(self, key: str) -> Timings | None:
        """What was measured, if anything."""
        try:
            return Timings.of(self._read()[key])
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    def put(self, key: str, timings: Timings) -> None:
        """Keeps a measurement."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        partial.write_text(json.dumps({**self._read(), key: asdict(timings)}, indent=1), encoding="utf-8")
        partial.replace(self._path)

    def _read(self) -> dict[str, dict[str, float | None]]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def timings_key(trial: Trial, allocation: Allocation, versions: dict[str, str]) -> str:
    """Equal where timings are comparable: the same model but for its rates, on the same share of the same machine."""
    machine = (platform.node(), platform.machine(), platform.processor(), os.cpu_count())
    model = {name: trial.params[name] for name in trial.model_params if not isinstance(trial.params[name], float)}
    code = (trial.data_key, repr(model), trial.train.batch_size)
    parts = (*code, asdict(allocation), machine, sorted(versions.items()))
    return hashlib.sha256(repr(parts).encode()).hexdigest()

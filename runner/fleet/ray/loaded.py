"""The data sets that a fleet's workers have put into Ray's object store."""

from __future__ import annotations

from collections.abc import Iterable

import ray

from runner.fleet.ray.calls import is_pending
from runner.records import Trial


class LoadedData:
    """References to data sets by their keys. The first worker that needs one loads it."""

    def __init__(self) -> None:
        self._futures: dict[str, ray.ObjectRef] = {}
        self._proven: set[str] = set()

    @property
    def is_pending(self) -> bool:
        """Whether a worker is loading one."""
        return is_pending(self._futures.values())

    def has(self, trial: Trial) -> bool:
        """Whether a worker has started to load the trial's data."""
        return trial.data_key in self._futures

    def of(self, trial: Trial, actor: ray.actor.ActorHandle) -> ray.ObjectRef:
        """Reference to the trial's data, which this worker loads unless a worker has started to."""
        if not self.has(trial):
            self._futures[trial.data_key] = actor.load.remote(trial)
        return self._futures[trial.data_key]

    def prove(self, trials: Iterable[Trial]) -> None:
        """Notes that these trials have trained on their data, so that the object store has it."""
        self._proven |= {trial.data_key for trial in trials}

    def forget_unproven(self) -> None:
        """Forgets data that no trial has trained on, because its worker may have ended before it had loaded it."""
        self._futures = {key: future for key, future in self._futures.items() if key in self._proven}

    def clear(self) -> None:
        """Forgets all, so that Ray may free the memory."""
        self._futures.clear()

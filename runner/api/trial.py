"""A trial as a Python program reads it, with its model."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from runner.errors import SweepNotFoundError
from runner.journal import TrialRecord, files_folder, own_file

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class TrialResult:
    """One trial of a sweep.

    Args:
        folder: the sweep's.
        record: of the trial.
        metric: the sweep's.
    """

    folder: Path
    record: TrialRecord
    metric: str

    @property
    def id(self) -> str:
        """Its id within the sweep, such as "007"."""
        return self.record.id

    @property
    def status(self) -> str:
        """queued, running, complete, stopped, failed or killed."""
        return self.record.status

    @property
    def score(self) -> float | None:
        """The sweep's metric, of its model; None if it has none."""
        return self.record.score(self.metric)

    @property
    def params(self) -> dict[str, object]:
        """The values of the parameters of `load_data` and `build_model`."""
        return dict(self.record.trial.params)

    @property
    def metrics(self) -> Mapping[str, float]:
        """All epoch metrics of its model, and `test_*` metrics."""
        return self.record.metrics

    @property
    def files_folder(self) -> Path:
        """The folder of what its callbacks have written, which exists if they have written anything."""
        return files_folder(self.folder, self.id)

    def model(self) -> keras.Model:
        """The trained model in this process, which takes GPU memory as it needs it.

        A model with classes or functions of its own is built again from the recorded source, which runs here, and gets
        its trained weights; so it has no optimizer state.

        Raises:
            SweepNotFoundError: the trial has no model, because it failed or because `keep.models` has removed it.
        """
        if self.record.weights is None:
            raise SweepNotFoundError(f"trial {self.id}: has no model; it is {self.status}: {self.record.reason or '–'}")
        import keras
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            with suppress(RuntimeError):  # TensorFlow runs already, with whatever it was given
                tf.config.experimental.set_memory_growth(gpu, True)
        if self.record.model is None:
            return self._rebuilt()
        model: keras.Model = keras.models.load_model(own_file(self.folder, self.record.model))
        return model

    def _rebuilt(self) -> keras.Model:
        """The model from its source and weights, by the script that an export has for this."""
        from runner.api.exports import export
        from runner.review.catalog import open_review

        with TemporaryDirectory(prefix="lockstep-runner-") as folder:
            export(open_review(self.folder), self.record, Path(folder, "model"))
            before = list(sys.path)
            try:
                model: keras.Model = runpy.run_path(str(Path(folder, "model", "rebuild.py")))["model"]
            finally:
                sys.path[:] = before
        return model

    def __repr__(self) -> str:
        shown = " ".join(f"{name}={self.record.settings.get(name)}" for name in self.record.trial.searched)
        return f"<trial {self.id}: {self.status}, {self.metric} {self.score} {shown}".rstrip() + ">"

"""A trial as a Python program reads it, with its model."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
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
        """The trained model, loaded by Keras in this process, which takes GPU memory as it needs it.

        Raises:
            SweepNotFoundError: the trial has no model, or one that needs its source; `python -m runner best --export`
                writes it with a script that rebuilds it.
        """
        if self.record.model is None:
            raise SweepNotFoundError(
                f"trial {self.id}: has no file that Keras can load by itself; "
                f"`python -m runner best {self.folder.name} --trial {self.id} --export DIR` writes what there is"
            )
        import keras
        import tensorflow as tf

        for gpu in tf.config.list_physical_devices("GPU"):
            with suppress(RuntimeError):  # TensorFlow runs already, with whatever it was given
                tf.config.experimental.set_memory_growth(gpu, True)
        model: keras.Model = keras.models.load_model(own_file(self.folder, self.record.model))
        return model

    def __repr__(self) -> str:
        shown = " ".join(f"{name}={self.record.settings.get(name)}" for name in self.record.trial.searched)
        return f"<trial {self.id}: {self.status}, {self.metric} {self.score} {shown}".rstrip() + ">"

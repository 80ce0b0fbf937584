"""The model of a trial that has ended, as files."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from runner.records import Export, Metrics
from runner.worker.seat import Seat


def end_training(seat: Seat) -> dict[str, float]:
    """Puts averaged weights in place as `fit` does at its end, and ends callbacks; returns what these have logged."""
    with seat.active():
        model = seat.engine.model
        if isinstance(model.optimizer, keras.optimizers.Optimizer):
            model.optimizer.finalize_variable_values(model.trainable_weights)
        return {} if seat.callbacks is None else seat.callbacks.end()


def export(seat: Seat, logged: Metrics, best: bool, folder: Path) -> Export:
    """Evaluates a model whose training was ended on the test split, and writes it.

    Args:
        seat: of the trial.
        logged: what its callbacks have logged at the end of training.
        best: put the best weights in place, if they were kept.
        folder: gets the files.
    """
    trial_id, engine = seat.trial.id, seat.engine
    file, weights = folder / f"{trial_id}.keras", folder / f"{trial_id}.weights.npz"
    with seat.active():
        model = engine.model
        if best and seat.progress.best is not None:
            model.set_weights(seat.progress.best)
        test_metrics = engine.evaluate("test", "test_") if "test" in seat.feed.splits else {}
        _write_npz(weights, model.get_weights())
        is_saved = seat.facts.loadable and engine.save(file)
    return Export(
        trial_id=trial_id,
        model=file if is_saved else b"",
        weights=weights,
        test_metrics=test_metrics,
        logged=logged,
        best_epoch=None if seat.callbacks is None or best else seat.callbacks.restored_epoch,
        files=None if seat.recorder is None else seat.recorder.files(),
    )


def _write_npz(file: Path, weights: list[np.ndarray]) -> None:
    # A file knows bfloat16 and the like by their size only; each is exactly a float32, and Keras accepts that.
    known = [value.astype(np.float32) if value.dtype.kind == "V" else value for value in weights]
    np.savez(file, *known)

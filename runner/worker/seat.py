"""One trial seated in a worker: its model, its programs, its place in the data."""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from runner.records import Checked, Export, Facts, Report, Trial, Turn, Work
from runner.worker import keras_private
from runner.worker.code import Experiment
from runner.worker.feeds import ArrayFeed, Feed, Resident, StreamFeed
from runner.worker.inspect import check_labels, check_model, is_plain_keras
from runner.worker.process import peak_memory_mib
from runner.worker.program import StepFunction

_CALL_S = 0.5  # a turn runs as calls of about this long, so that it can be stopped between two of them


class Seat:
    """A trial's model while it lives in this process.

    Args:
        trial: whose seat it is.
        experiment: its code.
        resident: its arrays; None where `load_data` returns `tf.data` pipelines, which are then built for this trial.

    Raises:
        Exception: whatever the experiment's code raises, and ValueError or TypeError for what cannot be trained.
    """

    def __init__(self, trial: Trial, experiment: Experiment, resident: Resident | None) -> None:
        began = time.perf_counter()
        self.trial = trial
        self._experiment = experiment
        self._globals = keras_private.Globals(trial.seed, experiment.settings)
        self._step = 0
        self._seconds_per_step: float | None = None
        self._best: list[np.ndarray[Any, Any]] | None = None
        with self._active():
            self._feed = self._open_feed(resident)
            keras.utils.set_random_seed(trial.seed)  # the model begins as if no data had been made before it
            self._model = experiment.build_model(trial)
            check_model(self._model)
            keras_private.symbolic_build(self._model, self._feed.sample())
            if resident is not None:
                check_labels(self._model, resident.data.train)
            self._test_step = StepFunction(self._model, self._model.test_step)
            self._program = self._feed.training(StepFunction(self._model, self._model.train_step))
            self._facts = self._gather_facts()
        self._seat_s = time.perf_counter() - began

    def rehearse(self) -> Checked:
        """Tries one training and one validation step. The seat is spent afterwards."""
        with self._active():
            self._model.reset_metrics()
            metrics = keras_private.epoch_logs(self._model, self._program.run(0, 1))
            if self._feed.has_validation:
                metrics |= self._evaluate("validation", "val_")
        if self.trial.train.reduce_lr_on_plateau is not None:
            metrics["learning_rate"] = 0.0
        return Checked(trial_id=self.trial.id, facts=self._facts, metrics=tuple(metrics))

    def advance(self, work: Work) -> Report:
        """One turn: at most a round of steps, never past the epoch's end; validation at its end where due."""
        started = time.time()
        with self._active():
            self._obey(work)
            if self._step % self._feed.steps_per_epoch == 0:
                self._model.reset_metrics()
            compute_s, logs = self._run(self.trial.train.steps_in_turn(self._feed.steps_per_epoch, self._step))
            running = keras_private.epoch_logs(self._model, logs)
            evaluate_s, epoch_metrics = 0.0, None
            if self._step % self._feed.steps_per_epoch == 0:
                evaluate_s, epoch_metrics = self._end_epoch(running)
        turn = Turn(
            pid=os.getpid(),
            started_s=started,
            ended_s=time.time(),
            compute_s=compute_s,
            evaluate_s=evaluate_s,
            seat_s=self._seat_s if work.round == 0 else 0.0,
            memory_mib=peak_memory_mib(),
        )
        return Report(
            trial_id=self.trial.id,
            round=work.round,
            step=self._step,
            epoch=self._epoch,
            running=running,
            epoch_metrics=epoch_metrics,
            turn=turn,
            facts=self._facts if work.round == 0 else None,
        )

    def export(self, best: bool) -> Export:
        """The trained model: averaged weights put in place as `fit` does at its end, then the best ones if asked."""
        with self._active():
            if isinstance(self._model.optimizer, keras.optimizers.Optimizer):
                self._model.optimizer.finalize_variable_values(self._model.trainable_weights)
            if best and self._best is not None:
                self._model.set_weights(self._best)
            test_metrics = self._evaluate("test", "test_") if self._feed.has_test else {}
            return Export(
                trial_id=self.trial.id,
                model=_saved(self._model) if self._facts.loadable else b"",
                weights=_as_npz(self._model.get_weights()),
                test_metrics=test_metrics,
            )

    @property
    def _epoch(self) -> int:
        return self._step // self._feed.steps_per_epoch

    @contextmanager
    def _active(self) -> Iterator[None]:
        with self._globals.active(), self._experiment.active():
            yield

    def _open_feed(self, resident: Resident | None) -> Feed:
        if resident is not None:
            return ArrayFeed(resident, self.trial.train, self.trial.seed)
        return StreamFeed(self._experiment.load_data(self.trial), self.trial.train)

    def _gather_facts(self) -> Facts:
        lines: list[str] = []
        self._model.summary(print_fn=lambda line, **_: lines.append(line), line_length=100)
        return Facts(
            steps_per_epoch=self._feed.steps_per_epoch,
            rows=self._feed.rows,
            validation_rows=self._feed.validation_rows,
            parameters=int(self._model.count_params()),
            program=self._program.kind,
            program_reason=self._program.reason,
            inexact=self._program.inexact,
            summary="\n".join(lines),
            loadable=is_plain_keras(self._model),
        )

    def _obey(self, work: Work) -> None:
        if work.keep_best:
            self._best = self._model.get_weights()
        if work.learning_rate is not None:
            self._model.optimizer.learning_rate = work.learning_rate

    def _run(self, count: int) -> tuple[float, Any]:
        """Runs `count` steps in calls of about `_CALL_S`; returns the seconds and the last step's logs."""
        began, logs, left = time.perf_counter(), None, count
        while left > 0:
            size = 1 if self._seconds_per_step is None else max(1, int(_CALL_S / self._seconds_per_step))
            size = min(size, left)
            call_began = time.perf_counter()
            logs = keras.tree.map_structure(np.asarray, self._program.run(self._step, size))
            self._seconds_per_step = (time.perf_counter() - call_began) / size
            self._step += size
            left -= size
        return time.perf_counter() - began, logs

    def _end_epoch(self, running: dict[str, float]) -> tuple[float, dict[str, float]]:
        metrics = dict(running)
        began = time.perf_counter()
        if self._feed.has_validation and self._epoch % self.trial.train.validate_every == 0:
            metrics |= self._evaluate("validation", "val_")
        if self.trial.train.reduce_lr_on_plateau is not None:  # as Keras' callback adds it to History
            metrics["learning_rate"] = float(self._model.optimizer.learning_rate)
        return time.perf_counter() - began, metrics

    def _evaluate(self, split: str, prefix: str) -> dict[str, float]:
        self._model.reset_metrics()
        logs = keras_private.epoch_logs(self._model, self._feed.evaluate(self._test_step, split))
        return {prefix + name: value for name, value in logs.items()}


def _saved(model: Any) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        model.save(path)
        return path.read_bytes()


def _as_npz(weights: list[np.ndarray[Any, Any]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *weights)
    return buffer.getvalue()

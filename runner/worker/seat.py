"""One trial seated in a worker: its model, its programs, its place in the data."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from runner.records import Checked, Epoch, Export, Facts, Report, Snapshot, Trial, Turn, Work
from runner.worker import memory, private, snapshot, variables
from runner.worker.building import build_model, traced
from runner.worker.data.feeds import ArrayFeed, Feed, Resident, StreamFeed
from runner.worker.experiment import Experiment
from runner.worker.global_state import Globals, RandomState
from runner.worker.programs.engine import Engines, State, read
from runner.worker.startup import peak_memory_mib
from runner.worker.validation import check_labels, check_text, facts_of, sizes_of

_MEASURE_S = 0.25  # long enough to tell graph from XLA, and models from each other: they differ by factors
_LONGEST_S = 5.0  # a turn of several epochs ends with the one that takes it beyond: its size was another trial's
_CALL_S = 0.5  # a turn runs as calls of about this long, so that it can be stopped between two of them


class Seat:
    """A trial's place in this process: its state, and the engine that it trains on.

    Args:
        trial: whose seat it is.
        experiment: its code.
        resident: its arrays; None where `load_data` returns `tf.data` pipelines, which are then built for this trial.
        engines: engines of this process that may fit.

    Attributes:
        facts: what only the built model can tell.
        epochs: that have ended in the turn that runs or was interrupted.

    Raises:
        Exception: whatever the experiment's code raises, and ValueError or TypeError for what cannot be trained.
    """

    def __init__(self, trial: Trial, experiment: Experiment, resident: Resident | None, engines: Engines) -> None:
        began = time.perf_counter()
        self.trial = trial
        self._experiment, self._resident = experiment, resident
        self._globals = Globals(trial.seed, experiment.settings)
        self._step, self._round = 0, 0
        self._turn_end: int | None = None  # of a turn that was interrupted
        self.epochs: list[Epoch] = []
        self._seconds_per_step: float | None = None
        self._best: list[np.ndarray[Any, Any]] | None = None
        with self._globals.active(), experiment.active():
            self._feed = self._open_feed()
            built = build_model(experiment, trial, self._feed)
            if resident is not None:
                check_text(built.model, resident.data.train)
            tracing = time.perf_counter()
            self._engine = traced(experiment, trial, self._feed, lambda: engines.fitting(built, trial))
            self._trace_s = time.perf_counter() - tracing
            self._state: State | None = read(built.model)
            self.facts = self._look_at(built.model)
        if self._engine.model is built.model:
            self._engine.occupant, self._state = self, None
        self._seat_s = time.perf_counter() - began

    def rehearse(self, until_s: float) -> Checked:
        """Tries one training step and a validation and times training. The seat is spent afterwards.

        Args:
            until_s: when a validation of unknown length must have ended, in seconds since the epoch.
        """
        began = time.perf_counter()
        if isinstance(self._feed, StreamFeed):
            self._feed.evaluate_until_s = until_s
        with self._active():
            self._engine.model.reset_metrics()
            logs = self._steps(0, 1)
            trace_s = self._trace_s + time.perf_counter() - began
            metrics = private.epoch_logs(self._engine.model, logs)
            if "validation" in self._feed.splits:
                metrics |= self._engine.evaluate("validation", "val_")
            if isinstance(self._feed, StreamFeed) and "test" in self._feed.splits:
                self._feed.check_that_it_ends("test")
            step_s = self._time_step()
        if self.trial.train.reduce_lr_on_plateau is not None:
            metrics["learning_rate"] = 0.0
        weights, state = sizes_of(self._engine.model)
        facts = replace(self.facts, weights_bytes=weights, state_bytes=state)
        return Checked(trial_id=self.trial.id, facts=facts, metrics=tuple(metrics), step_s=step_s, trace_s=trace_s)

    def _time_step(self) -> float:
        """Seconds a step: the least of several calls, each of twice as many steps, that take `_MEASURE_S` together.

        The first may wait for a pipeline that begins to read, any for another process.
        """
        least_s, total_s, count = math.inf, 0.0, 1
        while total_s < _MEASURE_S:
            began = time.perf_counter()
            keras.tree.map_structure(np.asarray, self._engine.program.run(self._feed.place, 0, count))
            seconds = time.perf_counter() - began
            least_s, total_s, count = min(least_s, seconds / count), total_s + seconds, 2 * count
        return least_s

    def advance(self, work: Work, stopping: Callable[[], bool] = lambda: False) -> Report | None:
        """One turn: a part of an epoch or whole ones; validation at the end of each where due.

        Args:
            work: the order; a turn that was interrupted is continued, and its order was obeyed when it began.
            stopping: asked between two calls; the turn is interrupted where it is true.

        Returns:
            None for a turn that was interrupted.
        """
        started = time.time()
        memory.reset_gpu_peak()
        with self._active() as swap_s:
            if self._turn_end is None:
                self._begin_turn(work)
            longest_s = _LONGEST_S
            if work.until is not None:
                self._turn_end, longest_s = work.until, math.inf
            compute_s, evaluate_s, running = self._run(stopping, longest_s)
            if self._turn_end is not None:
                return None
        epochs, self.epochs = tuple(self.epochs), []
        self._round = work.round + 1
        turn = Turn(
            pid=os.getpid(),
            started_s=started,
            ended_s=time.time(),
            compute_s=compute_s,
            evaluate_s=evaluate_s,
            seat_s=self._seat_s if work.round == 0 else 0.0,
            swap_s=swap_s,
            memory_mib=peak_memory_mib(),
            gpu_memory_mib=memory.gpu_peak_mib(),
        )
        return Report(
            trial_id=self.trial.id,
            round=work.round,
            step=self._step,
            epoch=self._epoch,
            running=running,
            epochs=epochs,
            turn=turn,
            facts=self.facts if work.round == 0 else None,
        )

    def export(self, best: bool, folder: Path) -> Export:
        """The trained model as files of the folder.

        Averaged weights are put in place as `fit` does at its end, then the best ones if asked.
        """
        file, weights = folder / f"{self.trial.id}.keras", folder / f"{self.trial.id}.weights.npz"
        with self._active():
            model = self._engine.model
            if isinstance(model.optimizer, keras.optimizers.Optimizer):
                model.optimizer.finalize_variable_values(model.trainable_weights)
            if best and self._best is not None:
                model.set_weights(self._best)
            test_metrics = self._engine.evaluate("test", "test_") if "test" in self._feed.splits else {}
            _write_npz(weights, model.get_weights())
            is_saved = self.facts.loadable and self._engine.save(file)
            return Export(
                trial_id=self.trial.id, model=file if is_saved else b"", weights=weights, test_metrics=test_metrics
            )

    def snapshot(self, folder: Path) -> Snapshot:
        """All that a seat built anew needs to go on from here, as a file of the folder."""
        file = folder / f"{self.trial.id}.state.npz"
        with self._active():
            arrays: dict[str, Any] = {**snapshot.read(self._roles())}
            if self._best is not None:
                arrays["best"] = self._best
            state = snapshot.SeatState(
                round=self._round,
                step=self._step,
                turn_end=self._turn_end,
                epochs=tuple(self.epochs),
                arrays=arrays,
                randomness=RandomState.current(),
            )
        snapshot.pack(state, file)
        return Snapshot(trial_id=self.trial.id, round=self._round, step=self._step, state=file)

    def restore(self, content: bytes | Path) -> None:
        """Puts a fresh seat where the snapshot was taken.

        Raises:
            ValueError: the snapshot is of another model.
        """
        state = snapshot.unpack(content)
        with self._active():
            self._create_variables(state.arrays)
            snapshot.write(self._roles(), state.arrays)
            epochs = state.step // self._feed.steps_per_epoch
            self._feed.resume(state.step, validations=epochs // self.trial.train.validate_every)
            state.randomness.apply()
        self._round, self._step = state.round, state.step
        self._turn_end, self.epochs = state.turn_end, list(state.epochs)
        self._best = None
        if "best" in state.arrays:
            self._best = [
                snapshot.of_type(v, w) for v, w in zip(state.arrays["best"], self._engine.model.weights, strict=True)
            ]

    def _roles(self) -> dict[str, list[Any]]:
        return variables.by_role(self._engine.model, self._engine.program.captured)

    def _create_variables(self, arrays: Mapping[str, Sequence[Any]]) -> None:
        """Those that only eager steps and validation create, and that the trial had when these were its values."""
        if snapshot.fits(self._roles(), arrays):
            return
        validation = {"validation"} & self._feed.splits
        if not self._engine.model.run_eagerly:
            self._engine.prepare(validation)
            return
        self._engine.program.run(self._feed.place, 0, 1)
        if not snapshot.fits(self._roles(), arrays):
            for split in validation:
                self._engine.evaluate(split, "")
        private.set_seeds(self.trial.seed)
        self._feed = self._open_feed()
        self._engine.begin_again(self._feed)

    def leave(self) -> None:
        """Gives the engine up; the state is gone."""
        self._state = None
        if self._engine.occupant is self:
            self._engine.occupant = None

    @property
    def _epoch(self) -> int:
        return self._step // self._feed.steps_per_epoch

    @contextmanager
    def _active(self) -> Iterator[float]:
        """The trial's globals, modules and variables in place; gives the seconds that the variables took."""
        with self._globals.active(), self._experiment.active():
            began = time.perf_counter()
            self._take_engine()
            yield time.perf_counter() - began

    def _take_engine(self) -> None:
        occupant = self._engine.occupant
        if occupant is self:
            return
        if isinstance(occupant, Seat):
            occupant._state = self._engine.read()
        assert self._state is not None
        self._engine.write(self._state)
        self._engine.occupant, self._state = self, None

    def _open_feed(self) -> Feed:
        if self._resident is not None:
            return ArrayFeed(self._resident, self.trial.train, self.trial.seed)
        data = self._experiment.load_data(self.trial)
        return StreamFeed(data, self.trial.train, self.trial.seed, self._experiment.shared_parts)

    def _look_at(self, model: Any) -> Facts:
        if self._resident is not None:
            check_labels(model, self._resident.data.train)
        facts = facts_of(model, self._feed, self._engine.program)
        return replace(facts, outside=self._experiment.outside)

    def _begin_turn(self, work: Work) -> None:
        if work.keep_best:
            if not self._engine.model.run_eagerly:  # weights that only validation creates are kept too
                self._engine.prepare({"validation"} & self._feed.splits)
            self._best = self._engine.model.get_weights()
        if work.learning_rate is not None:
            self._engine.model.optimizer.learning_rate = work.learning_rate
        steps = self.trial.train.steps_in_turn(self._feed.steps_per_epoch, self._step)
        self._turn_end = self._step + steps

    def _run(self, stopping: Callable[[], bool], longest_s: float) -> tuple[float, float, dict[str, float]]:
        """Steps to the turn's end, or the first epoch's end after so many seconds, in calls of about `_CALL_S`.

        Returns:
            The seconds inside of training steps, those inside of validation, and the metrics of the epoch so far.
        """
        compute_s, evaluate_s, running = 0.0, 0.0, dict[str, float]()
        while self._turn_end is not None and not stopping():
            began = time.perf_counter()
            logs = self._call(self._turn_end)
            compute_s += time.perf_counter() - began
            running = private.epoch_logs(self._engine.model, logs)
            due = self._step >= self._turn_end
            if self._step % self._feed.steps_per_epoch == 0:
                evaluate_s += self._end_epoch(running)
                diverged = not math.isfinite(running.get("loss", 0.0))  # the driver is to hear of it now
                due |= diverged or compute_s + evaluate_s > longest_s
            if due:
                self._turn_end = None
        return compute_s, evaluate_s, running

    def _call(self, turn_end: int) -> Any:
        """Some steps; returns the last one's logs."""
        done = self._step % self._feed.steps_per_epoch
        if done == 0:
            self._engine.model.reset_metrics()
        size = 1 if self._seconds_per_step is None else max(1, int(_CALL_S / self._seconds_per_step))
        size = min(size, turn_end - self._step, self._feed.steps_per_epoch - done)
        began = time.perf_counter()
        logs = self._steps(self._step, size)
        self._seconds_per_step = (time.perf_counter() - began) / size
        self._step += size
        return logs

    def _steps(self, step: int, count: int) -> Any:
        """Steps from number `step` on; returns the last one's logs when they are done."""
        logs = self._engine.program.run(self._feed.place, step, count)
        logs = keras.tree.map_structure(lambda leaf: None if leaf is None else np.asarray(leaf), logs)
        if step == 0 and self._engine.model.run_eagerly:  # what it is made of is there only now
            self.facts = self._look_at(self._engine.model)
        return logs

    def _end_epoch(self, running: dict[str, float]) -> float:
        """Notes the epoch that has ended; returns the seconds of its validation."""
        metrics = dict(running)
        began = time.perf_counter()
        if "validation" in self._feed.splits and self._epoch % self.trial.train.validate_every == 0:
            metrics |= self._engine.evaluate("validation", "val_")
        seconds = time.perf_counter() - began
        if self.trial.train.reduce_lr_on_plateau is not None:  # as Keras' callback adds it to History
            metrics["learning_rate"] = float(self._engine.model.optimizer.learning_rate)
        self.epochs.append(Epoch(number=self._epoch, metrics=metrics, ended_s=time.time()))
        return seconds


def _write_npz(file: Path, weights: list[np.ndarray[Any, Any]]) -> None:
    # A file knows bfloat16 and the like by their size only; each is exactly a float32, and Keras takes it for one.
    known = [value.astype(np.float32) if value.dtype.kind == "V" else value for value in weights]
    np.savez(file, *known)

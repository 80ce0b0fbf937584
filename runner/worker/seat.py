"""A trial's place in a worker: the state that it trains on, and how far it has come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import keras
import numpy as np

from runner.records import Epoch, Snapshot, Trial
from runner.worker import private, snapshot, variables
from runner.worker.building import build_model, learning_rate, optimizer_name, trace_model
from runner.worker.callbacks import TrialCallbacks, Warn
from runner.worker.data.array_feed import ArrayFeed, Resident
from runner.worker.data.feeds import Feed
from runner.worker.data.stream_feed import StreamFeed
from runner.worker.experiment import Experiment
from runner.worker.global_state import Globals, RandomState
from runner.worker.programs.engine import Built, Engines, State, in_host_memory, read
from runner.worker.trial_files import TrialRecorder
from runner.worker.turn_clock import TurnClock
from runner.worker.validation import check_labels, check_text, check_xla, facts_of


@dataclass(slots=True)
class Progress:
    """How far a trial has come.

    Args:
        round: turns completed.
        step: optimizer steps done.
        turn_end: the step at which the turn that runs or was interrupted ends; None between two turns.
        is_cut: a callback has ended the present epoch, and with it training, before its last step.
        epochs: that have ended in that turn.
        best: the weights of the best epoch so far, if they are kept.
    """

    round: int = 0
    step: int = 0
    turn_end: int | None = None
    is_cut: bool = False
    epochs: list[Epoch] = field(default_factory=list)
    best: list[np.ndarray] | None = None


class Lender(Protocol):
    """Has the values of several seats."""

    def release(self, seat: Seat) -> None:
        """Gives one seat its values back."""

    def dissolve(self) -> None:
        """Gives all of them back."""


class Seat:
    """A trial's place in this process: its global state, its data, its variables' values and its engine.

    Args:
        trial: whose seat it is.
        experiment: its code.
        resident: its arrays; None if `load_data` returns pipelines, which are then made for this trial.
        engines: engines of this process that may fit.
        files: the folder for what its callbacks write; None for a temporary one.
        warn: shows a warning to the user.

    Attributes:
        facts: what only the built model shows.
        feed: its data, with its position in them.
        engine: the engine that it trains on, perhaps shared with other trials.
        recorder: takes what its callbacks record; None for a trial without callbacks.
        callbacks: None for a trial without.
        progress: how far it has come.
        clock: of its turns.
        trace_s: seconds to trace and compile its steps.
        seat_s: seconds to make this seat.

    Raises:
        Exception: whatever the experiment's code raises, and ValueError or TypeError for what cannot be trained.
    """

    def __init__(
        self,
        trial: Trial,
        experiment: Experiment,
        resident: Resident | None,
        engines: Engines,
        files: Path | None = None,
        warn: Warn = lambda _: None,
    ) -> None:
        began = time.perf_counter()
        self.trial = trial
        self._experiment, self._resident = experiment, resident
        self._globals = Globals(trial.seed, experiment.settings)
        self.progress, self.clock = Progress(), TurnClock()
        self._stack_reason = trial.train.stack_refused
        self.recorder = TrialRecorder(files) if trial.has_callbacks else None
        self.callbacks: TrialCallbacks | None = None
        with self._globals.active(), experiment.active():
            self.feed = self._open_feed()
            built = build_model(experiment, trial, self.feed)
            if resident is not None:
                check_text(built.model, resident.data.train)
                if trial.train.compile == "xla":
                    check_xla(resident.data.train)
            if self.recorder is not None:
                built = self._with_callbacks(built, self.recorder, warn)
            tracing = time.perf_counter()
            self.engine = trace_model(experiment, trial, self.feed, lambda: engines.engine_for(built, trial))
            self.trace_s = time.perf_counter() - tracing
            self._state: State | None = read(built.model)
            self._built_rate = learning_rate(built.model)
            self.examine(built.model)
        if self.engine.model is built.model:
            self.engine.occupant, self._state = self, None
        self.lender: Lender | None = None
        self.seat_s = time.perf_counter() - began

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.progress.step // self.feed.steps_per_epoch + self.progress.is_cut

    @contextmanager
    def active(self) -> Iterator[float]:
        """Puts the trial's globals, modules and variables in place; yields the seconds that the variables took."""
        with self._globals.active(), self._experiment.active():
            began = time.perf_counter()
            self._take_engine()
            yield time.perf_counter() - began

    def lend(self, lender: Lender) -> State:
        """Hands over the trial's values until it needs them itself."""
        if self.engine.occupant is self:
            self.engine.occupant, self._state = None, self.engine.read()
        assert self._state is not None
        state, self._state, self.lender = self._state, None, lender
        return state

    def take_back(self, state: State) -> None:
        """Takes the trial's values back from whom it has handed them to."""
        self._state, self.lender = state, None

    def free_device(self) -> None:
        """Moves the variables' values to host memory, until the trial's next turn; not those that are handed over."""
        if self.lender is not None:
            return
        if self.engine.occupant is self:
            self._state, self.engine.occupant = self.engine.read(), None
            self.engine.clear()
        assert self._state is not None
        self._state = in_host_memory(self._state)

    def leave(self) -> None:
        """Releases the engine. The trial's state is lost."""
        if self.lender is not None:
            self.lender.release(self)
        self._state = None
        if self.engine.occupant is self:
            self.engine.occupant = None
        if self.recorder is not None:
            self.recorder.close()

    def examine(self, model: keras.Model) -> None:
        """Determines the facts, from a model with the variables that it has by now."""
        if self._resident is not None:
            check_labels(model, self._resident.data.train)
        facts = facts_of(model, self.feed, self.engine.program)
        if self.callbacks is not None:
            facts = replace(facts, inexact="; ".join(filter(None, (facts.inexact, self.callbacks.inexact))))
        self.facts = replace(facts, outside=self._experiment.outside, stack_reason=self._stack_reason)

    def refuse_stack(self, reason: str) -> None:
        """Notes why the trial trains alone although a stack was wanted."""
        self._stack_reason = reason
        self.facts = replace(self.facts, stack_reason=reason)

    def keep_best(self) -> None:
        """Keeps the present weights as the best ones, with those that only validation creates."""
        if not self.engine.model.run_eagerly:
            self.engine.prepare({"validation"} & self.feed.splits)
        self.progress.best = self.engine.model.get_weights()

    def snapshot(self, folder: Path) -> Snapshot:
        """Writes all that a new seat needs to go on from here, as a file of the folder."""
        file, progress = folder / f"{self.trial.id}.state.npz", self.progress
        with self.active():
            arrays: dict[str, Sequence[np.ndarray]] = {**snapshot.read(self._roles())}
            if progress.best is not None:
                arrays["best"] = progress.best
            state = snapshot.SeatState(
                round=progress.round,
                step=progress.step,
                turn_end=progress.turn_end,
                epochs=tuple(progress.epochs),
                steps_per_epoch=self.feed.steps_per_epoch,
                learning_rate=self._built_rate,
                optimizer=optimizer_name(self.engine.model),
                arrays=arrays,
                names=snapshot.names(self._roles()),
                randomness=RandomState.current(),
            )
        snapshot.pack(state, file)
        return Snapshot(trial_id=self.trial.id, round=progress.round, step=progress.step, state=file)

    def restore(self, content: bytes | Path) -> None:
        """Brings a new seat to where the snapshot was taken.

        Raises:
            ValueError: the snapshot is of another model.
        """
        state = snapshot.unpack(content)
        with self.active():
            self._create_variables(state.arrays)
            snapshot.write(self._roles(), state.arrays)
            epochs = state.step // self.feed.steps_per_epoch
            self.feed.resume(state.step, validations=epochs // self.trial.train.validate_every)
            state.randomness.apply()
        self.progress = Progress(state.round, state.step, state.turn_end, epochs=list(state.epochs))
        if "best" in state.arrays:
            weights = zip(state.arrays["best"], self.engine.model.weights, strict=True)
            self.progress.best = [snapshot.of_type(value, weight) for value, weight in weights]

    def adopt(self, source: Snapshot) -> None:
        """Brings a new seat to the state of another trial, whose parameters may have other values.

        Weights and optimizer slots are taken over where shapes agree, the rest stays as it is built. The learning rate
        is taken over unless this trial's own one is built with another value.

        Raises:
            ValueError: the other trial has another number of steps per epoch.
        """
        state, length = snapshot.unpack(source.state), self.feed.steps_per_epoch
        if state.steps_per_epoch != length:
            raise ValueError(
                f"it goes on from the state of a trial with {state.steps_per_epoch} steps per epoch and has {length} "
                "itself; parameters that change the number of training rows cannot change when a trial is cloned"
            )
        with self.active():
            built = snapshot.read(self._roles())
            self._create_variables(state.arrays)  # by a step, in an eager model
            snapshot.write_first(self._roles(), built)
            snapshot.write_fitting(self._roles(), state, optimizer_name(self.engine.model))
            if self._built_rate is not None and self._built_rate != state.learning_rate:
                self.engine.model.optimizer.learning_rate = self._built_rate
            self.feed.resume(state.step, validations=state.step // length // self.trial.train.validate_every)
            state.randomness.apply()
            self.examine(self.engine.model)
        self.progress = Progress(source.round, state.step)

    def _with_callbacks(self, built: Built, recorder: TrialRecorder, warn: Warn) -> Built:
        with recorder.active():
            made = self._experiment.callbacks(self.trial)
        steps = self.feed.steps_per_epoch
        self.callbacks = TrialCallbacks(made, self.trial, built.model, steps, recorder, warn)
        self.callbacks.begin()
        return replace(built, has_callbacks=True, why_stepwise=self.callbacks.why_stepwise)

    def skip_rest_of_epoch(self) -> None:
        """Goes to the next epoch, because a callback has ended the present one."""
        length, progress = self.feed.steps_per_epoch, self.progress
        epochs = progress.step // length + 1
        progress.step, progress.is_cut = epochs * length, False
        self.feed.resume(progress.step, validations=epochs // self.trial.train.validate_every)

    def _roles(self) -> dict[str, list[variables.Variable]]:
        return variables.by_role(self.engine.model, self.engine.program.captured)

    def _create_variables(self, arrays: Mapping[str, Sequence[np.ndarray]]) -> None:
        """Creates the variables of these values that only eager steps and validation create."""
        if snapshot.fits(self._roles(), arrays):
            return
        validation = {"validation"} & self.feed.splits
        if not self.engine.model.run_eagerly:
            self.engine.prepare(validation)
            return
        self.engine.program.run(self.feed.place, 0, 1)
        if not snapshot.fits(self._roles(), arrays):
            for split in validation:
                self.engine.evaluate(split, "")
        private.set_seeds(self.trial.seed)
        self.feed = self._open_feed()
        self.engine.begin_again(self.feed)

    def _take_engine(self) -> None:
        if self.lender is not None:
            self.lender.dissolve()
        occupant = self.engine.occupant
        if occupant is self:
            return
        if isinstance(occupant, Seat):
            occupant._state = self.engine.read()
        assert self._state is not None
        self.engine.write(self._state)
        self.engine.occupant, self._state = self, None

    def _open_feed(self) -> Feed:
        if self._resident is not None:
            return ArrayFeed(self._resident, self.trial.train, self.trial.seed)
        data = self._experiment.load_data(self.trial)
        return StreamFeed(data, self.trial.train, self.trial.seed, self._experiment.shared_parts)

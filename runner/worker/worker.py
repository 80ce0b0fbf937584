"""The worker: holds its trials' seats and answers the fleet. It returns errors of an experiment's code as values."""

from __future__ import annotations

import gc
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from runner.records import Aside, Checked, Export, Failure, Replay, Report, Snapshot, Trial, Work
from runner.worker import memory, training
from runner.worker.boundary import Boundary
from runner.worker.building import new_model
from runner.worker.callbacks import checked_callbacks
from runner.worker.carry_over import CarryOver
from runner.worker.data.array_feed import Resident
from runner.worker.data.arrays import ArrayData, are_all_streams, array_data
from runner.worker.determinism import set_determinism
from runner.worker.experiment import Experiment
from runner.worker.global_state import Globals
from runner.worker.limits import initialise
from runner.worker.model_files import end_training, export
from runner.worker.printed import Output, Streams
from runner.worker.seat import Seat
from runner.worker.seats import Seats
from runner.worker.stacking.together import Together
from runner.worker.trial_files import TrialRecorder

Loaded = ArrayData | None | Failure
"""A data set as the fleet passes it on: arrays; None for pipelines, which each seat makes itself; or why it failed."""


class Worker:
    """Trials' models in one process. `startup.configure` must have set TensorFlow's limits before.

    Args:
        memory_mib: host memory that the process may take beyond that of a bare worker, MiB; None for no limit.
        waiting_mib: GPU memory that the states of waiting trials may take, MiB; None for no limit.
        output: captures what the experiments print; None captures Python's streams.
        earlier: what it takes over from a worker of this process that has served another sweep.
    """

    def __init__(
        self,
        memory_mib: int | None = None,
        *,
        waiting_mib: int | None = None,
        output: Output | None = None,
        earlier: CarryOver | None = None,
    ) -> None:
        self._earlier = earlier or CarryOver()
        self._guarded = Boundary(output or Output(Streams()), memory_mib, self._root_of)
        self._experiments, self._engines = dict(self._earlier.experiments), self._earlier.engines
        self._imports = set(self._experiments)  # also those that failed
        self._residents: dict[str, Resident] = {}
        self._stacks = self._earlier.stacks
        self._seats = Seats(waiting_mib)
        self._stopping = False

    def load(self, trial: Trial) -> Loaded:
        """Loads the trial's data for all trials with the same `data_key`."""
        return self._guarded("data", trial, lambda: self._load(trial))

    def build(self, trial: Trial) -> Failure | None:
        """Calls the trial's `build_model`, without data and steps; returns why that fails, or None."""
        return self._guarded("build", trial, lambda: self._build(trial))

    def check(self, trial: Trial, loaded: Loaded, until_s: float = math.inf) -> Checked | Failure:
        """Builds the trial's model and tries one step. Only its traces stay.

        Args:
            trial: the trial.
            loaded: its data.
            until_s: when a validation of unknown length must have ended, in seconds since the epoch.
        """
        if isinstance(loaded, Failure):
            return _of_trial(trial, loaded)
        return self._guarded("build", trial, lambda: self._check(trial, loaded, until_s))

    def probe(self, trial: Trial, loaded: Loaded, until_s: float = math.inf) -> Checked | Failure:
        """As `check`, after everything of other trials has been removed from memory."""
        self._residents.clear()
        self._earlier.keep(())
        gc.collect()
        return self.check(trial, loaded, until_s)

    def advance(self, work: Sequence[Work], loaded: Sequence[Loaded]) -> dict[str, Report | Failure]:
        """Runs one turn of each trial, one after another. Trials that are not in `work` lose their seats.

        An idle trial has no answer, nor has a turn that `stop` interrupts, nor one that would follow a turn that ran
        out of memory, because the process may be unusable.
        """
        # A trial that begins by itself has no seat yet: one that has its id was another's.
        self._seats.keep({item.trial.id for item in work if item.round > 0 or item.clone is not None})
        kept = {item.trial.data_key for item in work}
        self._residents = {key: resident for key, resident in self._residents.items() if key in kept}
        self._earlier.keep(kept)
        answers: dict[str, Report | Failure] = {}
        for turns in _together([(item, data) for item, data in zip(work, loaded, strict=True) if not item.idle]):
            found = self._turns(turns)
            answers |= found
            if any(isinstance(answer, Failure) and answer.lost_worker for answer in found.values()):
                break
        return answers

    def leave(self) -> CarryOver:
        """Ends everything that belongs to the sweep; returns what a worker for another sweep takes over."""
        self._seats.keep(())
        return CarryOver.of(self._experiments, self._engines, self._stacks, self._residents)

    @property
    def has_failed_imports(self) -> bool:
        """Whether the import of an experiment failed, which may have changed the process."""
        return self._imports != self._experiments.keys()

    def stop(self) -> None:
        """Interrupts the turn that runs, after its present call, and all later ones. Signal handlers may call this."""
        self._stopping = True

    def snapshot(self, trials: Sequence[Trial], folder: Path | None = None) -> dict[str, Snapshot | Failure]:
        """Snapshots of those trials that have a seat here, as files of the folder or by value."""
        return {trial.id: self._snapshot(trial, folder) for trial in trials if trial.id in self._seats}

    def restore(self, replay: Replay, loaded: Sequence[Loaded]) -> Report | Failure | None:
        """Gives the trial a new seat, restores its snapshot and repeats the turns since then.

        Args:
            replay: what is repeated.
            loaded: the data of each of its segments.

        Returns:
            The last turn's report; None if there was no turn to repeat or `stop` interrupted it.
        """
        trial, state = replay.trial, replay.snapshot
        for segment, data in zip(replay.ancestors, loaded, strict=False):
            ancestor = replace(segment.trial, id=trial.id)  # the other trial may have a seat here
            report = self._repeat(ancestor, segment.orders, state, data)
            found = self._snapshot(trial, None) if isinstance(report, Report) else report
            if not isinstance(found, Snapshot):
                self._seats.leave(trial.id)  # which has the state of another trial
                return (
                    replace(found, kind="train") if isinstance(found, Failure) and found.kind == "snapshot" else found
                )
            state = replace(found, round=replay.first, inherited=True)
        return self._repeat(trial, replay.orders, state, loaded[-1])

    def _repeat(
        self, trial: Trial, orders: Sequence[Work], state: Snapshot | None, loaded: Loaded
    ) -> Report | Failure | None:
        """Gives the trial a new seat in this state, or at its beginning, and repeats these turns."""
        self._seats.leave(trial.id)
        seat = self._seat(trial, loaded, orders[0].files if orders else None)
        if isinstance(seat, Failure):
            return seat
        refused = None
        if state is not None and state.inherited:
            refused = self._guarded("build", trial, lambda: seat.adopt(state))
        elif state is not None:
            refused = self._guarded("snapshot", trial, lambda: seat.restore(state.state))
        if refused is not None:
            self._seats.leave(trial.id)
            return refused
        report = None
        for work in orders:
            report = self._turns([(replace(work, trial=trial), loaded)]).get(trial.id)
            if not isinstance(report, Report):
                break
        return report

    def export(self, trial: Trial, best: bool, folder: Path | None = None) -> Export | Failure:
        """The model of a trial that has a seat, as files of the folder or by value; `best` asks for best weights."""
        if folder is not None:
            seat = self._seats[trial.id]
            ended = self._guarded("train", trial, lambda: end_training(self._seats.alone(trial.id)))
            if isinstance(ended, Failure):
                found: Export | Failure = ended
            else:
                found = self._guarded("export", trial, partial(export, seat, ended, best, folder))
            if isinstance(found, Failure) and seat.recorder is not None:  # what callbacks have written is not lost
                found = replace(found, files=seat.recorder.files())
            return found
        with tempfile.TemporaryDirectory() as temporary:
            found = self.export(trial, best, Path(temporary))
            if isinstance(found, Failure):
                return found
            return replace(found, model=_content(found.model), weights=_content(found.weights))

    def _snapshot(self, trial: Trial, folder: Path | None) -> Snapshot | Failure:
        if folder is not None:
            return self._guarded("snapshot", trial, lambda: self._seats.alone(trial.id).snapshot(folder))
        with tempfile.TemporaryDirectory() as temporary:
            found = self._snapshot(trial, Path(temporary))
            return found if isinstance(found, Failure) else replace(found, state=_content(found.state))

    def _turns(self, turns: Sequence[tuple[Work, Loaded]]) -> dict[str, Report | Failure]:
        """One turn of a trial, or of several that may be one program."""
        if turns[0][0].models > 1:
            return self._stacked_turns(turns)
        answer = self._turn(*turns[0])
        return {} if answer is None else {turns[0][0].trial.id: answer}

    def _stacked_turns(self, turns: Sequence[tuple[Work, Loaded]]) -> dict[str, Report | Failure]:
        answers: dict[str, Report | Failure | None] = {}
        orders: dict[Seat, Work] = {}
        data = {work.trial.id: loaded for work, loaded in turns}
        for work, loaded in turns:
            if self._stopping and work.trial.id not in self._seats:
                continue
            seat = self._seat(work.trial, loaded, work.files)
            if isinstance(seat, Failure):
                answers[work.trial.id] = seat
            else:
                orders[seat] = work
        together = Together(self._stacks, self._guarded, lambda: self._stopping)
        answers |= together.turns(orders)
        answers |= {seat.trial.id: self._turn(orders[seat], data[seat.trial.id]) for seat in together.alone}
        for seat in orders:
            answer = answers.get(seat.trial.id)
            if isinstance(answer, Failure):
                self._seats.leave(seat.trial.id)
        return {trial_id: answer for trial_id, answer in answers.items() if answer is not None}

    def _turn(self, work: Work, loaded: Loaded) -> Report | Failure | None:
        trial = work.trial
        if self._stopping and trial.id not in self._seats:
            return None
        seat = self._seat(trial, loaded, work.files)
        if isinstance(seat, Failure):
            return seat
        report = self._guarded("train", trial, lambda: self._advance(work))
        if isinstance(report, Failure):
            files = None if seat.recorder is None else seat.recorder.files()
            self._seats.leave(trial.id)
            return replace(report, epochs=tuple(seat.progress.epochs), facts=seat.facts, files=files)
        return report

    def _advance(self, work: Work) -> Report | None:
        return training.advance(self._seats.alone(work.trial.id), work, lambda: self._stopping)

    def _seat(self, trial: Trial, loaded: Loaded, files: Path | None) -> Seat | Failure:
        """The trial's seat; a new one if it has none."""
        if isinstance(loaded, Failure):
            return _of_trial(trial, loaded)
        if trial.id not in self._seats:
            seat = self._guarded("build", trial, lambda: self._new_seat(trial, loaded, files))
            if isinstance(seat, Failure):
                return seat
            self._seats.add(seat)
        return self._seats[trial.id]

    def _root_of(self, trial: Trial) -> Path:
        experiment = self._experiments.get(trial.source.identity)
        return experiment.root if experiment else Path(trial.source.root)

    def _check(self, trial: Trial, loaded: ArrayData | None, until_s: float) -> Checked:
        memory.reset_peak()  # the first to touch a GPU, which may be full
        seat = self._new_seat(trial, loaded)
        try:
            checked = training.check(seat, until_s)
            stacked = self._stacks.try_copies(seat) if trial.train.stack > 1 else None
            return replace(checked, stacked=stacked, memory_mib=memory.peak_mib())
        finally:
            seat.leave()

    def _build(self, trial: Trial) -> None:
        set_determinism(trial.train.deterministic)
        experiment = self._experiment(trial)
        with Globals(trial.seed, experiment.settings).active():
            new_model(experiment, trial, splits=())
            if trial.has_callbacks:
                self._try_callbacks(experiment, trial)

    def _try_callbacks(self, experiment: Experiment, trial: Trial) -> None:
        recorder = TrialRecorder(None)
        try:
            with recorder.active():
                checked_callbacks(experiment.callbacks(trial))
        finally:
            recorder.close()

    def _new_seat(self, trial: Trial, loaded: ArrayData | None, files: Path | None = None) -> Seat:
        self._seats.make_room(trial.id)
        set_determinism(trial.train.deterministic)
        resident = self._resident(trial.data_key, loaded)
        return Seat(trial, self._experiment(trial), resident, self._engines, files, self._guarded.warn)

    def _resident(self, key: str, loaded: ArrayData | None) -> Resident | None:
        if loaded is None:
            return None
        if key not in self._residents:
            self._residents[key] = self._earlier.resident(key, loaded)
        return self._residents[key]

    def _experiment(self, trial: Trial) -> Experiment:
        identity = trial.source.identity
        if identity not in self._experiments:
            initialise()
            self._imports.add(identity)
            self._experiments[identity] = Experiment(trial.source)
        return self._experiments[identity]

    def _load(self, trial: Trial) -> ArrayData | None:
        set_determinism(trial.train.deterministic)
        experiment = self._experiment(trial)
        with Globals(0, experiment.settings).active():  # trials of any seed share the data
            data = experiment.load_data(trial)
            return None if are_all_streams(data) else array_data(data)


def _together(turns: Sequence[tuple[Work, Loaded]]) -> list[list[tuple[Work, Loaded]]]:
    """The turns in groups: one turn, or all of trials that may be one program."""
    stacked = [turn for turn in turns if turn[0].models > 1]
    alone = [[turn] for turn in turns if turn[0].models == 1]
    return [*alone, stacked] if stacked else alone


def _of_trial(trial: Trial, loading: Failure) -> Failure:
    """Why a trial's data could not be loaded; only the trial that loaded it has the output."""
    return loading if loading.trial_id == trial.id else replace(loading, trial_id=trial.id, aside=Aside())


def _content(found: bytes | Path) -> bytes:
    return found.read_bytes() if isinstance(found, Path) else found

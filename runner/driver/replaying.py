"""Trains one trial of a sweep again, alone, and compares it with what the journal has."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from runner.config import load_config
from runner.driver.context import Context
from runner.driver.fleets import open_fleet
from runner.driver.lineage import path_to
from runner.driver.mps import with_daemon
from runner.driver.resume import prepare_like
from runner.errors import ExperimentError, SweepNotFoundError
from runner.journal import JournalReader, TrialRecord
from runner.loop.history import read_history
from runner.loop.interfaces import Fleet
from runner.records import Epoch, Export, Failure, Replay, Report, Segment, Snapshot, Trial


@dataclass(frozen=True, kw_only=True, slots=True)
class Replayed:
    """How a trial that was trained again compares with its record.

    Args:
        record: of the trial.
        epochs: completed epochs that were compared.
        differences: sentences about what differs, the first of each segment; empty if nothing does.
        weights: whether the model's weights are the same; None if the trial has no model on the disk.
    """

    record: TrialRecord
    epochs: int
    differences: tuple[str, ...]
    weights: bool | None

    @property
    def is_same(self) -> bool:
        """Whether everything that can be compared is the same, bit for bit."""
        return not self.differences and self.weights is not False

    def lines(self) -> Iterator[str]:
        """The result for a person."""
        came = f" ({self.record.lineage})" if self.record.lineage else ""
        yield f"trial {self.record.id}: {self.epochs} epochs were trained again{came}"
        yield from self.differences
        if not self.differences:
            yield "every metric is as recorded, bit for bit"
        if self.weights is None:
            yield "there is no model of it to compare with"
        else:
            yield f"the weights of its model are {'the same, bit for bit' if self.weights else 'others'}"
        if not self.is_same and self.record.facts is not None and self.record.facts.inexact:
            yield f"a repetition may differ: {self.record.facts.inexact}"


@dataclass(frozen=True, slots=True)
class _Part:
    """Turns under equal values, with what the journal has of them."""

    segment: Segment
    recorded: tuple[Report, ...]


def replay(folder: Path, trial_id: str, context: Context) -> Replayed:
    """Trains everything that led to a trial's last state: its turns, and those of trials from which it went on.

    Nothing in the sweep's folder or in MLflow changes.

    Args:
        folder: the sweep's.
        trial_id: the trial.
        context: the watcher and the request to stop.

    Raises:
        SweepNotFoundError: the trial has not trained.
        ExperimentError: it fails now.
        PlacementError: this machine cannot give the slot that the sweep was trained in.
    """
    config = load_config(None, [], config_dir=folder)
    with JournalReader(folder) as reader:
        records, reports, decisions = reader.trials(), reader.reports(trial_id), reader.decisions(trial_id)
        record = next(one for one in records if one.id == trial_id)
        parts = list(_parts(reader, record))
    if not parts:
        raise SweepNotFoundError(f"trial {trial_id} has not trained")
    verdict = read_history(record.trial, reports, decisions).verdict
    restores = verdict is not None and verdict.restore_best
    warn = context.watcher.warn
    with ExitStack() as ending, tempfile.TemporaryDirectory(prefix="lsr-replay-") as own:
        prepared = with_daemon(lambda mps: prepare_like(config, records, (record.trial,), mps=mps), ending, warn)
        fleet = ending.enter_context(open_fleet(prepared, prepared.slots[:1], warn=warn))
        ending.enter_context(context.stop.deferred(fleet.stop))
        training = _Training(fleet, prepared.slots[0].index, trial_id)
        differences = [text for part in parts for text in training.repeat(part, context)]
        if context.stop.requested:
            raise KeyboardInterrupt
        weights = None
        if record.weights is not None:
            weights = _equal(training.weights(restores, Path(own)), folder / record.weights)
    return Replayed(record=record, epochs=training.epochs, differences=tuple(differences), weights=weights)


def _parts(reader: JournalReader, record: TrialRecord) -> Iterator[_Part]:
    reports = reader.reports(record.id)
    if not reports:
        return
    for segment in path_to(reader, record.id, len(reports), reports[-1].step):
        first, last = segment.orders[0].round, segment.orders[-1].round
        found = reader.reports(segment.trial.id)[first : last + 1]
        yield _Part(segment, found)


class _Training:
    """Repeats parts one after another, in one slot.

    Args:
        fleet: open.
        slot: of it.
        trial_id: under which all parts are trained.
    """

    def __init__(self, fleet: Fleet, slot: int, trial_id: str) -> None:
        self._fleet, self._slot, self._id = fleet, slot, trial_id
        self._round = 0
        self.epochs = 0
        self._trial: Trial | None = None

    def repeat(self, part: _Part, context: Context) -> list[str]:
        """Trains the turns of a part; returns how it differs from its record, in a sentence, or nothing."""
        segment = part.segment
        trial = replace(segment.trial, id=self._id)
        if self._trial is not None:
            self._go_on(trial)
        self._trial = trial
        differences: list[str] = []
        for order, recorded in zip(segment.orders, part.recorded, strict=True):
            if context.stop.requested:
                return differences
            work = replace(order, trial=trial, round=self._round, clone=None)
            found = self._fleet.advance({self._slot: (work,)}).get(self._id)
            self._round += 1
            if isinstance(found, Failure):
                raise ExperimentError(f"trial {self._id}: {found.kind}: {found.message}", found.traceback)
            if found is not None:
                self.epochs += len(found.epochs)
                differences += _differences(found, recorded)
        return differences[:1]

    def weights(self, best: bool, folder: Path) -> Mapping[str, np.ndarray]:
        """The arrays of the model, with its best weights or its last."""
        assert self._trial is not None
        found = self._fleet.export({self._slot: ((self._trial, best),)}, folder)[self._id]
        if not isinstance(found, Export):
            raise ExperimentError(f"trial {self._id}: {found.kind}: {found.message}", found.traceback)
        assert isinstance(found.weights, Path)
        with np.load(found.weights, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    def _go_on(self, trial: Trial) -> None:
        """Gives the trial the state of the part before."""
        assert self._trial is not None
        state = self._fleet.snapshot({self._slot: (self._trial,)})[self._id]
        if isinstance(state, Snapshot):
            state = replace(state, round=self._round, inherited=True)
            answer = self._fleet.restore({self._slot: (Replay(trial=trial, snapshot=state, orders=()),)})
            state = answer.get(self._id)  # type: ignore[assignment]
        if isinstance(state, Failure):
            raise ExperimentError(f"trial {self._id}: {state.kind}: {state.message}", state.traceback)


def _differences(found: Report, recorded: Report) -> Iterator[str]:
    """How a turn differs; a turn that ends earlier than its record is compared as far as it goes."""
    if found.step == recorded.step and not _same(found.running, recorded.running):
        yield f"step {found.step}: metrics of the epoch so far differ"
    of_record = {epoch.number: epoch for epoch in recorded.epochs}
    for epoch in found.epochs:
        yield from _of_epoch(epoch, of_record.get(epoch.number))


def _of_epoch(found: Epoch, recorded: Epoch | None) -> Iterator[str]:
    if recorded is None:
        yield f"epoch {found.number}: is not recorded"
        return
    if found.metrics.keys() != recorded.metrics.keys():
        yield f"epoch {found.number}: has {', '.join(found.metrics)} and had {', '.join(recorded.metrics)}"
        return
    for name, value in found.metrics.items():
        if not _same({name: value}, {name: recorded.metrics[name]}):
            yield f"epoch {found.number}: {name} is {value!r} and was {recorded.metrics[name]!r}"
            return


def _same(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    """Whether all values are equal; NaN is equal to NaN."""
    return one.keys() == other.keys() and all(
        value == other[name] or (math.isnan(value) and math.isnan(other[name])) for name, value in one.items()
    )


def _equal(found: Mapping[str, np.ndarray], file: Path) -> bool:
    with np.load(file, allow_pickle=False) as arrays:
        names: Sequence[str] = arrays.files
        return list(found) == list(names) and all(
            found[name].dtype == arrays[name].dtype and found[name].tobytes() == arrays[name].tobytes()
            for name in names
        )

"""A fleet without processes, whose trials report what a function gives for each epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

from runner.records import (
    Allocation,
    Checked,
    Epoch,
    Export,
    Facts,
    Failure,
    Metrics,
    Replay,
    Report,
    Snapshot,
    Trial,
    Turn,
    Work,
)

Curve = Callable[[Trial, int], Metrics | Failure]
"""The metrics of a trial after an epoch (from 1), or why it fails there."""


def falling_loss(trial: Trial, epoch: int) -> Metrics:
    """A loss of 1/epoch."""
    return {"loss": 1.0 / epoch}


@dataclass
class FakeFleet:
    """A fleet without processes; every epoch has `steps_per_epoch` steps.

    Args:
        slots: numbers of the slots there are.
        curve: what each trial reports; a failure that loses the worker takes all seats of the slot with it.

    Attributes:
        seats: slot of each seated trial.
        steps: steps done by each seated trial.
        rounds: what each call of `advance` gave turns to.
        received: all orders of `advance`.
        restored: all trials that were restored.
        replaced: slots that got a new worker.
        resized: the new shares of slots whose share changed.
    """

    slots: Sequence[int]
    curve: Curve = falling_loss
    steps_per_epoch: int = 4
    seats: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    rounds: list[dict[int, tuple[str, ...]]] = field(default_factory=list)
    received: list[Work] = field(default_factory=list)
    restored: list[Replay] = field(default_factory=list)
    replaced: list[int] = field(default_factory=list)
    resized: dict[int, Allocation] = field(default_factory=dict)
    _turns: dict[str, int] = field(default_factory=dict)
    _lost: set[int] = field(default_factory=set)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.seats.clear()

    def check(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.check`."""
        return {
            trial.id: Checked(trial_id=trial.id, facts=self._facts(), metrics=("loss",), step_s=1e-3, trace_s=1.0)
            for trial in trials
        }

    @property
    def is_loading(self) -> bool:
        """As `Fleet.is_loading`."""
        return False

    def probe(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        """As `Fleet.probe`."""
        return self.check(trials)

    def retire(self, slot: int) -> None:
        """As `Fleet.retire`."""
        assert slot in self.slots
        self.slots = [other for other in self.slots if other != slot]

    def advance(self, work: Mapping[int, tuple[Work, ...]]) -> Mapping[str, Report | Failure]:
        """As `Fleet.advance`.

        Raises:
            AssertionError: a slot that does not exist or has lost its worker, a trial in two slots, or a round out of
                order.
        """
        assert set(work) <= set(self.slots) - self._lost, f"slots {sorted(work)} of {list(self.slots)}"
        items = [item for items in work.values() for item in items]
        ids = [item.trial.id for item in items]
        assert len(ids) == len(set(ids)), f"a trial has two turns in one round: {ids}"
        self.rounds.append({slot: tuple(item.trial.id for item in items) for slot, items in work.items()})
        self.received += items
        answers: dict[str, Report | Failure] = {}
        for slot, chosen in work.items():
            kept = {item.trial.id for item in chosen if item.round > 0 or item.clone is not None}
            for trial_id in [i for i, s in self.seats.items() if s == slot and i not in kept]:
                del self.seats[trial_id]
            for item in chosen:
                assert not item.idle or self.seats.get(item.trial.id) == slot, f"{item.trial.id} waits without a seat"
                if item.trial.id not in self.seats:
                    self._sit(slot, item.trial, None)
            found = {item.trial.id: self._turn(item) for item in chosen if not item.idle}
            lost = next((f for f in found.values() if isinstance(f, Failure) and f.lost_worker), None)
            answers |= self._lose(slot, found, lost) if lost else found
        return answers

    def export(
        self, work: Mapping[int, tuple[tuple[Trial, bool], ...]], folder: Path | None = None
    ) -> Mapping[str, Export | Failure]:
        """As `Fleet.export`, by value; a model's bytes say whether the best was asked for."""
        exports = {}
        for slot, trials in work.items():
            for trial, best in trials:
                assert self.seats.get(trial.id) == slot, f"trial {trial.id} is exported but not seated in slot {slot}"
                exports[trial.id] = Export(trial_id=trial.id, model=b"best" if best else b"last", weights=b"w")
        return exports

    def snapshot(
        self, work: Mapping[int, tuple[Trial, ...]], folder: Path | None = None
    ) -> Mapping[str, Snapshot | Failure]:
        """As `Fleet.snapshot`, by value; a state is the trial's number of steps as text."""
        seated = [trial.id for slot, trials in work.items() for trial in trials if self.seats.get(trial.id) == slot]
        return {
            i: Snapshot(trial_id=i, round=self._turns[i], step=self.steps[i], state=b"%d" % self.steps[i])
            for i in seated
        }

    def restore(self, work: Mapping[int, tuple[Replay, ...]]) -> Mapping[str, Report | Failure | None]:
        """As `Fleet.restore`.

        Raises:
            AssertionError: a slot that has lost its worker, or orders that do not follow the snapshot.
        """
        assert set(work) <= set(self.slots) - self._lost, f"slots {sorted(work)} of {list(self.slots)}"
        answers: dict[str, Report | Failure | None] = {}
        for slot, replays in work.items():
            found: dict[str, Report | Failure | None] = {}
            for replay in replays:
                self.restored.append(replay)
                self._sit(slot, replay.trial, replay.snapshot)
                for segment in replay.ancestors:
                    self._turns[replay.trial.id] = segment.orders[0].round
                    for order in segment.orders:
                        self._turn(replace(order, trial=replace(segment.trial, id=replay.trial.id)))
                    self._turns[replay.trial.id] = replay.first
                turns = [self._turn(order) for order in replay.orders]
                answer = found[replay.trial.id] = turns[-1] if turns else None
                if isinstance(answer, Failure) and answer.lost_worker:
                    found |= self._lose(slot, [r.trial.id for r in replays if r.trial.id not in found], answer)
                    break
            answers |= found
        return answers

    def replace(self, shares: Mapping[int, Allocation | None]) -> None:
        """As `Fleet.replace`."""
        assert shares.keys() <= set(self.slots)
        self._lost -= shares.keys()
        self.replaced += shares
        self.resized |= {slot: allocation for slot, allocation in shares.items() if allocation is not None}

    def stop(self) -> None:
        """As `Fleet.stop`; a turn takes no time here."""

    def _sit(self, slot: int, trial: Trial, snapshot: Snapshot | None) -> None:
        self.seats[trial.id] = slot
        self._turns[trial.id] = 0 if snapshot is None else snapshot.round
        self.steps[trial.id] = 0 if snapshot is None else int(snapshot.state)  # type: ignore[arg-type]

    def _lose(self, slot: int, unanswered: Iterable[str], failure: Failure) -> dict[str, Report | Failure]:
        """The slot's worker is gone: its seats, and the answers that were still to come."""
        self._lost.add(slot)
        for trial_id in [i for i, s in self.seats.items() if s == slot]:
            del self.seats[trial_id]
        return {trial_id: replace(failure, trial_id=trial_id) for trial_id in unanswered}

    def _turn(self, work: Work) -> Report | Failure:
        trial, step, done = work.trial, self.steps[work.trial.id], self._turns[work.trial.id]
        assert work.round == done, f"trial {trial.id} has round {work.round} after {done} turns"
        before = step // self.steps_per_epoch
        last = math.inf if work.last_epoch is None else work.last_epoch * self.steps_per_epoch
        step = work.until or int(min(step + trial.train.steps_in_turn(self.steps_per_epoch, step), last))
        self.steps[trial.id], self._turns[trial.id] = step, done + 1
        epochs, loss, ended_s = [], 0.0, work.round + 0.5
        for number in range(before + 1, -(-step // self.steps_per_epoch) + 1):
            metrics = self.curve(trial, number)
            if isinstance(metrics, Failure):
                return metrics
            loss = metrics["loss"]
            if number * self.steps_per_epoch <= step:
                epochs.append(Epoch(number=number, metrics=metrics, ended_s=ended_s))
        return Report(
            trial_id=trial.id,
            round=work.round,
            step=step,
            epoch=step // self.steps_per_epoch,
            running={"loss": loss},
            epochs=tuple(epochs),
            turn=Turn(pid=1, started_s=float(work.round), ended_s=ended_s, compute_s=0.5),
            facts=self._facts() if work.round == 0 else None,
        )

    def _facts(self) -> Facts:
        return Facts(
            steps_per_epoch=self.steps_per_epoch,
            rows=None,
            validation_rows=None,
            parameters=1,
            program="round",
            program_reason="",
            inexact="",
            summary="",
            loadable=True,
        )

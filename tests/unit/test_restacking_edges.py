"""Stacks where a stop, failing code, a clone or an export meets a lost worker or missing memory, over fakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from test_restacking import StackFleet

from runner.loop.history import read_history
from runner.loop.recovery import Recovery
from runner.loop.schedule import cloned_turn
from runner.loop.snapshotting import Snapshotting
from runner.loop.stack_sizes import StackSizes
from runner.records import FAILURE, Clone, Failure, Metrics, Report, Snapshot, Trial, Verdict, Work, stack_decision
from runner.testing import FakeFleet, MemoryJournal, MemorySnapshots, falling_loss


@pytest.fixture
def pair(make_trial: Any) -> list[Trial]:
    """Two trials that train as a stack."""
    return [make_trial(id=f"{n:03}", epochs=9, stack=2) for n in range(2)]


def _past(trial: Trial, turns: int) -> list[Work]:
    return [Work(trial=trial, round=number, until=4 * (number + 1)) for number in range(turns)]


def _recovery(fleet: FakeFleet, trials: list[Trial], **options: Any) -> Recovery:
    journal = MemoryJournal(assigned=[trial.id for trial in trials])
    return Recovery(fleet, journal, **options)


def test_a_trial_that_fails_where_it_is_brought_back_has_no_turn_from_there(pair: list[Trial]) -> None:
    def failing(trial: Trial, epoch: int) -> Metrics | Failure:
        if trial.index == 1 and epoch == 2:
            return Failure(trial_id=trial.id, kind="train", message="its file is gone")
        return falling_loss(trial, epoch)

    fleet = FakeFleet(range(1), failing)
    recovery = _recovery(fleet, pair)
    for trial in pair:
        recovery.take_over(trial.id, _past(trial, 2))
    found = recovery.advance({0: tuple(Work(trial=trial, round=2) for trial in pair)})
    assert isinstance(found["001"], Failure)
    assert isinstance(found["000"], Report)
    assert fleet.rounds[-1] == {0: ("000",)}


def test_a_stop_while_trials_are_brought_back_lets_none_have_its_turn_from_an_earlier_state(pair: list[Trial]) -> None:
    fleet = FakeFleet(range(1))
    recovery = _recovery(fleet, pair, stopping=lambda: len(fleet.rounds) >= 1)
    for trial in pair:
        recovery.take_over(trial.id, _past(trial, 3))
    assert recovery.advance({0: tuple(Work(trial=trial, round=3, learning_rate=0.1) for trial in pair)}) == {}
    assert {order.round for order in fleet.received} == {0}
    assert fleet.seats == {"000": 0, "001": 0}, "for their snapshots"


def test_a_trial_whose_seat_stays_behind_at_a_stop_has_no_report(pair: list[Trial]) -> None:
    class Partial(StackFleet):
        """In the third round one trial loses the worker after the other one has reported."""

        def advance(self, work: Any) -> Any:
            answers = dict(super().advance(work))
            if len(self.rounds) == 3:
                lost = Failure(trial_id="001", kind="worker", message="died", noticed_s=1.0)
                answers |= self._lose(0, ["001"], lost)
            return answers

    fleet = Partial(steps_per_epoch=4)
    recovery = _recovery(fleet, pair, stopping=lambda: len(fleet.rounds) >= 4)
    for number in range(2):
        recovery.advance({0: tuple(Work(trial=trial, round=number) for trial in pair)})
    assert recovery.advance({0: tuple(Work(trial=trial, round=2) for trial in pair)}) == {}
    assert fleet.steps["000"] == 4, "not where the turn ended, of which there is no model to be exported"


def test_a_clone_that_has_had_no_turn_begins_in_its_stack_with_its_parents_state(pair: list[Trial]) -> None:
    parent, child = pair
    fleet, snapshots = FakeFleet(range(1)), MemorySnapshots()
    recovery = _recovery(fleet, pair, snapshotting=Snapshotting(fleet, snapshots))
    recovery.advance({0: (Work(trial=parent, round=0),)})
    clone = Clone(parent=parent.id, round=1, step=4, epoch=1, values={})
    turn = cloned_turn(Work(trial=child, round=0), clone)
    recovery.adopt({child.id: (turn, clone)}, {0: (parent,)})
    found = recovery.advance({0: (Work(trial=parent, round=1), turn)})
    assert {i: report.step for i, report in found.items() if isinstance(report, Report)} == {"000": 8, "001": 8}


def test_a_trial_that_has_begun_keeps_its_size_where_another_slot_runs_out_of_memory(pair: list[Trial]) -> None:
    first, second = pair
    sizes = StackSizes()
    sizes.note({first.id: _report(first)})
    sizes.take([stack_decision(second.id, 0, 1, FAILURE)], {second.id: second})
    work = {0: (Work(trial=first, round=1),), 1: (Work(trial=second, round=0),)}
    assert sizes.unrecorded(work) == (), "its turns so far had another size than one at step 0 would say"
    assert [item.models for items in sizes.applied(work).values() for item in items] == [2, 1]


def test_memory_that_runs_out_in_an_export_changes_no_turn_that_was_reported(pair: list[Trial]) -> None:
    class Full(FakeFleet):
        def export(self, work: Any, folder: Any = None) -> Mapping[str, Any]:
            if self.replaced:
                return super().export(work, folder)
            return self._lose(0, [trial.id for trial, _ in work[0]], Failure(trial_id="", kind="oom", message="full"))

    fleet = Full(range(1))
    journal = MemoryJournal(assigned=[trial.id for trial in pair])
    recovery = Recovery(fleet, journal)
    recovery.advance({0: tuple(Work(trial=trial, round=0) for trial in pair)})
    exports = recovery.export({0: tuple((trial, False) for trial in pair)})
    assert set(exports) == {"000", "001"}
    assert journal.decisions == []
    assert {order.models for order in fleet.received} == {2}


def test_trials_that_wait_at_a_rung_are_not_counted_with_those_that_have_passed_it(make_trial: Any) -> None:
    made = [replace(make_trial(id=f"{n:03}", epochs=9, stack=4), searched=()) for n in range(4)]
    loser = Verdict(kind="stop", by="hyperband", reason="lost")
    rungs = {"001": None, "002": 3, "003": 3}  # the last two wait for others of their cohort
    found = []
    for trials in (made, made[::-1]):
        sizes = StackSizes()
        sizes.note({trial.id: _report(trial, step=30_000, epoch=3) for trial in made})
        found.append(sizes.after_rung(trials, {"000": loser}, 1, rungs.get))
    assert found[0] == found[1] == (stack_decision("001", 30_000, 1, "hyperband"),)


def _report(trial: Trial, step: int = 4, epoch: int = 1) -> Report:
    fleet = FakeFleet(range(1))
    answer = fleet.advance({0: (Work(trial=trial, round=0),)})[trial.id]
    assert isinstance(answer, Report)
    return replace(answer, step=step, epoch=epoch)


def test_trials_of_other_slots_keep_their_seats_in_a_worker_that_they_share(pair: list[Trial]) -> None:
    class OneProcess(FakeFleet):
        """All slots share one worker, as in the local fleet."""

        def advance(self, work: Any) -> Any:
            kept = {item.trial.id for items in work.values() for item in items}
            self.seats = {trial_id: slot for trial_id, slot in self.seats.items() if trial_id in kept}
            return super().advance(work)

    fleet = OneProcess(range(2))
    recovery = _recovery(fleet, pair)
    for trial, turns in zip(pair, (1, 3), strict=True):
        recovery.take_over(trial.id, _past(trial, turns))
    found = recovery.advance({0: (Work(trial=pair[0], round=1),), 1: (Work(trial=pair[1], round=3),)})
    assert {i: report.step for i, report in found.items() if isinstance(report, Report)} == {"000": 8, "001": 16}


def test_a_turn_that_was_left_out_is_repeated_once_if_its_worker_is_lost_later(pair: list[Trial]) -> None:
    class LeavesOut(FakeFleet):
        def advance(self, work: Any) -> Any:
            if len(self.rounds) != 1:
                return super().advance(work)
            self.rounds.append({})
            return {}

    died = [False]

    def dying(trial: Trial, epoch: int) -> Metrics | Failure:
        if epoch == 3 and not died[0]:
            died[0] = True
            return Failure(trial_id=trial.id, kind="worker", message="died", noticed_s=1.0)
        return falling_loss(trial, epoch)

    fleet = LeavesOut(range(1), dying)
    recovery = _recovery(fleet, pair)
    steps = []
    for number in (0, 1, 1, 2):
        found = recovery.advance({0: tuple(Work(trial=trial, round=number) for trial in pair)})
        steps.append([report.step for report in found.values() if isinstance(report, Report)])
    assert steps == [[4, 4], [], [8, 8], [12, 12]]


@pytest.mark.parametrize("killed", [False, True])
def test_a_turn_whose_stack_is_halved_is_repeated_as_a_whole(pair: list[Trial], killed: bool) -> None:
    fleet, snapshots = StackFleet(most=1, steps_per_epoch=4), MemorySnapshots()
    for trial in pair:
        snapshots.write(trial, Snapshot(trial_id=trial.id, round=1, step=4, state=b"4"))
        snapshots.write(trial, Snapshot(trial_id=trial.id, round=2, step=10, state=b"10"))  # at a stop
    recovery = _recovery(fleet, pair, snapshotting=Snapshotting(fleet, snapshots))
    for trial in pair:
        recovery.take_over(trial.id, _past(trial, 2))
    turns = [Work(trial=trial, round=2) for trial in pair]
    if killed:  # after the decision
        reports = [_report(pair[0]), _report(pair[0], step=8, epoch=2)]
        made = [stack_decision(trial.id, 8, 1, FAILURE) for trial in pair]
        pasts = [read_history(trial, reports, [one]) for trial, one in zip(pair, made, strict=True)]
        turns = [past.next_turn for past in pasts if past.next_turn is not None]
    recovery.advance({0: tuple(turns)})
    last = [replay for replay in fleet.restored if replay.orders and replay.orders[-1].models == 1]
    assert [(r.snapshot.step, [o.models for o in r.orders]) for r in last if r.snapshot] == [(4, [2, 1])] * 2

"""Stacks that shrink after a rung or without memory, and trials of a stack that come back together, over fakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from runner.config.schema import Search
from runner.loop import lockstep
from runner.loop.history import History, read_history
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.loop.snapshotting import Snapshotting
from runner.loop.stack_sizes import StackSizes
from runner.records import FAILURE, Allocation, Failure, Metrics, Report, Slot, Trial, stack_decision
from runner.search.cohorts import Scoring
from runner.search.stopping import brackets_of, make_policy
from runner.testing import FakeFleet, MemoryJournal, MemorySnapshots, NullWatcher, falling_loss

LONG = 10_000  # steps of an epoch, for which a smaller program pays


class StackFleet(FakeFleet):
    """Notes the size of each turn; stacks of more than `most` models run out of memory."""

    def __init__(self, slots: int = 1, curve: Any = falling_loss, most: int = 64, steps_per_epoch: int = LONG) -> None:
        super().__init__(range(slots), curve, steps_per_epoch)
        self.most, self.calls = most, list[dict[str, int]]()

    def advance(self, work: Any) -> Any:
        self.calls.append({i.trial.id: i.models for items in work.values() for i in items if not i.idle})
        answers = dict(super().advance(work))
        for slot, items in work.items():
            short = [item.trial.id for item in items if item.models > self.most and not item.idle]
            if short and slot not in self._lost:
                failure = Failure(trial_id="", kind="oom", message="no memory", noticed_s=1.0)
                answers |= self._lose(slot, short, failure)
        return answers


@pytest.fixture
def trials(make_trial: Any) -> Any:
    def make(count: int, stack: int = 8, epochs: int = 9) -> list[Trial]:
        made = [make_trial(id=f"{n:03}", params={"rate": n / 10}, epochs=epochs, stack=stack) for n in range(count)]
        return [replace(trial, searched=("rate",)) for trial in made]

    return make


class Run:
    """A sweep over fakes."""

    def __init__(
        self,
        trials: Sequence[Trial],
        fleet: StackFleet,
        pasts: Mapping[str, History] | None = None,
        snapshots: MemorySnapshots | None = None,
        stop_after: int | None = None,
        **search: Any,
    ) -> None:
        self.fleet, self.journal, self.warnings = fleet, MemoryJournal(), list[str]()
        self.snapshots = snapshots or MemorySnapshots()
        config, slots = Search(**search), list(fleet.slots)
        layouts = {} if config.stop is None else {"test": brackets_of(config, trials[0].train, learns=False)}
        policy = make_policy(config, layouts, trials, Scoring("loss", "minimize"))
        works = {i: past.next_turn for i, past in (pasts or {}).items() if past.next_turn is not None}
        sizes = StackSizes(works.values())

        def stopping() -> bool:
            return stop_after is not None and len(self.journal.commits) >= stop_after

        snapshotting = Snapshotting(fleet, self.snapshots, stopping=stopping)
        recovery = Recovery(
            fleet, self.journal, snapshotting, sizes=sizes, stopping=stopping, warn=self.warnings.append
        )
        for trial_id, past in (pasts or {}).items():
            recovery.take_over(trial_id, past.orders, past.next_turn)
        places = [Slot(index=index, allocation=Allocation(num_cpus=1)) for index in slots]
        schedule = Schedule(trials, places, len(trials), works, policy)
        lockstep.Loop(schedule, recovery, self.journal, NullWatcher(), policy=policy, stopping=stopping).run()

    def sizes(self, kind: str = "stack") -> list[tuple[str, int, Any, str]]:
        return [(d.trial_id, d.step, d.arguments["size"], d.by) for d in self.journal.decisions if d.kind == kind]

    def histories(self, trials: Sequence[Trial]) -> dict[str, History]:
        reports: dict[str, list[Report]] = {trial.id: [] for trial in trials}
        for found, _, _ in self.journal.commits:
            for trial_id, report in found.items():
                assert isinstance(report, Report)
                reports[trial_id].append(report)
        made = self.journal.decisions
        return {t.id: read_history(t, reports[t.id], [d for d in made if d.trial_id == t.id]) for t in trials}


def by_index(trial: Trial, epoch: int) -> Metrics:
    """Falls with epochs; lower for later trials."""
    return {"loss": (10 - trial.index) / epoch}


HALVED = {"stop": "halving", "factor": 3}


@pytest.mark.parametrize(("slots", "sizes"), [(1, [9, 3, 1]), (3, [3, 1])])
def test_stacks_shrink_with_the_rungs_and_the_journal_says_so(trials: Any, slots: int, sizes: list[int]) -> None:
    run = Run(trials(9, stack=sizes[0]), StackFleet(slots, by_index), **HALVED)
    assert list(dict.fromkeys(size for call in run.fleet.calls for size in call.values())) == sizes
    passed = [("006", LONG), ("007", LONG), ("008", LONG)] if slots == 1 else [("008", LONG)]
    assert {(trial, step) for trial, step, _, by in run.sizes() if by == "halving"} >= set(passed)
    last = run.histories(trials(9, stack=sizes[0]))["008"]
    assert [order.models for order in last.orders if order.until and order.until <= LONG] == [sizes[0]]
    assert last.orders[-1].models == 1


def test_a_stack_stays_where_a_smaller_program_would_not_pay(trials: Any) -> None:
    run = Run(trials(9, stack=9), StackFleet(1, by_index, steps_per_epoch=4), **HALVED)
    assert run.sizes() == []
    assert {size for call in run.fleet.calls for size in call.values()} == {9}


def test_sizes_are_passed_over_that_would_not_pay_until_the_next_rung(trials: Any) -> None:
    run = Run(trials(9, stack=9), StackFleet(1, by_index, steps_per_epoch=500), **HALVED)
    assert [set(call.values()) for call in run.fleet.calls] == [{9}] * 3 + [{1}] * 6


def test_trials_that_stop_by_themselves_change_no_siblings_numbers(trials: Any) -> None:
    def diverging(trial: Trial, epoch: int) -> Metrics:
        return {"loss": float("nan") if trial.index and epoch == 2 else 1 / epoch}

    run = Run(trials(8), StackFleet(1, diverging))
    assert run.sizes() == []


def test_a_stack_that_runs_out_of_memory_is_halved_until_it_fits(trials: Any) -> None:
    made = trials(8)
    run = Run(made, StackFleet(1, most=3))
    first, second, third, *rest = run.fleet.calls
    assert [set(call.values()) for call in (first, second, third)] == [{8}, {4}, {2}]
    assert all(call == third for call in rest), "all of them together, in every round"
    assert {(size, by, step) for _, step, size, by in run.sizes()} == {(4, FAILURE, 0), (2, FAILURE, 0)}
    assert run.fleet.restored == []
    assert {report.epoch for report in run.journal.commits[-1][0].values()} == {9}  # type: ignore[union-attr]
    assert "stack of 8 models ran out of memory: its trials repeat the turn in stacks of 4" in run.warnings[0]
    assert all(order.models == 2 for past in run.histories(made).values() for order in past.orders)


def test_what_has_no_room_in_any_stack_is_tried_one_by_one(trials: Any) -> None:
    run = Run(trials(4, stack=4, epochs=1), StackFleet(1, most=1))
    assert [set(call.values()) for call in run.fleet.calls] == [{4}, {2}]
    assert [order.models for replay in run.fleet.restored for order in replay.orders] == [1] * 4
    assert {size for _, _, size, _ in run.sizes()} == {2, 1}
    assert "repeat the turn one by one" in run.warnings[1]


def test_trials_that_begin_later_have_the_size_for_which_memory_sufficed(trials: Any) -> None:
    made = trials(8, stack=4)
    begun = StackSizes()
    begun.take([stack_decision("000", 0, 2, FAILURE)], {"000": made[0]})
    assert begun.of(made[7]) == 2
    assert {made[7].id} == {d.trial_id for d in begun.unrecorded({0: (_order(made[7]),)})}
    assert begun.unrecorded({0: (_order(made[0]),)}) == (), "the journal has it"


def test_trials_of_a_stack_are_brought_back_together(trials: Any) -> None:
    made, died = trials(4, stack=4, epochs=3), [False]

    def dying(trial: Trial, epoch: int) -> Metrics | Failure:
        if trial.index == 1 and epoch == 2 and not died[0]:
            died[0] = True
            return Failure(trial_id=trial.id, kind="worker", message="died", noticed_s=1.0)
        return falling_loss(trial, epoch)

    run = Run(made, StackFleet(1, dying))
    assert run.warnings == ["4 trials, 000 among them, have lost the worker (died); a new one repeats what is missing"]
    # Without snapshots: the first turn is repeated by all, then the second.
    assert [len(call) for call in run.fleet.calls] == [4, 4, 4, 4, 4]
    assert run.fleet.restored == []
    reference = Run(made, StackFleet(1))
    assert _numbers(run) == _numbers(reference)


def test_a_trial_that_fails_beside_a_lost_one_stays_failed(trials: Any) -> None:
    died = [False]

    def curve(trial: Trial, epoch: int) -> Metrics | Failure:
        if trial.index == 0 and epoch == 2:
            return Failure(trial_id=trial.id, kind="train", message="wrong")
        if trial.index == 1 and epoch == 2 and not died[0]:
            died[0] = True
            return Failure(trial_id=trial.id, kind="worker", message="died", noticed_s=1.0)
        return falling_loss(trial, epoch)

    run = Run(trials(3, stack=3, epochs=3), StackFleet(1, curve))
    ends = {d.trial_id: d.kind for d in run.journal.decisions if d.kind in ("fail", "complete")}
    assert ends == {"000": "fail", "001": "complete", "002": "complete"}


def test_a_trial_that_kills_its_stack_is_found_and_the_others_go_on(trials: Any) -> None:
    def deadly(trial: Trial, epoch: int) -> Metrics | Failure:
        if trial.index == 1 and epoch == 2:
            return Failure(trial_id=trial.id, kind="worker", message="died", noticed_s=1.0)
        return falling_loss(trial, epoch)

    run = Run(trials(4, stack=4, epochs=3), StackFleet(1, deadly))
    ends = {d.trial_id: d.kind for d in run.journal.decisions if d.kind in ("fail", "complete")}
    assert ends == {"000": "complete", "001": "fail", "002": "complete", "003": "complete"}


def test_a_resumed_stack_goes_on_together_in_the_size_that_was_decided(trials: Any) -> None:
    made = trials(9, stack=9)
    whole = Run(made, StackFleet(1, by_index), **HALVED)
    snapshots = MemorySnapshots()
    killed = Run(made, StackFleet(1, by_index), snapshots=snapshots, stop_after=1, **HALVED)
    assert {size for _, _, size, _ in killed.sizes()} == {3}
    pasts = killed.histories(made)
    left = {i: past for i, past in pasts.items() if past.next_turn is not None}
    assert {past.next_turn.models for past in left.values() if past.next_turn} == {3}
    fleet = StackFleet(1, by_index)
    resumed = Run([t for t in made if t.id in left], fleet, left, snapshots)
    assert fleet.calls[0] == dict.fromkeys(left, 3)
    assert [replay.orders for replay in fleet.restored] == [()] * 3
    assert _numbers(resumed)[0] == _numbers(whole)[1]


def _order(trial: Trial) -> Any:
    from runner.records import Work

    return Work(trial=trial, round=0)


def _numbers(run: Run) -> list[Any]:
    return [
        {i: (r.round, r.step, r.running) for i, r in reports.items() if isinstance(r, Report)}
        for reports, _, _ in run.journal.commits
    ]

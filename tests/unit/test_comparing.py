"""The loop with trials that are compared: who waits, who gives way, who ends, over fakes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from runner.config.schema import Search
from runner.loop import lockstep
from runner.loop.judge import ends_now
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.loop.snapshotting import Snapshotting
from runner.records import (
    Allocation,
    EarlyStopping,
    Epoch,
    Failure,
    Metrics,
    Report,
    Slot,
    Trial,
    Turn,
    Verdict,
    Work,
    in_groups,
)
from runner.search.cohorts import Scoring
from runner.search.stopping import brackets_of, make_policy
from runner.testing import FakeFleet, MemoryJournal, MemorySnapshots, NullWatcher


def loss_of(trial: Trial, epoch: int) -> Metrics:
    """Falls with epochs; lower for later trials."""
    return {"loss": (10 - trial.index) / epoch}


class Run:
    """A sweep over fakes; `ends` maps trials to what ended them."""

    def __init__(
        self, trials: list[Trial], slots: int = 1, live: int | None = None, curve: Any = loss_of, **search: Any
    ) -> None:
        self.fleet, self.journal, self.snapshots = FakeFleet(range(slots), curve), MemoryJournal(), MemorySnapshots()
        places = [Slot(index=index, allocation=Allocation(num_cpus=1)) for index in range(slots)]
        config = Search(**search)
        layouts = {} if config.stop is None else {"test": brackets_of(config, trials[0].train, learns=False)}
        policy = make_policy(config, layouts, trials, Scoring("loss", "minimize"))
        recovery = Recovery(self.fleet, self.journal, Snapshotting(self.fleet, self.snapshots))
        schedule = Schedule(trials, places, live or len(trials), policy=policy)
        lockstep.Loop(schedule, recovery, self.journal, NullWatcher(), policy=policy).run()

    @property
    def ends(self) -> dict[str, str]:
        return {d.trial_id: d.by for d in self.journal.decisions if d.kind in ("stop", "complete", "fail")}

    @property
    def steps(self) -> dict[str, int]:
        return dict(self.journal._steps)

    @property
    def exported(self) -> Mapping[str, bytes]:
        return {i: e.model for _, _, exports in self.journal.commits for i, e in exports.items()}  # type: ignore[union-attr,misc]


@pytest.fixture
def trials(make_trial: Any) -> Any:
    def make(count: int, epochs: int = 9, **settings: Any) -> list[Trial]:
        return [make_trial(id=f"{n:03}", params={"units": n}, epochs=epochs, **settings) for n in range(count)]

    return make


LOSS = Scoring("loss", "minimize")
HALVED = {"stop": "halving", "factor": 3}


@pytest.mark.parametrize("slots", [1, 2, 4])
@pytest.mark.parametrize("live", [1, 4, 9])
def test_the_same_trials_survive_whatever_the_number_of_slots_and_places(trials: Any, slots: int, live: int) -> None:
    run = Run(trials(9), slots, live, **HALVED)
    assert run.ends == {**dict.fromkeys([f"{n:03}" for n in range(8)], "halving"), "008": "training"}
    assert run.steps == {**dict.fromkeys([f"{n:03}" for n in range(6)], 4), "006": 12, "007": 12, "008": 36}
    assert run.exported == dict.fromkeys([f"{n:03}" for n in range(9)], b"last"), "losers are ranked and exported"


def test_no_turn_passes_a_rung(trials: Any) -> None:
    run = Run(trials(3, epochs_per_round=5), slots=1, stop="halving", factor=3, min_epochs=3)
    ends = [report.epoch for reports, _, _ in run.journal.commits for report in reports.values()]  # type: ignore[union-attr]
    assert ends == [3, 3, 3, 8, 9]


def test_a_waiting_trial_keeps_its_seat_while_there_is_room(trials: Any) -> None:
    quick, slow = trials(2, steps_per_round=None), trials(3, steps_per_round=2)[2:]
    run = Run([*quick, *slow], slots=1, **HALVED)
    assert [work.idle for work in run.fleet.received if work.trial.id == "000"] == [False, True]
    assert run.fleet.restored == []


def test_waiting_trials_give_way_to_queued_ones_and_are_restored(trials: Any) -> None:
    run = Run(trials(6), slots=1, live=2, **HALVED)
    assert run.ends["005"] == "training"
    restored = [replay.trial.id for replay in run.fleet.restored]
    assert set(restored) == {"000", "001", "002", "003"}, "to be exported, or to go on"
    assert all(replay.snapshot is not None and not replay.orders for replay in run.fleet.restored)


def test_survivors_spread_over_the_slots_again(trials: Any) -> None:
    """Of four trials of two slots, both survivors sat in slot 1."""

    def curve(trial: Trial, epoch: int) -> Metrics:
        return {"loss": float(trial.index % 2 == 0)}

    run = Run(trials(4, epochs=4), slots=2, curve=curve, stop="halving", factor=2, min_epochs=2)
    assert run.fleet.rounds[0] == {0: ("000", "002"), 1: ("001", "003")}
    assert [rounds.keys() for rounds in run.fleet.rounds[-2:]] == [{1}, {0, 1}], "one is restored in the other slot"


def test_losers_keep_one_snapshot(trials: Any) -> None:
    run = Run(trials(3), slots=1, **HALVED)
    assert {snapshot.trial_id for snapshot in run.snapshots.written} == {"000", "001"}
    assert set(run.snapshots.dropped) == {"002"}


def test_a_loser_whose_best_weights_are_restored_is_exported_with_them(trials: Any) -> None:
    rule = EarlyStopping(monitor="loss", mode="min", patience=5)

    def curve(trial: Trial, epoch: int) -> Metrics:
        return {"loss": trial.index + epoch}

    run = Run(trials(3, early_stopping=rule), slots=1, curve=curve, stop="halving", factor=3, min_epochs=3)
    assert run.exported["002"] == b"best"


def test_a_worker_that_dies_while_its_trial_waits_changes_nothing(trials: Any) -> None:
    died = []

    def curve(trial: Trial, epoch: int) -> Metrics | Failure:
        if trial.id == "002" and epoch == 1 and not died:
            died.append(1)
            return Failure(trial_id="002", kind="worker", message="died")
        return loss_of(trial, epoch)

    three = [*trials(2), *trials(3, steps_per_round=2)[2:]]
    run = Run(three, slots=1, curve=curve, **HALVED)
    assert run.ends == {"000": "halving", "001": "halving", "002": "training"}


def test_a_target_ends_every_trial_and_those_that_never_began(trials: Any) -> None:
    run = Run(trials(4), slots=2, live=2, target=3.0)
    assert run.ends == dict.fromkeys(["000", "001", "002", "003"], "target")
    assert run.steps == {"000": 12, "001": 12, "002": 0, "003": 0}
    assert run.exported.keys() == {"000", "001"}
    reasons = {d.reason for d in run.journal.decisions if d.by == "target"}
    assert reasons == {"target: trial 001 reached loss 3 (target 3)"}


def test_a_budget_of_steps_ends_the_sweep_at_the_barrier_that_passes_it(trials: Any) -> None:
    run = Run(trials(2), slots=1, max_steps=20)
    assert set(run.ends.values()) == {"budget"}
    assert run.steps == {"000": 12, "001": 12}


def test_without_a_rule_nothing_waits(trials: Any) -> None:
    run = Run(trials(3), slots=1)
    assert set(run.ends.values()) == {"training"}
    assert not any(work.idle or work.last_epoch for work in run.fleet.received)


def test_a_resumed_sweep_seats_those_that_need_not_wait_first(trials: Any) -> None:
    """Of nine trials, six stand at the rung, and two have room."""
    nine, config = trials(9), Search(**HALVED)
    layouts = {"test": brackets_of(config, nine[0].train, learns=False)}
    policy = make_policy(config, layouts, nine, Scoring("loss", "minimize"))
    begun = {}
    for trial in nine[:6]:
        policy.take(trial.id, reported(trial, 1), Verdict(kind="keep"))
        begun[trial.id] = Work(trial=trial, round=1)
    slots = [Slot(index=0, allocation=Allocation(num_cpus=1))]
    schedule = Schedule(nine, slots, live=2, begun=begun, policy=policy)
    (orders,) = schedule.next_round().values()
    assert [(order.trial.id, order.idle) for order in orders] == [("006", False), ("007", False)]


def test_no_trial_joins_a_sweep_that_a_target_ends(trials: Any, make_trial: Any) -> None:
    class Proposes:
        def propose(self, reports: Any, verdicts: Any) -> tuple[Trial, ...]:
            return (make_trial(id=f"9{len(run.journal.commits):02}", params={"units": 1}, epochs=9),)

    first = trials(1)
    run = Run.__new__(Run)
    run.fleet, run.journal, run.snapshots = FakeFleet(range(1), loss_of), MemoryJournal(), MemorySnapshots()
    policy = make_policy(Search(target=5.0), {}, first, Scoring("loss", "minimize"))
    schedule = Schedule(first, [Slot(index=0, allocation=Allocation(num_cpus=1))], policy=policy)
    recovery = Recovery(run.fleet, run.journal)
    lockstep.Loop(schedule, recovery, run.journal, NullWatcher(), policy=policy, proposer=Proposes()).run()
    assert run.journal.added == ["900"], "one at the barrier before"
    assert set(run.ends.values()) == {"target"}


@pytest.mark.parametrize("live", [2, 10, 64])
def test_of_64_trials_on_two_slots_none_passes_a_rung_before_all_have_reached_it(trials: Any, live: int) -> None:
    run = Run(trials(64, epochs=27), slots=2, live=live, stop="halving", factor=3, curve=lambda *_: {"loss": 1.0})
    reached: dict[str, int] = dict.fromkeys([f"{n:03}" for n in range(64)], 0)
    contenders = {1: 64, 3: 22, 9: 8}  # of equals the first ones stay
    for reports, _, _ in run.journal.commits:
        for trial_id, report in reports.items():
            reached[trial_id] = report.epoch  # type: ignore[union-attr]
        for rung, count in contenders.items():
            if max(reached.values()) > rung:
                assert min(reached[f"{n:03}"] for n in range(count)) >= rung
    epochs = sorted(step // 4 for step in run.steps.values())
    assert epochs == [1] * 42 + [3] * 14 + [9] * 5 + [27] * 3
    assert max(len(turn) for rounds in run.fleet.rounds for turn in rounds.values()) <= max(1, live // 2)


def test_trials_that_join_later_are_compared_with_each_other(trials: Any) -> None:
    class Proposes:
        def propose(self, reports: Any, verdicts: Any) -> list[Trial]:
            return six[3:] if len(journal.commits) == 1 else []

    six, config = trials(6), Search(**HALVED)
    fleet, journal = FakeFleet(range(1), loss_of), MemoryJournal()
    policy = make_policy(config, {"test": brackets_of(config, six[0].train, learns=False)}, six[:3], LOSS)
    schedule = Schedule(six[:3], [Slot(index=0, allocation=Allocation(num_cpus=1))], live=6, policy=policy)
    lockstep.Loop(schedule, Recovery(fleet, journal), journal, NullWatcher(), policy=policy, proposer=Proposes()).run()
    ended = {d.trial_id: d.by for d in journal.decisions if d.kind in ("stop", "complete")}
    assert ended == {**dict.fromkeys(["000", "001", "003", "004"], "halving"), "002": "training", "005": "training"}

    again = make_policy(config, {"test": brackets_of(config, six[0].train, learns=False)}, (), LOSS)
    for group in in_groups(six, journal.decisions):
        again.add(group)
    for trial in six:
        again.take(trial.id, reported(trial, 1), Verdict(kind="keep"))
    assert again.decide({}, {}).keys() == {"000", "001", "003", "004"}


def test_a_turn_that_a_stop_interrupts_is_not_where_a_target_ends_a_trial(trials: Any) -> None:
    two = trials(2)
    work = {0: tuple(Work(trial=trial, round=1) for trial in two)}
    end = Verdict(kind="stop", by="target")
    found = ends_now(work, (), {"000": Verdict(kind="keep")}, {"000": end, "001": end}, {})
    assert found.keys() == {"000"}


def test_a_slot_that_gave_its_share_away_is_not_used_again(trials: Any) -> None:
    slots = [Slot(index=index, allocation=Allocation(num_cpus=1)) for index in range(2)]
    schedule = Schedule(trials(1), slots)
    schedule.next_round()
    schedule.close([1])
    schedule.add(trials(3)[1:])
    assert schedule.next_round().keys() == {0}


def reported(trial: Trial, epoch: int) -> Report:
    found = Epoch(number=epoch, metrics=loss_of(trial, epoch), ended_s=0.0)
    turn = Turn(pid=1, started_s=0.0, ended_s=0.0, compute_s=0.0)
    return Report(trial_id=trial.id, round=0, step=4, epoch=epoch, running={}, epochs=(found,), turn=turn)

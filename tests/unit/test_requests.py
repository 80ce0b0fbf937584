"""What users ask of a running sweep: the inbox, and how the loop obeys, over fakes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runner.config.schema import Search
from runner.errors import JournalError
from runner.journal import inbox
from runner.journal.inbox import Request
from runner.loop import lockstep
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.loop.snapshotting import Snapshotting
from runner.records import USER, Allocation, Decision, Metrics, Orders, Slot, Trial, Verdict
from runner.search.cohorts import Scoring
from runner.search.stopping import brackets_of, make_policy
from runner.testing import FakeFleet, MemoryJournal, MemorySnapshots, NullWatcher

STOP = Verdict(kind="stop", reason="user: stopped on request", by=USER)


def test_requests_wait_in_order_until_they_are_removed(tmp_path: Path) -> None:
    assert inbox.asked(tmp_path) == ()
    assert not (tmp_path / inbox.FILE).exists(), "reading makes no file"
    inbox.ask(tmp_path, [Request(kind="pause", trial_id="001"), Request(kind="stop")])
    inbox.ask(tmp_path, [Request(kind="add", arguments={"point": {"units": [1, 2]}})])
    found = inbox.asked(tmp_path)
    assert [(one.number, one.kind, one.trial_id) for one in found] == [
        (1, "pause", "001"),
        (2, "stop", None),
        (3, "add", None),
    ]
    assert found[2].arguments == {"point": {"units": [1, 2]}}
    inbox.remove(tmp_path, [1, 3])
    inbox.ask(tmp_path, [Request(kind="stop")])
    assert [one.number for one in inbox.asked(tmp_path)] == [2, 4], "a number is never used again"


def test_an_inbox_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / inbox.FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="link"):
        inbox.ask(tmp_path, [Request(kind="stop")])


class Script:
    """Gives orders at the barriers with these numbers, from 1."""

    def __init__(self, orders: dict[int, Orders]) -> None:
        self._orders, self.barriers, self.obeyed_at = orders, 0, list[int]()

    def read(self, reports: Any) -> Orders:
        self.barriers += 1
        return self._orders.get(self.barriers, Orders())

    def obeyed(self, verdicts: Any) -> None:
        self.obeyed_at.append(self.barriers)


def loss_of(trial: Trial, epoch: int) -> Metrics:
    return {"loss": (10 - trial.index) / epoch}


@pytest.fixture
def run(make_trial: Any) -> Callable[..., tuple[FakeFleet, MemoryJournal, Schedule]]:
    def go(
        orders: dict[int, Orders], count: int = 3, slots: int = 1, live: int | None = None, **search: Any
    ) -> tuple[FakeFleet, MemoryJournal, Schedule]:
        trials = [make_trial(id=f"{n:03}", params={"units": n}, epochs=9) for n in range(count)]
        fleet, journal = FakeFleet(range(slots), loss_of), MemoryJournal()
        places = [Slot(index=index, allocation=Allocation(num_cpus=1)) for index in range(slots)]
        config = Search(**search)
        layouts = {} if config.stop is None else {"test": brackets_of(config, trials[0].train, learns=False)}
        policy = make_policy(config, layouts, trials, Scoring("loss", "minimize"))
        schedule = Schedule(trials, places, live or count, policy=policy)
        recovery = Recovery(fleet, journal, Snapshotting(fleet, MemorySnapshots()))
        lockstep.Loop(schedule, recovery, journal, NullWatcher(), policy=policy, control=Script(orders)).run()
        return fleet, journal, schedule

    return go


def ends(journal: MemoryJournal) -> dict[str, tuple[str, int]]:
    return {d.trial_id: (d.by, d.step) for d in journal.decisions if d.kind in ("stop", "complete", "fail")}


def test_a_stopped_trial_is_exported_and_its_siblings_go_on(run: Any) -> None:
    _, journal, _ = run({2: Orders(ends={"001": STOP})})
    assert ends(journal) == {"000": ("training", 36), "001": ("user", 8), "002": ("training", 36)}
    assert all("001" not in reports for reports, _, _ in journal.commits[2:])
    assert "001" in journal.commits[1][2]


def test_a_trial_that_waits_for_a_place_is_stopped_without_a_model(run: Any) -> None:
    _, journal, _ = run({1: Orders(ends={"002": STOP})}, live=2, slots=2)
    assert ends(journal)["002"] == ("user", 0)
    assert all("002" not in exports for _, _, exports in journal.commits)


def test_a_paused_trial_has_no_turn_until_it_goes_on_from_its_snapshot(run: Any) -> None:
    paused = Decision(trial_id="001", step=0, kind="pause", by=USER)
    fleet, journal, schedule = run({2: Orders(pauses=("001",), decisions=(paused,)), 5: Orders(continues=("001",))})
    turns = [sorted(reports) for reports, _, _ in journal.commits]
    assert turns[:6] == [["000", "001", "002"]] * 2 + [["000", "002"]] * 3 + [["000", "001", "002"]]
    assert ends(journal)["001"] == ("training", 36)
    (replay,) = fleet.restored
    assert (replay.trial.id, replay.snapshot.round) == ("001", 2)
    assert [(d.kind, d.step) for d in journal.decisions if d.trial_id == "001"] == [("pause", 8), ("complete", 36)]
    assert schedule.paused() == ()


def test_what_is_paused_is_left_at_the_end(run: Any) -> None:
    _, journal, schedule = run({1: Orders(pauses=("001", "002"))}, live=2)
    assert ends(journal) == {"000": ("training", 36)}
    assert schedule.paused() == schedule.unfinished() == ("001", "002")


def test_a_paused_trial_can_be_stopped(run: Any) -> None:
    _, journal, _ = run({1: Orders(pauses=("001",)), 3: Orders(ends={"001": STOP})})
    assert ends(journal)["001"] == ("user", 4)
    assert any("001" in exports for _, _, exports in journal.commits)


def test_no_trial_waits_for_one_that_the_user_has_stopped(run: Any) -> None:
    _, journal, _ = run({1: Orders(ends={"000": STOP})}, stop="halving", min_epochs=3)
    assert ends(journal) == {"000": ("user", 4), "001": ("halving", 12), "002": ("training", 36)}


def test_those_that_wait_for_a_paused_trial_are_left_at_the_end(run: Any) -> None:
    _, journal, schedule = run({1: Orders(pauses=("000",))}, stop="halving", min_epochs=3)
    assert ends(journal) == {}
    assert set(schedule.unfinished()) == {"000", "001", "002"}


def test_orders_are_taken_off_the_inbox_after_the_journal_has_them(run: Any, make_trial: Any) -> None:
    joined = make_trial(id="add-000", params={"units": 1}, epochs=1)
    decision = Decision(trial_id="add-000", step=0, kind="add", by=USER, arguments={"request": 1})
    _, journal, _ = run({1: Orders(added=(joined,), decisions=(decision,))}, count=1)
    assert journal.added == ["add-000"]
    assert decision in journal.decisions
    assert ends(journal)["add-000"] == ("training", 4)


def test_a_paused_trial_that_never_began_is_stopped_without_a_model(run: Any) -> None:
    _, journal, _ = run({1: Orders(pauses=("002",)), 2: Orders(ends={"002": STOP})}, live=2, slots=1)
    assert ends(journal)["002"] == ("user", 0)
    assert all("002" not in exports for _, _, exports in journal.commits)

"""Lost workers over fakes: who is brought back from where, who is to blame, what the journal sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from runner.errors import ShareTakenError, StorageError, TooManyFailuresError
from runner.loop import judge, lockstep
from runner.loop.history import read_history, reopen
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.loop.slots import Shares
from runner.loop.snapshotting import Snapshotting
from runner.placement import Gpu, Machine, Request, plan_slots
from runner.records import (
    Allocation,
    Decision,
    EarlyStopping,
    Export,
    Failure,
    Metrics,
    ReduceLROnPlateau,
    Report,
    Slot,
    Snapshot,
    Trial,
    Verdict,
    Work,
)
from runner.testing import FakeFleet, MemoryJournal, MemorySnapshots, NullWatcher, falling_loss

Curve = Callable[[Trial, int], Metrics | Failure]


def dying(trial_id: str, epochs: list[int], kind: Any = "worker", then: Curve = falling_loss) -> Curve:
    """A trial that loses its worker once in each of these epochs."""
    left = list(epochs)

    def curve(trial: Trial, epoch: int) -> Metrics | Failure:
        if trial.id == trial_id and epoch in left:
            left.remove(epoch)
            return Failure(trial_id=trial_id, kind=kind, message="died", noticed_s=7.0)
        return then(trial, epoch)

    return curve


@dataclasses.dataclass
class Sweep:
    """A run over fakes."""

    fleet: FakeFleet
    journal: MemoryJournal
    snapshots: MemorySnapshots

    def numbers(self) -> list[list[tuple[Any, ...]]]:
        """What the journal has of each barrier, without times."""
        return [sorted(map(_numbers, reports.values())) for reports, _, _ in self.journal.commits]


def _numbers(report: Report | Failure) -> tuple[Any, ...]:
    if isinstance(report, Failure):
        return report.trial_id, report.kind
    return report.trial_id, report.round, report.step, report.running["loss"]


def run(
    trials: list[Trial],
    curve: Curve = falling_loss,
    slots: int = 2,
    live: int | None = None,
    fleet: FakeFleet | None = None,
    begun: Mapping[str, list[Report]] | None = None,
    decided: Sequence[Decision] = (),
    stop_after: int | None = None,
    max_failed_trials: int | None = None,
    snapshots: MemorySnapshots | None = None,
    journal: MemoryJournal | None = None,
    **settings: Any,
) -> Sweep:
    """Runs a sweep in which snapshots are due at every barrier."""
    fleet = fleet or FakeFleet(range(slots), curve)
    journal, snapshots = journal or MemoryJournal(), snapshots or MemorySnapshots()
    settings = {"every_s": 0.5, "clock": iter(range(10_000)).__next__, **settings}

    stopping = settings.pop("stopping", lambda: stop_after is not None and len(journal.commits) >= stop_after)
    taken = {name: settings.pop(name) for name in ("every_s", "clock", "keep_ended") if name in settings}
    shared = {name: settings[name] for name in ("folder", "warn") if name in settings}
    snapshotting = Snapshotting(fleet, snapshots, stopping=stopping, **taken, **shared)
    recovery = Recovery(fleet, journal, snapshotting, stopping=stopping, **settings)
    pasts = {
        trial.id: reopen(trial, begun[trial.id], [made for made in decided if made.trial_id == trial.id])[0]
        for trial in trials
        if begun is not None and trial.id in begun
    }
    for trial_id, past in pasts.items():
        recovery.take_over(trial_id, past.orders)
    turns = {trial_id: past.next_turn for trial_id, past in pasts.items() if past.next_turn is not None}
    places = [Slot(index=index, allocation=Allocation(num_cpus=1)) for index in range(slots)]
    lockstep.Loop(
        Schedule(trials, places, live, turns),
        recovery,
        journal,
        NullWatcher(),
        pasts={trial_id: past.rules for trial_id, past in pasts.items()},
        stopping=stopping,
        max_failed_trials=max_failed_trials,
    ).run()
    return Sweep(fleet, journal, snapshots)


@pytest.mark.parametrize("kind", ["worker", "hang"])
@pytest.mark.parametrize("every_s", [0.5, None])
def test_a_trial_that_loses_its_worker_reports_in_the_same_round_as_if_nothing_had_been(
    make_trial: Any, kind: str, every_s: float | None
) -> None:
    trials = [make_trial(id=f"{i:03}", epochs=4) for i in range(2)]
    expected = run(trials).numbers()
    sweep = run(trials, dying("001", [3], kind), every_s=every_s)

    assert sweep.numbers() == expected
    assert sweep.fleet.replaced == [1]
    (replay,) = sweep.fleet.restored
    assert replay.trial.id == "001"
    assert [order.round for order in replay.orders] == ([2] if every_s else [0, 1, 2])
    assert [(i.trial_id, i.round, i.kind, i.noticed_s) for i in sweep.journal.incidents] == [("001", 2, kind, 7.0)]


def test_siblings_have_no_turn_while_a_trial_is_brought_back(make_trial: Any) -> None:
    trials = [make_trial(id=f"{i:03}", epochs=4) for i in range(2)]
    sweep = run(trials, dying("001", [1, 2, 3]))
    assert [order.round for order in sweep.fleet.received if order.trial.id == "000"] == [0, 1, 2, 3]
    assert {replay.trial.id for replay in sweep.fleet.restored} == {"001"}


def test_orders_are_repeated_with_the_turns(make_trial: Any) -> None:
    losses = [3.0, 2.0, 4.0, 4.0, 4.0]
    rules = {
        "early_stopping": EarlyStopping(monitor="loss", mode="min", patience=9),
        "reduce_lr_on_plateau": ReduceLROnPlateau(monitor="loss", mode="min", patience=1, factor=0.5),
    }
    trial = make_trial(epochs=5, **rules)

    def curve(_: Trial, epoch: int) -> Metrics:
        return {"loss": losses[epoch - 1], "learning_rate": 0.1}

    sweep = run([trial], dying("000", [5], then=curve), slots=1, every_s=None)
    (replay,) = sweep.fleet.restored
    assert [dataclasses.replace(order, until=None) for order in replay.orders] == sweep.fleet.received
    assert [order.until for order in replay.orders] == [4, 8, 12, 16, None], "they end where they ended"
    assert [order.keep_best for order in replay.orders] == [False, True, True, False, False]
    assert [order.learning_rate for order in replay.orders] == [None, None, None, 0.05, 0.05]


def test_what_follows_from_the_reports_is_what_was_ordered(make_trial: Any) -> None:
    trial = make_trial(epochs=6, early_stopping=EarlyStopping(monitor="loss", mode="min", patience=2))
    losses = [3.0, 1.0, 2.0, float("inf")]
    sweep = run([trial], lambda _, epoch: {"loss": losses[epoch - 1]}, slots=1)
    reports = [reports["000"] for reports, _, _ in sweep.journal.commits]
    for count in range(len(reports) + 1):
        so_far = [made for made in sweep.journal.decisions if count and made.step <= reports[count - 1].step]  # type: ignore[union-attr]
        past = read_history(trial, reports[:count], so_far)  # type: ignore[arg-type]
        ordered = zip(sweep.fleet.received, reports[:count], strict=False)
        assert list(past.orders) == [dataclasses.replace(work, until=report.step) for work, report in ordered]  # type: ignore[union-attr]
        if count:
            assert past.verdict == sweep.journal.commits[count - 1][1]["000"]
        expected = sweep.fleet.received[count] if count < len(reports) else None
        assert past.next_turn == expected


@pytest.mark.parametrize("with_snapshot", [True, False])
def test_turns_of_several_epochs_are_repeated_as_they_were_by_a_trial_that_has_been_given_more(
    make_trial: Any, with_snapshot: bool
) -> None:
    """Two epochs a turn, and of three the last one is alone: it stays so when there are six."""
    trial = make_trial(epochs=3, epochs_per_round=2)
    first = run([trial], slots=1)
    reports = [reports["000"] for reports, _, _ in first.journal.commits]
    assert [report.step for report in reports] == [8, 12]  # type: ignore[union-attr]
    more = dataclasses.replace(trial, train=dataclasses.replace(trial.train, epochs=6))
    snapshots = MemorySnapshots()
    if with_snapshot:
        snapshots.written.append(Snapshot(trial_id="000", round=2, step=12, state=b"12"))
    decided = first.journal.decisions
    sweep = run([more], slots=1, begun={"000": reports}, decided=decided, snapshots=snapshots)  # type: ignore[dict-item]
    later = [reports["000"] for reports, _, _ in sweep.journal.commits]
    assert [(report.round, report.step) for report in later] == [(2, 20), (3, 24)]  # type: ignore[union-attr]
    assert [[epoch.number for epoch in report.epochs] for report in later] == [[4, 5], [6]]  # type: ignore[union-attr]


def test_of_rotating_trials_all_are_brought_back_and_the_one_that_kills_the_worker_is_given_up(make_trial: Any) -> None:
    trials = [make_trial(id=f"{i:03}", epochs=3) for i in range(3)]

    def curve(trial: Trial, epoch: int) -> Metrics | Failure:
        if trial.id == "001" and epoch == 2:
            return Failure(trial_id="001", kind="worker", message="died")
        return falling_loss(trial, epoch)

    sweep = run(trials, curve, slots=1, live=3, max_failures=1)
    verdicts = {trial_id: v for _, found, _ in sweep.journal.commits for trial_id, v in found.items() if v.ends}
    assert {trial_id: verdict.kind for trial_id, verdict in verdicts.items()} == {
        "000": "complete",
        "001": "fail",
        "002": "complete",
    }
    assert verdicts["001"].reason == "worker: died"
    healthy = [[row for row in rows if row[0] != "001"] for rows in sweep.numbers()]
    assert healthy == [[row for row in rows if row[0] != "001"] for rows in run(trials, slots=1, live=3).numbers()]


def test_a_model_that_dies_with_its_worker_is_exported_from_another(make_trial: Any) -> None:
    class Fragile(FakeFleet):
        deaths = 1

        def export(self, work: Any, folder: Any = None) -> Mapping[str, Export | Failure]:
            if self.deaths and 1 in work:
                self.deaths -= 1
                lost = [trial.id for trial, _ in work[1]]
                failure = Failure(trial_id="", kind="worker", message="died")
                healthy = {slot: chosen for slot, chosen in work.items() if slot != 1}
                return {**super().export(healthy), **self._lose(1, lost, failure)}  # type: ignore[dict-item]
            return super().export(work)

    trials = [make_trial(id=f"{i:03}", epochs=2) for i in range(2)]
    sweep = run(trials, fleet=Fragile(range(2)))
    _, verdicts, exports = sweep.journal.commits[-1]
    assert {trial_id: verdict.kind for trial_id, verdict in verdicts.items()} == {"000": "complete", "001": "complete"}
    assert all(isinstance(export, Export) for export in exports.values())
    assert [replay.trial.id for replay in sweep.fleet.restored] == ["001"]


def test_a_snapshot_that_does_not_fit_its_model_is_done_without(make_trial: Any) -> None:
    class Changed(FakeFleet):
        def restore(self, work: Any) -> Any:
            refused = [r.trial.id for replays in work.values() for r in replays if r.snapshot is not None]
            if refused:
                return {i: Failure(trial_id=i, kind="snapshot", message="other shapes") for i in refused}
            return super().restore(work)

    told: list[str] = []
    trials = [make_trial(id="000", epochs=3)]
    sweep = run(trials, slots=1, fleet=Changed(range(1), dying("000", [3])), warn=told.append)
    assert sweep.numbers() == run(trials, slots=1).numbers()
    assert [[order.round for order in replay.orders] for replay in sweep.fleet.restored] == [[0, 1, 2]]
    assert told == [
        "trial 000 has lost the worker (died); a new one repeats what is missing",
        "trial 000: other shapes; it is trained again from its beginning",
    ]


def test_a_snapshot_that_is_refused_as_the_sweep_stops_is_no_failure_of_the_trial(make_trial: Any) -> None:
    stops: list[bool] = []

    class Changed(FakeFleet):
        def restore(self, work: Any) -> Any:
            stops.append(True)
            return {r.trial.id: Failure(trial_id=r.trial.id, kind="snapshot", message="!") for r in work[0]}

    trials = [make_trial(id="000", epochs=3)]
    fleet = Changed(range(1), dying("000", [3]))
    sweep = run(trials, slots=1, fleet=fleet, stopping=lambda: bool(stops))
    assert [list(reports) for reports, _, _ in sweep.journal.commits] == [["000"], ["000"], []]


def test_of_rotating_trials_one_of_each_slot_is_held_here_at_a_time(make_trial: Any) -> None:
    held: list[list[str]] = []

    class Watched(FakeFleet):
        def snapshot(self, work: Any, folder: Any = None) -> Any:
            held.append(sorted(trial.id for trials in work.values() for trial in trials))
            return super().snapshot(work)

    trials = [make_trial(id=f"{i:03}", epochs=2) for i in range(5)]
    sweep = run(trials, live=5, fleet=Watched(range(2)))
    assert [len(ids) for ids in held] == [2, 2, 1]
    assert {snapshot.trial_id for snapshot in sweep.snapshots.written} == {trial.id for trial in trials}


def test_what_a_stop_has_left_without_a_snapshot_is_told(make_trial: Any) -> None:
    class Slow(FakeFleet):
        def snapshot(self, work: Any, folder: Any = None) -> Any:
            return {i: found for i, found in super().snapshot(work).items() if i != "001"}

    told: list[str] = []
    trials = [make_trial(id=f"{i:03}", epochs=4) for i in range(2)]
    sweep = run(trials, fleet=Slow(range(2)), stop_after=1, every_s=None, warn=told.append)
    assert [snapshot.trial_id for snapshot in sweep.snapshots.written] == ["000"]
    assert told == ["trial 001: no snapshot of where it stands; `resume` repeats it from the one before"]


def test_a_trial_that_an_earlier_driver_has_trained_goes_on_where_it_was(make_trial: Any) -> None:
    trials = [make_trial(id=f"{i:03}", epochs=4) for i in range(2)]
    whole = run(trials)
    begun = {
        trial.id: [reports[trial.id] for reports, _, _ in whole.journal.commits[:2] if trial.id in reports]
        for trial in trials
    }
    sweep = run(trials, begun=begun)  # type: ignore[arg-type]
    assert sweep.numbers() == whole.numbers()[2:]
    assert [(r.trial.id, [o.round for o in r.orders]) for r in sweep.fleet.restored] == [
        ("000", [0, 1, 2]),
        ("001", [0, 1, 2]),
    ]


def test_snapshots_are_taken_of_all_live_trials_when_the_time_has_come(make_trial: Any) -> None:
    clock = iter([0.0, 10.0, 61.0, 62.0, 90.0, 122.0, 123.0])
    trials = [make_trial(id="000", epochs=5), make_trial(id="001", epochs=9)]
    sweep = run(trials, every_s=60.0, clock=lambda: next(clock, 130.0))
    assert [(s.trial_id, s.round) for s in sweep.snapshots.written] == [("000", 2), ("001", 2), ("000", 4), ("001", 4)]


def test_snapshots_go_when_their_trial_has_ended_and_stay_where_it_may_go_on(make_trial: Any) -> None:
    trials = [make_trial(id=f"{i:03}", epochs=2 + i) for i in range(3)]

    def curve(trial: Trial, epoch: int) -> Metrics | Failure:
        failed = trial.id == "001" and epoch == 3
        return Failure(trial_id="001", kind="train", message="boom") if failed else falling_loss(trial, epoch)

    assert run(trials, curve, slots=3).snapshots.dropped == ["000", "002"], "a failed trial may be retried"
    assert run(trials, curve, slots=3, stop_after=2).snapshots.dropped == ["000"], "a trial that was stopped goes on"
    assert run(trials, curve, slots=3, keep_ended=True).snapshots.dropped == []


def test_a_stop_leaves_snapshots_of_all_live_trials_and_reports_no_interrupted_turn(make_trial: Any) -> None:
    class Interrupted(FakeFleet):
        def advance(self, work: Any) -> Any:
            answers = super().advance(work)
            return {i: a for i, a in answers.items() if i != "001" or len(self.rounds) < 2}

    trials = [make_trial(id=f"{i:03}", epochs=4) for i in range(2)]
    sweep = run(trials, fleet=Interrupted(range(2)), stop_after=2, every_s=None)
    assert [sorted(reports) for reports, _, _ in sweep.journal.commits] == [["000", "001"], ["000"]]
    assert {snapshot.trial_id for snapshot in sweep.snapshots.written} == {"000", "001"}


def test_a_trial_whose_model_a_stop_has_prevented_has_not_ended() -> None:
    report, verdict = object(), Verdict(kind="complete")
    finished = {0: ((type("T", (), {"id": "000"}), False),)}
    assert judge.settle({"000": report}, {"000": verdict}, finished, {}) == ({}, {})  # type: ignore[arg-type,dict-item]


def test_too_many_failed_trials_stop_the_sweep_after_their_barrier(make_trial: Any) -> None:
    trials = [make_trial(id=f"{i:03}", epochs=2) for i in range(4)]

    def failing(trial: Trial, epoch: int) -> Metrics | Failure:
        if trial.id == "003":
            return falling_loss(trial, epoch)
        return Failure(trial_id=trial.id, kind="train", message="boom")

    fleet = FakeFleet(range(1), failing)
    with pytest.raises(TooManyFailuresError, match=r"2 trials have failed, recovery.max_failed_trials=1 may; .*001"):
        run(trials, slots=1, fleet=fleet, max_failed_trials=1)
    assert [order.trial.id for order in fleet.received] == ["000", "001"]


@pytest.mark.parametrize("when", ["in a turn", "as its model is written", "as it is brought back"])
def test_a_full_disk_ends_the_sweep_and_no_trial(make_trial: Any, when: str) -> None:
    full = Failure(trial_id="001", kind="disk", message="OSError: [Errno 28] No space left on device: '/tmp/a'")

    class Full(FakeFleet):
        def export(self, work: Any, folder: Any = None) -> Any:
            found = dict(super().export(work))
            return found | {i: full for i in found if i == "001" and when == "as its model is written"}

        def restore(self, work: Any) -> Any:
            return {**super().restore(work), "001": full}

    def curve(trial: Trial, epoch: int) -> Metrics | Failure:
        failures = {"in a turn": full, "as it is brought back": replace(full, kind="worker")}
        return failures.get(when, {"loss": 1.0}) if trial.id == "001" and epoch == 2 else falling_loss(trial, epoch)

    trials = [make_trial(id=f"{i:03}", epochs=2) for i in range(3)]
    fleet, journal = Full(range(2), curve), MemoryJournal()
    with pytest.raises(StorageError, match=r"trial 001: OSError: .Errno 28. No space left on device: '/tmp/a'; once"):
        run(trials, fleet=fleet, journal=journal)
    reports, verdicts, exports = journal.commits[-1]
    assert set(reports) == set(verdicts) == {"000"}, "the round is kept, but for the turn that the disk has stopped"
    assert set(exports) == {"000"}
    assert [len(commit[0]) for commit in journal.commits] == [2, 1]


def test_a_state_taken_in_the_middle_of_a_turn_belongs_to_that_turn(make_trial: Any) -> None:
    trial = make_trial(epochs=2)
    fleet, journal, snapshots = FakeFleet(range(1)), MemoryJournal(), MemorySnapshots()
    journal.assigned.append("000")
    snapshots.written.append(Snapshot(trial_id="000", round=1, step=4, state=b"4"))
    recovery = Recovery(fleet, journal, Snapshotting(fleet, snapshots))
    recovery.take_over("000", [Work(trial=trial, round=0)])
    report = recovery.advance({0: (Work(trial=trial, round=1),)})["000"]
    assert isinstance(report, Report)
    assert (report.round, report.step) == (1, 8)


A_GPU = Gpu(id="0", uuid="GPU-0", name="A", memory_mib=10_000, free_mib=10_256)
GPU = Machine(cpus=4, memory_mib=9_000, gpus=(A_GPU,), gpu_overhead_mib=500)


def hungry_above(limits: Callable[[str], int | None], needs: Mapping[str, int]) -> Curve:
    """Trials that run out of memory wherever their slot's limit is less than they need."""

    def curve(trial: Trial, epoch: int) -> Metrics | Failure:
        limit = limits(trial.id)
        if epoch > 1 and limit is not None and limit < needs.get(trial.id, 0):
            return Failure(trial_id=trial.id, kind="oom", message=f"{limit} MiB", noticed_s=7.0)
        return falling_loss(trial, epoch)

    return curve


def run_on_gpu(
    trials: list[Trial], needs: Mapping[str, int], kind: type[FakeFleet] = FakeFleet, **request: Any
) -> Sweep:
    """A sweep on one GPU, a trial a slot."""
    slots = plan_slots(Request(**request), GPU, len(trials))
    shares = Shares(slots, {"": GPU})

    def limit(trial_id: str) -> int | None:
        return shares.of(fleet.seats[trial_id]).gpu_memory_mib

    fleet = kind([slot.index for slot in slots], hungry_above(limit, needs))
    return run(trials, slots=len(slots), fleet=fleet, shares=shares)


def ends(sweep: Sweep) -> dict[str, tuple[str, str]]:
    found = {trial_id: v for _, verdicts, _ in sweep.journal.commits for trial_id, v in verdicts.items() if v.ends}
    return {trial_id: (verdict.kind, verdict.reason) for trial_id, verdict in found.items()}


def test_a_trial_out_of_memory_goes_on_from_its_snapshot_with_what_is_free_beside_it(make_trial: Any) -> None:
    trials = [make_trial(id=f"{i:03}", epochs=3) for i in range(2)]
    sweep = run_on_gpu(trials, {"000": 6_000}, gpu_memory_mib=2_000, max_concurrent=2)
    assert {kind for kind, _ in ends(sweep).values()} == {"complete"}
    assert sweep.numbers() == run(trials).numbers()
    assert {slot: share.gpu_memory_mib for slot, share in sweep.fleet.resized.items()} == {0: 7_000}
    assert sweep.journal.resized == sweep.fleet.resized
    assert [(r.trial.id, [order.round for order in r.orders]) for r in sweep.fleet.restored] == [("000", [1])]
    assert [(i.trial_id, i.kind, i.message) for i in sweep.journal.incidents] == [
        ("000", "oom", "2000 MiB (tried again under a larger limit of 7000 MiB)")
    ]


def test_where_others_have_taken_what_was_free_the_trial_is_tried_again_under_its_old_limit(make_trial: Any) -> None:
    class Crowded(FakeFleet):
        def replace(self, shares: Any) -> None:
            if any(allocation is not None for allocation in shares.values()):
                raise ShareTakenError("another process has taken GPU memory")
            super().replace(shares)

    trials = [make_trial(id=f"{i:03}", epochs=3) for i in range(2)]
    sweep = run_on_gpu(trials, {"000": 50_000}, kind=Crowded, num_gpus=0.33, max_concurrent=2)
    assert sweep.fleet.replaced == [0, 0], "for its second try, and for the next trial"
    assert not sweep.journal.resized
    status, reason = ends(sweep)["000"]
    assert status == "fail"
    assert "under the same limit of" in reason
    assert ends(sweep)["001"] == ("complete", "")


def test_slots_that_run_out_of_memory_together_share_what_is_free(make_trial: Any) -> None:
    trials = [make_trial(id=f"{i:03}", epochs=3) for i in range(2)]
    sweep = run_on_gpu(trials, {"000": 4_000, "001": 4_000}, gpu_memory_mib=2_000, max_concurrent=2)
    assert [share.gpu_memory_mib for share in sweep.fleet.resized.values()] == [4_500, 4_500]
    assert {kind for kind, _ in ends(sweep).values()} == {"complete"}


def test_an_idle_slot_gives_its_share_to_the_trial_that_lacks_memory(make_trial: Any) -> None:
    trials = [make_trial(id="000", epochs=1), make_trial(id="001", epochs=4)]
    sweep = run_on_gpu(trials, {"001": 6_000}, num_gpus=0.5)
    assert ends(sweep)["001"] == ("complete", "")
    assert sweep.fleet.slots == [1]
    assert (sweep.fleet.resized[1].num_gpus, sweep.fleet.resized[1].gpu_memory_mib) == (1.0, 9_500)


def test_what_repeats_under_the_larger_limit_is_given_up_with_the_numbers(make_trial: Any) -> None:
    trials = [make_trial(id=f"{i:03}", epochs=3) for i in range(2)]
    sweep = run_on_gpu(trials, {"000": 50_000}, gpu_memory_mib=2_000, max_concurrent=2)
    assert ends(sweep) == {
        "000": ("fail", "oom: 7000 MiB (tried again under a larger limit of 7000 MiB)"),
        "001": ("complete", ""),
    }
    assert len(sweep.journal.incidents) == 2
    assert list(sweep.fleet.resized) == [0]


def test_without_anything_free_a_trial_is_tried_once_more_in_a_new_process(make_trial: Any) -> None:
    trials = [make_trial(id=f"{i:03}", epochs=3) for i in range(2)]
    sweep = run_on_gpu(trials, {"000": 50_000}, num_gpus=0.5)
    told = "4500 MiB (tried again in a new process under the same limit of 4500 MiB: no more memory is free)"
    assert ends(sweep)["000"] == ("fail", f"oom: {told}")
    assert (sweep.fleet.replaced, sweep.fleet.resized) == ([0, 0], {})


def test_trials_that_wait_on_the_gpu_give_up_their_memory_to_one_that_lacks_it(make_trial: Any) -> None:
    """Trials in turns on one GPU: the limit is all of it, of which the states of those that wait take a part."""
    slots = plan_slots(Request(), GPU, 3, need_mib=2_000)
    shares, trials = Shares(slots, {"": GPU}), [make_trial(id=f"{i:03}", epochs=3) for i in range(3)]

    def curve(trial: Trial, epoch: int) -> Metrics | Failure:
        if epoch > 1 and trial.id == "001" and shares.of(0).places > 1:
            return Failure(trial_id="001", kind="oom", message="full")
        return falling_loss(trial, epoch)

    sweep = run(trials, slots=1, live=3, fleet=FakeFleet([0], curve), shares=shares)
    assert {kind for kind, _ in ends(sweep).values()} == {"complete"}
    assert sweep.numbers() == run(trials, slots=1, live=3).numbers()
    assert {share.waiting_mib for share in sweep.journal.resized.values()} == {0}
    remedy = "full (tried again under the same limit of 9500 MiB, without the states of trials that wait)"
    assert remedy in [incident.message for incident in sweep.journal.incidents]


def test_turns_after_one_that_ran_out_of_memory_are_made_up_for(make_trial: Any) -> None:
    """A worker gives its trials no more turns once one of them has run out of memory."""

    class Careful(FakeFleet):
        def advance(self, work: Any) -> Any:
            answers = dict(super().advance(work))
            if len(self.rounds) == 2:
                answers["000"], answers["001"] = answers["000"], Failure(trial_id="001", kind="oom", message="none")
                del answers["002"]
                self._lose(0, [], answers["001"])
            return answers

    trials = [make_trial(id=f"{i:03}", epochs=3) for i in range(3)]
    sweep = run(trials, slots=1, live=3, fleet=Careful(range(1)))
    assert sweep.numbers() == run(trials, slots=1, live=3).numbers()
    assert [(i.trial_id, i.kind) for i in sweep.journal.incidents] == [("001", "oom")]

"""The loop over fakes: who has a turn when, what is recorded, what becomes of failures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.loop import lockstep
from runner.loop.interfaces import Proposer, Watcher
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule, live_within
from runner.records import Allocation, EarlyStopping, Failure, Metrics, ReduceLROnPlateau, Report, Slot, Trial, Verdict
from runner.testing import FakeFleet, MemoryJournal, NullWatcher, falling_loss


def run(
    trials: list[Trial],
    slots: int = 2,
    curve: Any = falling_loss,
    watcher: Watcher | None = None,
    proposer: Proposer | None = None,
) -> tuple[FakeFleet, MemoryJournal]:
    fleet, journal = FakeFleet(range(slots), curve), MemoryJournal()
    places = [Slot(index=index, allocation=Allocation(num_cpus=1)) for index in range(slots)]
    recovery = Recovery(fleet, journal)
    lockstep.Loop(Schedule(trials, places), recovery, journal, watcher or NullWatcher(), proposer=proposer).run()
    return fleet, journal


def test_every_live_trial_has_one_turn_a_round_and_a_freed_slot_takes_the_next(make_trial: Any) -> None:
    trials = [make_trial(id=f"{i:03}", epochs=epochs) for i, epochs in enumerate((1, 3, 1, 1))]
    fleet, journal = run(trials)

    assert fleet.rounds == [
        {0: ("000",), 1: ("001",)},
        {0: ("002",), 1: ("001",)},
        {0: ("003",), 1: ("001",)},
    ]
    assert journal.assigned == ["000", "001", "002", "003"]


def test_a_turn_never_passes_the_end_of_its_epoch(make_trial: Any) -> None:
    _, journal = run([make_trial(epochs=2, steps_per_round=3)], slots=1)
    steps = [report.step for reports, _, _ in journal.commits for report in reports.values()]
    assert steps == [3, 4, 7, 8]


def test_a_failed_trial_is_recorded_and_its_sibling_goes_on(make_trial: Any) -> None:
    def curve(trial: Trial, epoch: int) -> Metrics | Failure:
        if trial.id == "000" and epoch == 2:
            return Failure(trial_id="000", kind="train", message="boom")
        return falling_loss(trial, epoch)

    fleet, journal = run([make_trial(id="000", epochs=3), make_trial(id="001", epochs=3)], curve=curve)

    assert [sorted(reports) for reports, _, _ in journal.commits] == [["000", "001"], ["000", "001"], ["001"]]
    assert journal.commits[1][1]["000"].kind == "fail"
    assert journal.commits[2][1]["001"].kind == "complete"
    assert fleet.replaced == []


def test_a_trial_that_loses_its_worker_again_and_again_fails_and_its_slot_takes_the_next(make_trial: Any) -> None:
    def curve(trial: Trial, epoch: int) -> Metrics | Failure:
        if trial.id == "001":
            return Failure(trial_id="001", kind="worker", message="ActorDiedError")
        return falling_loss(trial, epoch)

    fleet, _ = run([make_trial(id=f"{i:03}", epochs=2) for i in range(3)], curve=curve)

    assert fleet.replaced == [1] * 4, "three times it is brought back"
    assert fleet.rounds[1][1] == ("002",)


def test_models_of_finished_trials_are_exported_and_those_of_failed_ones_are_not(make_trial: Any) -> None:
    def curve(trial: Trial, epoch: int) -> Metrics | Failure:
        return Failure(trial_id="001", kind="train", message="boom") if trial.id == "001" else {"loss": 1.0}

    _, journal = run([make_trial(id="000", epochs=1), make_trial(id="001", epochs=1)], curve=curve)
    assert set(journal.commits[0][2]) == {"000"}


def test_early_stopping_ends_the_trial_and_exports_its_best_weights(make_trial: Any) -> None:
    losses = [3.0, 1.0, 2.0, 2.0, 0.5]
    rule = EarlyStopping(monitor="loss", mode="min", patience=2)
    trial = make_trial(epochs=5, early_stopping=rule)
    fleet, journal = run([trial], slots=1, curve=lambda _, epoch: {"loss": losses[epoch - 1]})

    assert [work.keep_best for work in fleet.received] == [False, True, True, False]
    verdict = journal.commits[-1][1]["000"]
    assert (verdict.kind, verdict.restore_best) == ("stop", True)
    assert "has not improved since epoch 2" in verdict.reason
    assert journal.commits[-1][2]["000"].model == b"best"  # type: ignore[union-attr]


def test_a_reduced_learning_rate_reaches_the_next_turn(make_trial: Any) -> None:
    rule = ReduceLROnPlateau(monitor="loss", mode="min", patience=1, factor=0.5)
    trial = make_trial(epochs=3, reduce_lr_on_plateau=rule)
    fleet, _ = run([trial], slots=1, curve=lambda *_: {"loss": 1.0, "learning_rate": 0.1})
    assert [work.learning_rate for work in fleet.received] == [None, None, 0.05]


def test_a_loss_that_is_not_finite_stops_the_trial_without_a_model_and_keeps_its_row(make_trial: Any) -> None:
    _, journal = run([make_trial(epochs=3)], slots=1, curve=lambda *_: {"loss": float("nan")})
    reports, verdicts, exports = journal.commits[0]
    assert (verdicts["000"].kind, verdicts["000"].reason) == ("stop", "diverged: loss is nan after step 4")
    assert not verdicts["000"].keeps_model
    assert isinstance(reports["000"], Report)
    assert not exports


def test_a_loss_that_is_not_finite_leaves_the_kept_best_weights(make_trial: Any) -> None:
    losses = [2.0, 1.0, float("nan")]
    rule = EarlyStopping(monitor="loss", mode="min", patience=5)
    _, journal = run([make_trial(epochs=3, early_stopping=rule)], slots=1, curve=lambda _, n: {"loss": losses[n - 1]})
    assert journal.commits[-1][1]["000"].kind == "stop"
    assert journal.commits[-1][2]["000"].model == b"best"  # type: ignore[union-attr]


def test_a_model_that_cannot_be_exported_fails_its_trial_and_a_worker_that_died_over_it_is_replaced(
    make_trial: Any,
) -> None:
    class Broken(FakeFleet):
        def export(self, work: Any, folder: Any = None) -> Any:
            failed = [trial.id for trials in work.values() for trial, _ in trials]
            return {trial_id: Failure(trial_id=trial_id, kind="worker", message="died") for trial_id in failed}

    fleet, journal = Broken(range(1)), MemoryJournal()
    slots = [Slot(index=0, allocation=Allocation(num_cpus=1))]
    lockstep.Loop(Schedule([make_trial(epochs=1)], slots), Recovery(fleet, journal), journal, NullWatcher()).run()
    assert journal.commits[0][1]["000"] == Verdict(kind="fail", reason="worker: died", by="failure")
    assert fleet.replaced == [0] * 4


def rotate(trials: list[Trial], slots: int, live: int) -> FakeFleet:
    fleet = FakeFleet(range(slots))
    places = [Slot(index=index, allocation=Allocation(num_cpus=1)) for index in range(slots)]
    journal = MemoryJournal()
    lockstep.Loop(Schedule(trials, places, live), Recovery(fleet, journal), journal, NullWatcher()).run()
    return fleet


def test_with_rotation_all_trials_advance_together_on_fewer_slots(make_trial: Any) -> None:
    fleet = rotate([make_trial(id=f"{i:03}", epochs=2) for i in range(5)], slots=2, live=5)
    assert fleet.rounds == [{0: ("000", "002", "004"), 1: ("001", "003")}] * 2


def test_a_slot_with_places_has_as_many_trials_in_turns_whatever_other_slots_have(make_trial: Any) -> None:
    shares = [Allocation(num_cpus=1, places=places) for places in (3, 1)]
    slots = [Slot(index=index, allocation=share) for index, share in enumerate(shares)]
    trials, fleet = [make_trial(id=str(i), epochs=1 + (i == 0)) for i in range(6)], FakeFleet(range(2))
    journal = MemoryJournal()
    lockstep.Loop(Schedule(trials, slots), Recovery(fleet, journal), journal, NullWatcher()).run()
    assert fleet.rounds == [{0: ("0", "2", "3"), 1: ("1",)}, {0: ("0", "5"), 1: ("4",)}]


def test_with_rotation_a_freed_place_takes_the_next_trial_of_those_that_do_not_fit(make_trial: Any) -> None:
    fleet = rotate([make_trial(id=f"{i:03}", epochs=1 + (i == 0)) for i in range(4)], slots=1, live=2)
    assert fleet.rounds == [{0: ("000", "001")}, {0: ("000", "002")}, {0: ("003",)}]


def test_as_many_trials_live_as_the_host_can_hold() -> None:
    assert live_within(budget_mib=1600, parameters=1_000_000, trials=500) == 104
    assert live_within(budget_mib=1, parameters=1_000_000, trials=500) == 1
    assert live_within(budget_mib=1, parameters=0, trials=7) == 7


def test_a_person_is_told_of_turns_as_they_are_given_out_and_as_they_are_recorded(make_trial: Any) -> None:
    told: list[Any] = []

    class Notes(NullWatcher):
        def begin(self, trial_ids: Sequence[str]) -> None:
            told.append(("begin", sorted(trial_ids)))

        def show(self, reports: Mapping[str, Any], verdicts: Mapping[str, Any]) -> None:
            told.append(("show", sorted(reports)))

    run([make_trial(id="000", epochs=1), make_trial(id="001", epochs=2)], watcher=Notes())
    assert told == [(what, ids) for ids in (["000", "001"], ["001"]) for what in ("begin", "show")]


def test_trials_that_are_added_at_a_barrier_are_in_its_commit_and_trained(make_trial: Any) -> None:
    class Doubles:
        """Proposes another trial each time that one has completed, up to four."""

        proposed = 1

        def propose(self, reports: Mapping[str, Any], verdicts: Mapping[str, Any]) -> list[Trial]:
            ended = [trial_id for trial_id, verdict in verdicts.items() if verdict.ends]
            new = [make_trial(id=f"{self.proposed + n:03}", epochs=1) for n in range(len(ended)) if self.proposed < 4]
            self.proposed += len(new)
            return new

    told: list[str] = []

    class Notes(NullWatcher):
        def add(self, trials: Sequence[Trial]) -> None:
            told.extend(trial.id for trial in trials)

    fleet, journal = run([make_trial(id="000", epochs=2)], watcher=Notes(), proposer=Doubles())
    assert journal.added == told == ["001", "002", "003"]
    assert fleet.rounds == [{0: ("000",)}, {0: ("000",)}, {0: ("001",)}, {0: ("002",)}, {0: ("003",)}]

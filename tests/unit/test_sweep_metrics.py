"""Metrics of the sweep itself: how it stood at each barrier, and the use of the machine."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from pathlib import Path

from small_journal import begin, facts, report, small_sweep, sweep, trial

from runner.host.usage import UsageSampler
from runner.journal import JournalReader, SqliteJournal
from runner.records import Allocation, Epoch, Export, Sample, Verdict
from runner.tracking.ledger import HOME, Ledger


def metrics(folder: Path, key: str) -> dict[int, float]:
    with JournalReader(folder) as reader:
        return {row.step: row.value for row in reader.sweep_metrics() if row.key == key}


def ended(number: int) -> dict[str, Export]:
    return {f"{number:03d}": Export(trial_id=f"{number:03d}", model=b"", weights=b"w")}


def test_each_barrier_has_the_leaders_score_and_the_best_value_so_far(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(sweep("sqlite:///m.db"), (trial(0), trial(1)))
        begin(journal, 0, 1)
        journal.commit({"000": report(0, 0, 0.9, 1, facts()), "001": report(1, 0, 0.7, 1, facts())}, {}, {})
        journal.commit(
            {"000": report(0, 1, 0.6, 2), "001": report(1, 1, 0.8, 2)}, {"000": Verdict(kind="complete")}, {}
        )
        journal.reopen({"001": (trial(1), 2)})
    with SqliteJournal(tmp_path, {0: Allocation(num_cpus=1)}) as journal:  # another driver counts again
        begin(journal, 1)
        diverged = Verdict(kind="stop", reason="diverged: loss is nan after step 3", keeps_model=False)
        journal.commit({"001": report(1, 2, math.nan, 3)}, {"001": diverged}, {})
    assert metrics(tmp_path, "best/score") == {1: 0.9, 2: 0.8, 3: 0.6}
    assert metrics(tmp_path, "best/so_far") == {1: 0.9, 2: 0.9, 3: 0.9}
    assert metrics(tmp_path, "trials/running") == {1: 2.0, 2: 1.0, 3: 0.0}
    assert metrics(tmp_path, "trials/diverged") == {1: 0.0, 2: 0.0, 3: 1.0}
    assert metrics(tmp_path, "trials/complete") == {1: 0.0, 2: 1.0, 3: 1.0}


def test_members_of_a_mixed_sweep_do_not_compare(tmp_path: Path) -> None:
    with SqliteJournal(tmp_path, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(sweep("sqlite:///m.db"), (trial(0), replace(trial(1), member="other")))
        begin(journal, 0, 1)
        journal.commit({"000": report(0, 0, 0.9, 1), "001": report(1, 0, 0.7, 1)}, {}, {})
    assert metrics(tmp_path, "best/score/tiny") == {1: 0.9}
    assert metrics(tmp_path, "best/score/other") == {1: 0.7}
    assert metrics(tmp_path, "best/score") == {}


def test_the_learning_rate_is_a_metric_by_epoch_and_no_part_of_the_history(tmp_path: Path) -> None:
    with small_sweep(tmp_path, "sqlite:///m.db") as journal:
        epoch = Epoch(number=1, metrics={"val_accuracy": 0.5}, ended_s=1000.0, learning_rate=0.25)
        journal.commit(
            {"000": replace(report(0, 0), epoch=1, epochs=(epoch,))}, {"000": Verdict(kind="complete")}, ended(0)
        )
    with JournalReader(tmp_path) as reader:
        assert {row.key: row.value for row in reader.metrics("000")}["optimizer/learning_rate"] == 0.25
        assert reader.trial("000").metrics == {"val_accuracy": 0.5}
        assert [dict(one.metrics) for one in reader.reports("000")[0].epochs] == [{"val_accuracy": 0.5}]


def test_running_metrics_of_whole_epochs_are_known(tmp_path: Path) -> None:
    with small_sweep(tmp_path, "sqlite:///m.db") as journal:
        for turn, epoch in enumerate((1, 2, 0, 3, 4)):  # the third turn ends within an epoch
            done = epoch or 2
            journal.commit({"000": replace(report(0, turn, epoch=epoch), epoch=done)}, {}, {})
    with Ledger(tmp_path, HOME) as ledger:
        assert ledger.whole_turns("000", 1) == {1, 2, 5}
        assert ledger.whole_turns("000", 4) == {5}
        assert ledger.whole_turns("000", 5) == {5}


def test_samples_are_means_and_the_rest_comes_at_the_end(tmp_path: Path) -> None:
    looks, seen = iter([{"cpu": 10.0, "disk_mb": 1.0}, {"cpu": 20.0, "disk_mb": 2.0}]), threading.Event()

    def look() -> dict[str, float]:
        found = next(looks, None)
        if found is None:
            seen.set()
            time.sleep(60)  # is not waited for: `seen` ends the test's wait
        return found or {}

    sampler = UsageSampler(0.01, look, clock=iter([0.0, *[0.005] * 3, *[7.0] * 50]).__next__)
    sampler._thread = threading.Thread(target=sampler._run, daemon=True)
    sampler._thread.start()
    assert seen.wait(10)
    assert sampler.taken() == ()
    (sample,) = sampler.taken(with_rest=True)
    assert dict(sample.values) == {"cpu": 15.0, "disk_mb": 2.0}
    assert sampler.taken(with_rest=True) == ()


def test_samples_are_recorded_with_their_times_and_numbered_on(tmp_path: Path) -> None:
    waiting = [[Sample(taken_ms=5, values={"cpu": 1.0})], [Sample(taken_ms=6, values={"cpu": 2.0})], []]
    with SqliteJournal(tmp_path, {0: Allocation(num_cpus=1)}, samples=lambda _: waiting.pop(0)) as journal:
        journal.create(sweep("sqlite:///m.db"), (trial(0),))
        begin(journal, 0)
        journal.commit({"000": report(0, 0)}, {}, {})
        journal.end("killed")
    with JournalReader(tmp_path) as reader:
        found = [(row.step, row.value, row.timestamp_ms) for row in reader.sweep_metrics() if row.key == "system/cpu"]
    assert found == [(0, 1.0, 5), (1, 2.0, 6)]


def test_this_machine_can_be_sampled() -> None:
    with UsageSampler(0.05) as sampler:
        time.sleep(0.3)
        (*_, last) = sampler.taken(with_rest=True)
    assert 0 <= last.values["cpu_utilization_percentage"] <= 100
    assert last.values["system_memory_usage_megabytes"] > 0
    with UsageSampler(None) as none:
        assert none.taken(with_rest=True) == ()


def test_a_barrier_costs_the_same_however_many_epochs_and_trials_there_are(tmp_path: Path) -> None:
    def costs(folder: Path, others: int) -> list[int]:
        """Hundreds of sqlite's instructions for each barrier of one trial."""
        folder.mkdir()
        with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
            waiting = [replace(trial(0), id=f"{number:03d}") for number in range(1, others + 1)]
            journal.create(sweep("sqlite:///m.db"), (trial(0), *waiting))
            begin(journal, 0)
            found = []
            journal._open.set_progress_handler(lambda: found.append(1), 100)
            for turn in range(200):
                journal.commit({"000": report(0, turn, 0.5 + turn % 7, turn + 1)}, {}, {})
                found.append(0)
            text = "".join(map(str, found))
            return [len(part) for part in text.split("0")]

    alone, among_many = costs(tmp_path / "a", 0), costs(tmp_path / "b", 300)
    assert sum(alone[150:]) < 1.3 * sum(alone[50:100])
    assert sum(among_many[10:]) < 1.3 * sum(alone[10:])
    assert metrics(tmp_path / "a", "best/so_far")[200] == 6.5

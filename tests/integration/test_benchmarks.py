"""Each part of the benchmark still measures what it names: run short, and the parts that train only on request."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import benchmarks.cases
from benchmarks import commits
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.cases import plan
from benchmarks.gpu.measuring import in_process, measure
from benchmarks.parts import NotMeasuredError, barrier, control, logging, memory, rotation, startup, turns
from runner.journal.standing import Standing
from runner.records import Report, Turn

PARTS = {
    "control": (control, {"round_ms_2"}),
    "startup": (startup, {"first_round_s", "ratio"}),
    "barrier": (barrier, {"tax", "lockstep_s", "apart_s"}),
    "logging": (logging, {"tax", "sweep_rows_per_s", "idle_rows_per_s"}),
    "rotation": (rotation, {"swap_share_W1", "swap_share_W2"}),
    "turns": (turns, {"ratio_W1", "swap_share_W1", "ratio_W3", "swap_share_W3"}),
    "memory": (memory, {"copies"}),
}
SHORT = ("barrier", "control", "logging")


def test_every_part_is_tried_here() -> None:
    assert set(PARTS) == set(benchmarks.cases.PARTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name in SHORT else pytest.param(name, marks=pytest.mark.exhaustive) for name in PARTS]
)
def test_a_part_measures_what_it_names(name: str) -> None:
    part, expected = PARTS[name]
    numbers = part.measure("short")
    assert set(numbers) >= expected
    assert all(numbers[key] == numbers[key] for key in expected), "no value is NaN"


@pytest.mark.exhaustive
def test_every_way_to_share_a_gpu_is_rehearsed_on_a_cpu(tmp_path: Path) -> None:
    cases = [one for one in plan(on_cpu=True, workloads=["W1"]) if one.how != "MPS"]
    rows = list(measure(cases, Budget(280), in_process(0.2, tmp_path / "timings.json", {})))
    assert all(isinstance(row, dict) and row.get("steps_per_s", 0) > 0 for row in rows), rows
    assert [row["slots"] for row in rows if isinstance(row, dict) and row["how"] != "fit"] == [1, 1, 2]


def test_commits_are_measured_with_and_without_the_sweeps_own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[float] = []
    real = Standing.metrics
    monkeypatch.setattr(Standing, "metrics", lambda *of: called.append(1.0) or real(*of))
    found = commits.measure(trials=2, rounds=3)
    assert min(found.without_ms, found.with_ms) > 0
    assert len(called) == 3, "of one of the two journals alone"


def test_turns_that_swap_nothing_and_epochs_that_are_no_turns_are_noticed() -> None:
    rotation.check_swaps([1e-3, 2e-3], expected=2)
    with pytest.raises(NotMeasuredError, match="1 of 2 turns swapped, not 2"):
        rotation.check_swaps([1e-3, 1e-6], expected=2)
    with pytest.raises(NotMeasuredError, match="1 of 1 turns swapped, not 2"):
        rotation.check_swaps([1e-3], expected=2)
    barrier.check_turns(4, expected=4)
    with pytest.raises(NotMeasuredError, match="2 turns, not 4"):
        barrier.check_turns(2, expected=4)


def test_real_workers_in_the_control_part_are_noticed() -> None:
    turn = Turn(pid=os.getpid(), started_s=0.0, ended_s=1.0, compute_s=1.0)
    report = Report(trial_id="000", round=0, step=1, epoch=0, running={}, epochs=(), turn=turn)
    with pytest.raises(NotMeasuredError, match=f"control: processes .{os.getpid()}. reported"):
        control.Clock().show({"000": report}, {})

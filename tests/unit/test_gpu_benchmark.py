"""The benchmark of models that share a GPU: its order, its time, its figures, its page and its archive."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.gpu import pack, summary
from benchmarks.gpu.aims import AIMS, verdicts
from benchmarks.gpu.budget import Budget
from benchmarks.gpu.cases import IN_PROCESSES, WAYS, Case, case, passes, plan
from benchmarks.gpu.energy import EnergyCounter
from benchmarks.gpu.figures import figures
from benchmarks.gpu.measuring import Skipped, in_process, measure
from benchmarks.gpu.sweep import config_of, in_one_worker, with_short_turns
from benchmarks.gpu.window import Window
from runner.driver import machines
from runner.driver.prepare import prepare
from runner.placement import Gpu, Machine
from runner.records import Mps

ABOUT = {
    "gpu": "NVIDIA A10", "memory_mib": 24_000, "driver": "580", "mps": "own: ", "cpus": 16, "on_cpu": False,
    "seconds": 3, "date": "2026-11-28", "versions": {"tensorflow": "2.21.0"},
}  # fmt: skip


class Clock:
    """A clock that only moves when it is pushed."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def row(workload: str, how: Any, models: int, steps_per_s: float, **more: Any) -> dict[str, Any]:
    measured = {"steps_per_s": steps_per_s, "joules_per_step": 2e-4, "gpu_peak_mib": 11.0, "start_s": 4.0}
    return {**case(workload, how, models).identity, "compile": "xla", "run": 0, "wall_s": 20.0, **measured, **more}


def test_the_plan_has_every_way_and_begins_with_what_the_aims_need() -> None:
    cases = plan()
    assert {one.how for one in cases} == set(WAYS)
    assert {one.models for one in cases if one.workload == "W1"} == {1, 8, 64, 256}
    for workload in ("W3", "W4"):
        assert {one.models for one in cases if one.workload == workload and one.how != "fit"} == {8, 64}
    assert {one.models for one in cases if one.how in ("time slicing", "MPS")} == {8}
    needed = {("W1", "stacked", 64), ("W1", "MPS", 8), ("W1", "fit", 1), ("W9", "in turns", 2), ("W9", "fit", 1)}
    assert needed <= {(one.workload, one.how, one.models) for one in cases[:10]}
    assert all(not one.gpu for one in plan(on_cpu=True))
    assert {one.how for one in plan(on_cpu=True)} == set(WAYS)


def test_every_other_pass_has_its_blocks_in_reverse() -> None:
    cases = (case("W1", "fit", 1), case("W1", "stacked", 64), case("W9", "fit", 1), case("W9", "in turns", 2))
    order = [(number, one.workload, one.how) for number, one in passes(cases, 2)]
    assert order[:4] == [(0, "W1", "fit"), (0, "W1", "stacked"), (0, "W9", "fit"), (0, "W9", "in turns")]
    assert order[4:] == [(1, "W1", "stacked"), (1, "W1", "fit"), (1, "W9", "in turns"), (1, "W9", "fit")]


def test_what_does_not_fit_into_the_time_is_skipped_and_named(clock: Clock) -> None:
    limits: list[float] = []

    def run(one: Case, limit_s: float) -> dict[str, Any]:
        limits.append(limit_s)
        clock.now += 100 if one.how == "stacked" else 20
        return {"steps_per_s": 1.0}

    cases = [case("W1", "fit", 1), case("W1", "stacked", 64), case("W3", "stacked", 8), case("W3", "fit", 1)]
    found = list(measure(cases, Budget(200, clock), run, repeats=2, clock=clock))
    rows = [one for one in found if isinstance(one, dict)]
    assert [(one["workload"], one["how"], one["run"]) for one in rows] == [
        ("W1", "fit", 0), ("W1", "stacked", 0), ("W3", "fit", 0), ("W1", "fit", 1), ("W3", "fit", 1),
    ]  # fmt: skip
    assert [one for one in found if isinstance(one, Skipped)] == [
        Skipped(case=cases[2], run=0, why="80 s left, and it takes about 100 s")
    ]
    assert limits == [60, 60, 60, 60, 40]
    assert [one["wall_s"] for one in rows] == [20, 100, 20, 20, 20]


def test_what_a_machine_cannot_do_is_skipped_once_with_the_reason(clock: Clock) -> None:
    found = list(
        measure([case("W1", "MPS", 8)], Budget(99, clock), lambda *_: pytest.fail("run"), 2, lambda _: "no MPS", clock)
    )
    assert found == [Skipped(case=case("W1", "MPS", 8), run=0, why="no MPS")]


def test_a_failed_case_is_a_row_and_says_nothing_about_time(clock: Clock) -> None:
    budget = Budget(100, clock)
    (found,) = measure([case("W1", "fit", 1)], budget, lambda *_: {"error": "boom"}, clock=clock)
    assert isinstance(found, dict)
    assert found["error"] == "boom"
    assert budget.expected_s(case("W1", "fit", 1)) == 30


@pytest.fixture
def other_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A Python that does what `does` says instead of measuring."""
    program = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(program))
    return program


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo noise; echo 'RESULT {\"steps_per_s\": 5}'", {"steps_per_s": 5}),
        ("echo no luck >&2; exit 3", {"error": "ended with 3: no luck\n"}),
    ],
)
def test_a_case_is_a_process(other_python: Path, tmp_path: Path, script: str, expected: dict[str, Any]) -> None:
    other_python.write_text(f"#!/bin/sh\n{script}\n")
    other_python.chmod(0o755)
    assert in_process(3, tmp_path / "timings.json", {})(case("W1", "fit", 1), 0.5) == expected


def test_a_case_that_takes_too_long_is_ended_and_skipped(other_python: Path, tmp_path: Path, clock: Clock) -> None:
    other_python.write_text("#!/bin/sh\necho $$ >pid\nexec sleep 60\n")
    other_python.chmod(0o755)
    budget = Budget(30, clock)
    run = in_process(3, tmp_path / "timings.json", {})
    found = list(measure([case("W1", "fit", 1)], budget, lambda one, _: run(one, 0.5), clock=clock))
    why = "ended after 1 s, because its time was over"
    assert found == [Skipped(case=case("W1", "fit", 1), run=0, why=why)]
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()


def nvml(answers: list[float] | None) -> Any:
    """The driver's library; None for a GPU without a counter of energy."""

    class NotSupportedError(Exception):
        pass

    def read(handle: str) -> float:
        assert handle == "handle of GPU-a"
        if answers is None:
            raise NotSupportedError
        return answers.pop(0)

    return SimpleNamespace(
        NVMLError_NotSupported=NotSupportedError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: f"handle of {uuid}",
        nvmlDeviceGetTotalEnergyConsumption=read,
    )


def test_a_window_has_the_time_and_the_energy_between_its_marks(clock: Clock) -> None:
    with EnergyCounter("GPU-a", nvml([5_000, 6_000, 9_000])) as energy:
        window = Window(3.0, energy.read_j, clock)
        with pytest.raises(ValueError, match="0 marks: nothing was measured"):
            _ = window.seconds
        window.mark()
        clock.now = 2.0
        window.mark()
        assert not window.is_full
        clock.now = 4.0
        window.mark()
    assert window.is_full
    found = figures(window, steps=800, before_s=10.0, steps_before=400, gpu_peak_mib=11.26, compile="xla")
    assert found == {
        "steps_per_s": 200.0, "seconds": 4.0, "steps": 800, "joules_per_step": 4 / 800, "gpu_peak_mib": 11.3,
        "start_s": 8.0, "compile": "xla",
    }  # fmt: skip


@pytest.mark.parametrize("uuid", [None, "GPU-a"])
def test_energy_is_unknown_without_a_counter(clock: Clock, uuid: str | None) -> None:
    with EnergyCounter(uuid, nvml(None)) as energy:
        window = Window(1.0, energy.read_j, clock)
        window.mark()
        clock.now = 1.0
        window.mark()
    found = figures(window, steps=8, before_s=0.0, steps_before=400, gpu_peak_mib=None)
    assert found["joules_per_step"] is None
    assert found["start_s"] == 0.0


def test_aims_are_met_missed_or_not_measured() -> None:
    rows = [
        row("W1", "fit", 1, 4_000), row("W1", "fit", 1, 6_000), row("W1", "stacked", 64, 100_000),
        {**case("W1", "MPS", 8).identity, "error": "boom"},
        row("W3", "fit", 1, 100), row("W3", "MPS", 8, 310), row("W3", "stacked", 8, 20),
        row("W9", "fit", 1, 100), row("W9", "in turns", 2, 90),
    ]  # fmt: skip
    found = verdicts(rows)
    assert len(found) == len(AIMS)
    assert found[0].endswith(": 20, aimed at 20: met")
    assert found[1].endswith(": not measured (aimed at 4)")
    assert found[2].endswith(": 3.1, aimed at 3: met")
    assert found[3].endswith(": 0.9, aimed at 0.95: **missed**")


def test_the_page_names_the_device_the_medians_what_failed_and_what_was_skipped(tmp_path: Path) -> None:
    rows = [
        row("W1", "stacked", 64, 90_000), row("W1", "stacked", 64, 110_000), row("W1", "fit", 1, 5_000),
        {**case("W3", "fit", 1).identity, "error": "Traceback\nValueError: boom\n"},
    ]  # fmt: skip
    skipped = [Skipped(case=case("W4", "MPS", 8), run=0, why="MPS cannot be had: no control program")]
    as_json, page = summary.write(tmp_path / "out", ABOUT, rows, skipped)
    text = page.read_text()
    assert text.startswith("On one NVIDIA A10 (24,000 MiB, driver 580), 16 CPUs; tensorflow 2.21.0. 2026-11-28.\n")
    lines = text.splitlines()
    assert "| MLP 20-64-64-1, batch 32 | 1 | tuned fit | xla | 5,000 | 1 | 11 | 0.2 | 4 |" in lines
    assert (
        "| MLP 20-64-64-1, batch 32 | 64 | stacked | xla | 100,000 (90,000 to 110,000) | 20 | 11 | 0.2 | 4 |" in lines
    )
    assert "- W3 K=1 fit: ValueError: boom" in lines
    assert "- W4 K=8 MPS: MPS cannot be had: no control program" in lines
    content = json.loads(as_json.read_text())
    assert content["rows"] == rows
    assert content["skipped"][0]["why"].startswith("MPS")
    assert len(content["aims"]) == len(AIMS)


def test_a_rehearsal_says_so_and_has_no_aims(tmp_path: Path) -> None:
    rows = [row("W1", "fit", 1, 5_000, joules_per_step=None, gpu_peak_mib=None)]
    as_json, page = summary.write(tmp_path, {**ABOUT, "on_cpu": True}, rows, [])
    assert page.read_text().startswith("**Rehearsal on 16 CPUs")
    assert "Aims" not in page.read_text()
    assert "| xla | 5,000 | 1 |  |  | 4 |" in page.read_text()
    assert json.loads(as_json.read_text())["aims"] == []


def test_the_archive_has_the_tracked_files_and_a_script_that_goes_on_after_failures(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    clone.mkdir()
    for name in ("tracked.py", "removed.py", "stray.py"):
        (clone / name).write_text("1\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "tracked.py", "removed.py"], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], cwd=clone, check=True)
    (clone / "removed.py").unlink()
    with tarfile.open(pack.write(tmp_path / "out", clone)) as archive:
        assert sorted(archive.getnames()) == [f"{pack.NAME}/{name}" for name in ("COMMIT", "run.sh", "tracked.py")]
        archive.extractall(tmp_path / "there", filter="data")
    folder = tmp_path / "there" / pack.NAME
    assert (folder / "COMMIT").read_text().endswith("-dirty\n")
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$@"\ncase "$*" in *doctor*) exit 3;; esac\n')
    python.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(python), "OUT": str(tmp_path / "results")}
    done = subprocess.run(
        ["sh", str(folder / "run.sh"), "--on-cpu"], env=environment, capture_output=True, text=True, check=False
    )
    results = tmp_path / "results"
    assert done.returncode == 1, done.stderr
    codes = [line.split(" after")[0] for line in (results / "stages.txt").read_text().splitlines()]
    assert codes == ["doctor: exit code 3", "benchmark: exit code 0", "tests: exit code 0"]
    assert (results / "benchmark.txt").read_text() == f"-m benchmarks.gpu --out {results} --on-cpu\n"
    assert (results / "commit.txt").read_text() == (folder / "COMMIT").read_text()


def test_only_a_clone_is_packed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="only a clone"):
        pack.write(tmp_path, tmp_path)


@pytest.mark.parametrize("one", [one for one in plan(workloads=["W1"]) if one.how != "fit"], ids=lambda one: one.label)
def test_each_way_has_its_workers_and_its_part_of_the_card(monkeypatch: pytest.MonkeyPatch, one: Case) -> None:
    gpu = Gpu(id="0", uuid="GPU-a", name="NVIDIA A10", memory_mib=24_000, free_mib=23_000)
    there = Machine(cpus=16, memory_mib=100_000, gpus=(gpu,), mps=Mps(kind="own", reason="no daemon serves yet"))
    monkeypatch.setattr(machines, "this_machine", lambda: there)
    prepared = prepare(config_of(one))
    assert not prepared.to_probe, "a probe would take as long as the measurement"
    assert len(prepared.trials) == one.models
    if one.how in IN_PROCESSES:
        found = {(slot.allocation.num_gpus, slot.allocation.mps) for slot in prepared.slots}
        assert found == {(0.125, "own" if one.how == "MPS" else "off")}
        assert len(prepared.slots) == 8
    else:
        (slot,) = in_one_worker(prepared).slots
        assert (slot.allocation.places, slot.allocation.num_gpus, slot.allocation.mps) == (one.models, 1, "off")


@pytest.mark.parametrize(("models", "steps", "epochs"), [(1, None, 2), (2, None, 1), (8, 750, 1), (64, 93, 1)])
def test_rounds_of_turns_are_short_however_many_trials(make_trial: Any, models: int, steps: Any, epochs: int) -> None:
    """An epoch of 1,000 steps; `auto` has found that four of them, or 4,000 steps, take half a second to a second."""
    one = case("W1", "in turns", models)
    one = replace(one, rows=1_000 * one.batch_size)
    trial = make_trial()
    trial = replace(trial, train=replace(trial.train, steps_per_round=None, epochs_per_round=2 if models < 3 else 4))
    found = with_short_turns(trial, one).train
    assert (found.steps_per_round, found.epochs_per_round) == (steps, epochs)

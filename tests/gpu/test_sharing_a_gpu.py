"""What only a real GPU shows: limits hold, memory comes back, its peak is recorded, sharing gains speed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.budget import Budget
from benchmarks.gpu.cases import Case, case
from benchmarks.gpu.measuring import in_process, measure
from runner.driver.machines import with_mps
from runner.fleet.ray.fleet import RayFleet
from runner.host.inventory import gpu_use, gpus_of, this_machine
from runner.host.mps import PIPES, clients_of
from runner.host.mps_daemon import MpsDaemon
from runner.placement import Request, plan_slots
from runner.records import Failure, Mps, Report, Slot, Trial, Work

pytestmark = pytest.mark.gpu
SLACK_MIB = 64  # that others on the card may take or give back meanwhile
WIDE = """
import keras, numpy as np
def load_data():
    x = np.random.default_rng(0).normal(size=(256, 1000)).astype("float32")
    return (x, x), (x, x)
def build_model(units=1):
    model = keras.Sequential([keras.layers.Dense(units), keras.layers.Dense(1000)])
    model.compile("adam", "mse")
    return model
"""
"""A weight takes 16 bytes: itself, its gradient and Adam's two moments."""


@pytest.fixture
def trial(make_trial: Any, tmp_path: Path) -> Any:
    path = tmp_path / "wide.py"
    path.write_text(WIDE)

    def made(name: str, units: int) -> Trial:
        args = {"path": path, "data_params": (), "model_params": ("units",)}
        return make_trial(id=name, params={"units": units}, epochs=3, **args)  # type: ignore[no-any-return]

    return made


@contextmanager
def fleet_of(**request: Any) -> Iterator[tuple[RayFleet, tuple[Slot, ...]]]:
    """Workers on the first GPU."""
    machine = this_machine()
    machine = replace(machine, gpus=machine.gpus[:1])
    slots = plan_slots(Request(**request), machine, trials=request.get("max_concurrent", 3))
    with RayFleet(slots, address=None, cpus=machine.cpus) as fleet:
        yield fleet, slots


def turn(fleet: RayFleet, trials: list[Trial], number: int = 0) -> dict[str, Report | Failure]:
    return dict(fleet.advance({slot: (Work(trial=trial, round=number),) for slot, trial in enumerate(trials)}))


def test_a_model_beyond_its_limit_is_out_of_memory_and_its_neighbour_does_not_notice(trial: Any) -> None:
    with fleet_of(gpu_memory_mib=1_000, max_concurrent=2) as (fleet, _):
        small = trial("000", 100)
        found = turn(fleet, [small, trial("001", 100_000)])
        failure = found["001"]
        assert isinstance(failure, Failure), failure
        assert failure.kind == "oom"
        assert "of a limit of 1000 MiB of GPU memory" in failure.message
        after = turn(fleet, [small], 1)["000"]
        fleet.replace({0: None})
        alone = turn(fleet, [small])["000"], turn(fleet, [small], 1)["000"]
        for with_neighbour, by_itself in zip((found["000"], after), alone, strict=True):
            assert isinstance(with_neighbour, Report)
            assert isinstance(by_itself, Report)
            assert with_neighbour.epochs[-1].metrics == pytest.approx(by_itself.epochs[-1].metrics, rel=1e-5)


def test_three_thirds_train_together_within_their_limits_and_their_memory_comes_back(trial: Any) -> None:
    name = gpus_of(os.environ)[0].id
    before = gpu_use([name])[name]
    with fleet_of(num_gpus=0.33, max_concurrent=3) as (fleet, slots):
        reports = turn(fleet, [trial(f"{i:03}", 1_000) for i in range(3)])
        for slot, report in zip(slots, reports.values(), strict=True):
            assert isinstance(report, Report), report
            assert 0 < report.turn.gpu_memory_mib <= (slot.allocation.gpu_memory_mib or 0)
        during = gpu_use([name])[name]
        shares = [(s.allocation.gpu_memory_mib or 0) + s.allocation.gpu_overhead_mib for s in slots]
        assert before.free_mib - during.free_mib <= sum(shares) + SLACK_MIB
        if all(d.pid in during.processes for d in fleet.devices.values()):  # in a container the driver counts others
            assert all(during.processes[d.pid] <= max(shares) + SLACK_MIB for d in fleet.devices.values()), during
        fleet.retire(2)
        returned = gpu_use([name])[name].free_mib - during.free_mib
        assert returned >= (slots[2].allocation.gpu_memory_mib or 0) - SLACK_MIB
    assert gpu_use([name])[name].free_mib >= before.free_mib - SLACK_MIB


def test_a_stack_without_memory_says_so_and_a_smaller_one_trains_in_the_worker_that_follows(trial: Any) -> None:
    """A model takes about 60 MiB of a limit of 1,000, and a stack has its variables twice while it computes."""
    with fleet_of(gpu_memory_mib=1_000, max_concurrent=1) as (fleet, _):
        alike = [trial(f"{i:03}", 2_500) for i in range(8)]
        made = [replace(one, train=replace(one.train, compile="xla", stack=8)) for one in alike]
        found = fleet.advance({0: tuple(Work(trial=one, round=0) for one in made)})
        assert {answer.kind if isinstance(answer, Failure) else "trained" for answer in found.values()} == {"oom"}
        fleet.replace({0: None})
        found = fleet.advance({0: tuple(Work(trial=one, round=0, stack=2) for one in made)})
        assert all(isinstance(answer, Report) for answer in found.values()), found


def test_workers_are_clients_of_the_daemon_that_a_sweep_starts(trial: Any) -> None:
    machine = this_machine()
    if machine.mps.kind != "own":
        pytest.skip(f"no daemon of its own can be started here: {machine.mps.reason}")
    machine = with_mps(replace(machine, gpus=machine.gpus[:1]), machine.mps)
    slots = plan_slots(Request(num_gpus=0.5), machine, trials=2)
    assert {(slot.allocation.mps, slot.allocation.mps_thread_percentage) for slot in slots} == {("own", 50)}
    daemon = MpsDaemon()
    pipes = daemon.start(machine.gpus)
    try:
        with RayFleet(slots, address=None, cpus=machine.cpus, environment={PIPES: pipes}) as fleet:
            reports = turn(fleet, [trial(f"{i:03}", 100) for i in range(2)])
            pids = {report.turn.pid for report in reports.values() if isinstance(report, Report)}
            assert pids == clients_of(pipes, os.environ), reports
    finally:
        daemon.end()
    assert clients_of(pipes, os.environ) is None
    assert not Path(pipes).parent.exists()


def measured(folder: Path, *cases: Case) -> list[dict[str, Any]]:
    """Rows of the benchmark, which are printed too."""
    run = in_process(seconds=2.0, timings=folder / "timings.json", environment={})
    rows = [found for found in measure(cases, Budget(600), run) if isinstance(found, dict)]
    print(json.dumps(rows, indent=1))
    assert not [row["error"] for row in rows if "error" in row]
    return rows


def test_turns_and_stacks_are_not_slower_than_one_model_after_another(tmp_path: Path) -> None:
    """Rates of all models together; `python -m benchmarks.gpu` has the rest."""
    cases = case("W1", "fit", 1), case("W1", "in turns", 1), case("W1", "in turns", 8), case("W1", "stacked", 8)
    fit, alone, turns, stacked = measured(tmp_path, *cases)
    assert turns["steps_per_s"] > 0.95 * max(fit["steps_per_s"], alone["steps_per_s"]), (fit, alone, turns)
    assert turns["swap_share"] < 0.02, turns
    assert stacked["steps_per_s"] > turns["steps_per_s"], (turns, stacked)
    assert 0 < fit["gpu_peak_mib"] < 500


def test_processes_that_share_the_card_are_measured_with_and_without_mps(tmp_path: Path) -> None:
    slicing = (case("W1", "time slicing", 4),)
    through_mps = (case("W1", "MPS", 4),) if this_machine().mps else ()
    rows = measured(tmp_path, *slicing, *through_mps)
    assert all(row["slots"] == 4 and row["steps_per_s"] > 0 for row in rows)


def test_states_that_wait_are_on_the_card_as_far_as_their_part_of_the_limit_goes(trial: Any) -> None:
    """Four trials in one worker; the states of three wait: 23 MiB each, a weight and two moments."""
    machine = this_machine()
    machine = replace(machine, gpus=machine.gpus[:1], mps=Mps(kind="off"))
    trials = [trial(f"{i:03}", 1_000 + i) for i in range(4)]  # of different sizes, so that no variables are shared
    peaks = []
    for places in (4, 1):
        (slot,) = plan_slots(Request(), machine, trials=4, need_mib=100)
        slots = (replace(slot, allocation=replace(slot.allocation, places=places)),)
        with RayFleet(slots, address=None, cpus=machine.cpus) as fleet:
            for number in range(2):
                reports = fleet.advance({0: tuple(Work(trial=one, round=number) for one in trials)})
            assert all(isinstance(report, Report) for report in reports.values()), reports
            peaks.append(max(report.turn.gpu_memory_mib for report in reports.values()))  # type: ignore[union-attr]
    assert peaks[0] > peaks[1] + 60, "without places they wait in host memory"

"""Trials that take turns in one worker, wherever their states wait, give the numbers that they give alone."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from moments import EXPERIMENT, Result, moments, photographer, resumed, sweep
from test_snapshots import advance, numbers, weights

from runner.config import load_config
from runner.driver import prepare as preparation
from runner.driver import resume as resuming
from runner.driver.slots_text import advice, slot_lines
from runner.journal import JournalReader
from runner.placement import plan_on_nodes
from runner.records import Allocation, Report, Trial, Work

pytestmark = pytest.mark.usefixtures("tensorflow")

# Models of one architecture, which share a trace, and others: with variables of every kind, sparse updates, no graph.
CASES = ("dropout_mlp", "dropout_mlp", "transformer", "run_eagerly")
ROUNDS = 4
Numbers = tuple[list[Any], tuple[bytes, bytes]]


@pytest.fixture(scope="module")
def trials(make_trial: Any) -> list[Trial]:
    return [
        make_trial(
            case, id=f"{seed:03}", seed=seed, epochs=2, steps_per_round=2, compile="xla" if seed < 2 else "graph"
        )
        for seed, case in enumerate(CASES)
    ]


@pytest.fixture(scope="module")
def alone(trials: list[Trial]) -> dict[str, Numbers]:
    """What each trial gives in a worker of its own."""
    from runner.worker.worker import Worker

    found: dict[str, Numbers] = {}
    for trial in trials:
        worker = Worker()
        reports = [numbers(advance(worker, Work(trial=trial, round=number))) for number in range(ROUNDS)]
        found[trial.id] = reports, weights(worker, trial)
    return found


@pytest.mark.parametrize(
    "waiting_mib",
    [pytest.param(0, id="in host memory"), pytest.param(None, id="on the device", marks=pytest.mark.slow)],
)
def test_trials_in_turns_give_the_numbers_that_they_give_alone(
    waiting_mib: int | None, trials: list[Trial], alone: dict[str, Numbers]
) -> None:
    from runner.worker.worker import Worker

    worker = Worker(waiting_mib=waiting_mib)
    loaded = [worker.load(trial) for trial in trials]
    reports: dict[str, list[Any]] = {trial.id: [] for trial in trials}
    for number in range(ROUNDS):
        for trial_id, report in worker.advance([Work(trial=trial, round=number) for trial in trials], loaded).items():
            assert isinstance(report, Report), report
            reports[trial_id].append(numbers(report))
        assert worker.snapshot(trials).keys() == reports.keys(), "which needs every state"
    for trial in trials:
        assert (reports[trial.id], weights(worker, trial)) == alone[trial.id], trial.params


def test_states_beyond_their_part_of_the_gpu_wait_in_host_memory() -> None:
    from runner.worker.seats import Seats

    freed: list[str] = []
    seats = Seats(waiting_mib=2)
    for name in "abcd":
        free = lambda name=name: freed.append(name)  # noqa: E731
        engine = SimpleNamespace(nbytes=2**20)
        seats.add(SimpleNamespace(trial=SimpleNamespace(id=name), engine=engine, free_device=free))  # type: ignore[arg-type]
    seats.make_room("a")
    assert freed == ["d"]
    freed.clear()
    assert seats.alone("d").trial.id == "d"
    assert freed == ["c"]


# --- Whole sweeps -----------------------------------------------------------------------------------------------------

SETTINGS = (
    "fleet.kind=local", "name=s", "search.space={}", "params.units=8,16", "params.dropout=0.2", "seed=0,1",
    "train.epochs=3", "train.compile=graph", "train.steps_per_round=30",
)  # fmt: skip
NEED_MIB = 6_000
MIB = 2**20


class NVMLError(Exception):
    pass


def untold(handle: str) -> Any:
    """What a device may not tell."""
    raise NVMLError


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that shows a GPU to the plan; models of a known peak; TensorFlow trains on the CPU all the same."""
    from runner.worker import startup

    stand_in = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: "GPU-0",
        nvmlDeviceGetUUID=lambda handle: handle,
        nvmlDeviceGetName=lambda handle: "NVIDIA A10",
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=24_256 * MIB, free=24_256 * MIB, used=0),
        nvmlDeviceGetMigMode=untold,
        nvmlDeviceGetUtilizationRates=untold,
        nvmlDeviceGetPowerUsage=untold,
    )
    monkeypatch.setitem(sys.modules, "pynvml", stand_in)
    monkeypatch.setattr("runner.host.cgroups.cpus", lambda: None)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: range(8))

    def planned(request: Any, machines: Any, count: int, need_mib: float | None = None) -> Any:
        return plan_on_nodes(request, machines, count, NEED_MIB)

    for module in (preparation, resuming):
        monkeypatch.setattr(module, "plan_on_nodes", planned)
    configure = startup.configure

    def on_the_cpu(allocation: Allocation) -> Any:
        device = configure(replace(allocation, gpus=(), num_gpus=0.0, gpu_memory_mib=None))
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # of which this process has none for TensorFlow
        return device

    monkeypatch.setattr(startup, "configure", on_the_cpu)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")


@pytest.mark.usefixtures("one_gpu")
def test_what_is_in_effect_and_why_is_said_before_a_sweep() -> None:
    prepared = preparation.prepare(load_config(str(EXPERIMENT), SETTINGS, config_dir=None))
    (text,) = advice(prepared)
    assert text.startswith("GPU 0: its 3 trials take turns in one worker, since MPS is unavailable: ")
    first, *sums = slot_lines(prepared)
    assert first.startswith("1 slot on the local fleet for 3 trials in turns, each 1 CPU")
    assert sums[1].startswith("  GPU 0: no MPS, so that it has one worker, in which 3 trials take turns; each has 7766")
    other = preparation.prepare(
        load_config(str(EXPERIMENT), [*SETTINGS, "resources.max_concurrent=1"], config_dir=None)
    )
    assert advice(other) == ()
    assert "turns" not in " ".join(slot_lines(other))


def went(folder: Path, patch: pytest.MonkeyPatch, *settings: str, photos: bool = False) -> tuple[Result, Path]:
    """What a sweep came to, and its folder."""
    folder.mkdir()
    patch.chdir(folder)
    swept = sweep(folder, (*SETTINGS, *settings), photographer(folder) if photos else None)
    return Result.of(swept), swept


def places_and_turns(folder: Path) -> tuple[set[int], list[str]]:
    with JournalReader(folder) as reader:
        places = {record.allocation.places for record in reader.trials() if record.allocation is not None}
        return places, [turn.trial for turn in reader.turns()]


@pytest.mark.slow
@pytest.mark.usefixtures("one_gpu")
def test_a_sweep_in_turns_gives_what_one_after_another_gives_and_goes_on_after_its_driver_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, one_by_one = went(tmp_path / "alone", monkeypatch, "resources.max_concurrent=1")
    result, in_turns = went(root := tmp_path / "root", monkeypatch, photos=True)
    places, turns = places_and_turns(one_by_one)
    assert (places, turns[:4]) == ({1}, ["000"] * 4)
    places, turns = places_and_turns(in_turns)
    assert (places, turns[:4]) == ({3}, ["000", "001", "002", "000"])
    assert (result.trials, result.metrics, result.weights) == (alone.trials, alone.metrics, alone.weights)
    moment = moments(root)[3]
    monkeypatch.chdir(moment)
    again = resumed(moment, root)
    assert places_and_turns(again)[0] == {3}
    assert Result.of(again) == result

"""Memory that runs out, for real: an allocation that fails under a limit, a process that the kernel ends."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_fleets import of_trial, run

from runner.fleet.ray.fleet import RayFleet
from runner.loop.slots import Shares
from runner.placement import WORKER_MIB, Machine, Request, plan_slots
from runner.records import Failure, Work

CPUS, LIMIT, MORE = 2, 100, 1_500
MACHINE = Machine(cpus=CPUS, memory_mib=16_000, free_memory_mib=1024 + 2 * (LIMIT + WORKER_MIB) + MORE)
SLOTS = plan_slots(Request(memory_mib=LIMIT, max_concurrent=2), MACHINE, trials=2)
CGROUPS = Path("/sys/fs/cgroup/memory")
WIDE = """
import keras, numpy as np
def load_data():
    x = np.random.default_rng(0).normal(size=(64, 500)).astype("float32")
    return (x, x), (x, x)
def build_model(units=1):
    model = keras.Sequential([keras.layers.Dense(units), keras.layers.Dense(500)])
    model.compile("adam", "mse")
    return model
"""
"""A weight takes 16 bytes: itself, its gradient and Adam's two moments."""


@pytest.fixture(scope="module")
def ray_fleet() -> Iterator[RayFleet]:
    with RayFleet(SLOTS, address=None, cpus=CPUS) as fleet:
        yield fleet


@pytest.fixture
def trials(make_trial: Any, tmp_path: Path) -> Any:
    (tmp_path / "wide.py").write_text(WIDE)

    def made(units: dict[str, int], **train: Any) -> list[Any]:
        args = {"path": tmp_path / "wide.py", "data_params": (), "model_params": ("units",)}
        settings = {"epochs": 3, "batch_size": 8, "steps_per_round": 4, **train}
        return [make_trial(id=name, params={"units": width}, **args, **settings) for name, width in units.items()]

    return made


@pytest.mark.ray
@pytest.mark.slow
def test_a_trial_beyond_its_limit_goes_on_under_a_larger_one_and_one_beyond_that_fails(
    trials: Any, ray_fleet: RayFleet, tmp_path: Path
) -> None:
    """Its sibling has one worker, and the numbers that it has alone."""
    found = run(
        ray_fleet, trials({"000": 10_000, "001": 8}), tmp_path / "a", SLOTS, shares=Shares(SLOTS, {"": MACHINE})
    )
    assert {name: trial.reason for name, trial in found["trials"].items()} == {"000": "", "001": ""}
    assert {name: trial.status for name, trial in found["trials"].items()} == {"000": "complete", "001": "complete"}
    assert found["incidents"] == {"000": 1, "001": 0}
    assert found["trials"]["000"].allocation.memory_mib == LIMIT + MORE
    assert found["trials"]["001"].allocation.memory_mib == LIMIT
    assert len({turn.turn.pid for turn in found["turns"] if turn.trial == "001"}) == 1

    free = run(ray_fleet, trials({"002": 10_000, "003": 8}), tmp_path / "b", SLOTS)
    assert of_trial(found, "000") == of_trial(free, "002")
    assert of_trial(found, "001") == of_trial(free, "003")

    beyond = run(ray_fleet, trials({"004": 200_000}), tmp_path / "c", SLOTS)["trials"]["004"]
    assert beyond.status == "failed"
    assert beyond.reason.startswith("oom: asked for 381 MiB, ")
    assert f"MiB free of a limit of {LIMIT + MORE} MiB of host memory; " in beyond.reason
    assert "OOM when allocating tensor" in beyond.reason


def make_group() -> Path:
    """A control group whose memory the kernel limits; needs root and the first version of control groups."""
    group = CGROUPS / f"lockstep-runner-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(400 * 2**20))
    except OSError as err:
        pytest.skip(f"no control group can be made here: {err}")
    return group


@pytest.fixture
def group() -> Iterator[Path]:
    made = make_group()
    yield made
    for _ in range(200):  # its last process may be a zombie for a moment
        with contextlib.suppress(OSError):
            made.rmdir()
            return
        time.sleep(0.05)


@pytest.mark.ray
def test_a_worker_that_the_kernel_ends_for_its_memory_is_out_of_memory(
    trials: Any, ray_fleet: RayFleet, request: pytest.FixtureRequest
) -> None:
    large, small = trials({"010": 60_000, "011": 8}, steps_per_round=None, epochs=1)
    for slot in SLOTS:  # without a limit of their own
        ray_fleet.replace({slot.index: plan_slots(Request(), MACHINE, 1)[0].allocation})
    group = request.getfixturevalue("group")  # not before: what keeps order on a machine may remove empty groups
    try:
        (group / "cgroup.procs").write_text(str(ray_fleet.devices[0].pid))
    except FileNotFoundError:
        pytest.skip("the control group was removed by what looks after this machine")
    reports = ray_fleet.advance({0: (Work(trial=large, round=0),), 1: (Work(trial=small, round=0),)})
    failure = reports["010"]
    assert isinstance(failure, Failure)
    assert failure.kind == "oom"
    assert failure.message.startswith("the kernel's out-of-memory killer has ended 1 process here"), failure
    assert not isinstance(reports["011"], Failure)


TENSOR = "OOM when allocating tensor with shape[500,{}] and type {} on /device:GPU:0 by allocator GPU_0_bfc"


@pytest.mark.parametrize(
    ("text", "asked_mib"),
    [
        (TENSOR.format(2097152, "float"), 4000),
        (TENSOR.format(2097152, "half"), 2000),
        ("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1073741824 bytes.", 1024),
        ("Graph execution error: failed to allocate memory", None),
    ],
)
def test_tensorflows_words_for_no_memory(tensorflow: Any, text: str, asked_mib: int | None) -> None:
    from runner.worker import oom

    err = tensorflow.errors.ResourceExhaustedError(None, None, text)
    wrapped = RuntimeError("Exception encountered when calling Dense.call()")
    wrapped.__cause__ = err
    for each in (err, wrapped):
        assert oom.is_out_of_memory(each)
        assert oom.asked_mib(each) == asked_mib


def test_other_things_that_run_out_are_no_memory(tensorflow: Any) -> None:
    from runner.worker import oom

    full = tensorflow.errors.ResourceExhaustedError(None, None, "/tmp/x; No space left on device")
    assert not oom.is_out_of_memory(full)
    assert not oom.is_out_of_memory(ValueError("out of memory units"))
    assert oom.is_out_of_memory(MemoryError())

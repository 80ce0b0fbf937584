"""What the machine is taken to have, with the driver's library and the MPS control program stood in for."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.host import cgroups
from runner.host import mps as host_mps
from runner.host.inventory import driver_problem, gpus_of, this_machine
from runner.host.mps import mps_of
from runner.placement import Gpu

UUIDS = ["GPU-aaaa1111", "GPU-bbbb2222", "GPU-bbbb3333"]
SLICE = "MIG-cccc"
GPU = Gpu(id="0", uuid="GPU-a", name="A", memory_mib=24_000, free_mib=9_000)


class NVMLError(Exception):
    pass


def nvml(starts: bool = True) -> Any:
    def start() -> None:
        if not starts:
            raise NVMLError("driver not loaded")

    def by_uuid(uuid: str) -> str:
        if uuid != SLICE:
            raise NVMLError("not found")
        return uuid

    return SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=start,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: len(UUIDS),
        nvmlDeviceGetHandleByIndex=lambda index: UUIDS[index],
        nvmlDeviceGetHandleByUUID=by_uuid,
        nvmlDeviceGetUUID=lambda handle: handle,
        nvmlDeviceGetName=lambda handle: "NVIDIA A10",
        nvmlDeviceGetMigMode=lambda handle: [0, 0],
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=24_000 * 2**20, free=9_000 * 2**20, used=0),
    )


@pytest.fixture
def three_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())


@pytest.mark.usefixtures("three_gpus")
@pytest.mark.parametrize(
    ("visible", "found"),
    [
        (None, ["0", "1", "2"]),
        ("2,0", ["2", "0"]),
        ("GPU-bbbb3,0", ["GPU-bbbb3", "0"]),
        (SLICE, [SLICE]),
        ("0,7,1", ["0"]),
        ("-1", []),
        ("", []),
        ("MIG-none,0", []),
    ],
)
def test_gpus_are_those_that_cuda_shows_in_its_order(visible: str | None, found: list[str]) -> None:
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert [gpu.id for gpu in gpus_of(environ)] == found


@pytest.mark.usefixtures("three_gpus")
def test_a_gpus_memory_is_what_is_free_of_it() -> None:
    (gpu,) = gpus_of({"CUDA_VISIBLE_DEVICES": "1"})
    assert (gpu.uuid, gpu.memory_mib, gpu.free_mib) == (UUIDS[1], 24_000, 9_000)


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(starts=False))
    assert gpus_of({}) == ()


def test_this_machine_has_memory_and_cpus() -> None:
    machine = this_machine()
    assert 1 <= machine.cpus <= (os.cpu_count() or 0)
    assert machine.free_memory_mib is not None
    assert 0 < machine.free_memory_mib < machine.memory_mib


def test_a_containers_limit_bounds_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "memory_left_mib", lambda: 7)
    monkeypatch.setattr(cgroups, "cpus", lambda: 1)
    assert (this_machine().free_memory_mib, this_machine().cpus) == (7, 1)


@pytest.mark.parametrize(("there", "problem"), [(True, "driver not loaded"), (False, None)])
def test_a_driver_that_does_not_answer_is_none_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool, problem: str | None
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml(starts=False))
    monkeypatch.setattr("runner.host.inventory._DRIVER", (tmp_path if there else tmp_path / "none",))
    assert driver_problem() == problem
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    assert driver_problem() is None


@pytest.mark.parametrize(
    ("pipe", "script", "serving"),
    [
        (True, 'read line; test "$line" = get_server_list && echo 4711', True),
        (True, "read line", True),  # a daemon that has no client yet has no server either
        (True, "echo 'Cannot find MPS control daemon process'", False),
        (True, "exit 1", False),
        (False, "echo 4711", False),
        (True, None, False),
    ],
)
def test_mps_serves_where_its_daemon_answers(tmp_path: Path, pipe: bool, script: str | None, serving: bool) -> None:
    if pipe:
        (tmp_path / "control").touch()
    if script is not None:
        control = tmp_path / "nvidia-cuda-mps-control"
        control.write_text(f"#!/bin/sh\n{script}\n")
        control.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    found = mps_of({"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path), "PATH": path}, [GPU])
    assert (found.kind == "foreign", found.pipes == str(tmp_path)) == (serving, serving)


@pytest.mark.parametrize(
    ("gpus", "program", "readable", "kind", "reason"),
    [
        ([GPU], True, True, "own", "no daemon serves yet"),
        ([], True, True, "unavailable", "no GPU"),
        ([replace(GPU, mig=True)], True, True, "unavailable", "MIG divides GPU 0"),
        ([GPU], False, True, "unavailable", "is not on the PATH"),
        ([GPU], True, False, "unavailable", "does not serve this user"),
    ],
)
def test_why_there_can_be_no_daemon_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    gpus: list[Gpu],
    program: bool,
    readable: bool,
    kind: str,
    reason: str,
) -> None:
    if program:
        (tmp_path / "nvidia-cuda-mps-control").write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "nvidia-cuda-mps-control").chmod(0o755)
    access = os.access
    monkeypatch.setattr(
        host_mps.os, "access", lambda path, mode: readable if mode == os.R_OK | os.W_OK else access(path, mode)
    )
    found = mps_of({"CUDA_MPS_PIPE_DIRECTORY": str(tmp_path), "PATH": str(tmp_path)}, gpus)
    assert found.kind == kind
    assert reason in found.reason

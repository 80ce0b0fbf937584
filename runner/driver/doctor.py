"""Examines every part of this machine that a sweep needs: ok, warn or fail, with advice."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runner.host.inventory import driver_problem, driver_version, this_machine
from runner.placement import Machine
from runner.texts.redaction import redact, without_credentials

Status = Literal["ok", "warn", "fail"]
_ANSWER_S = 180.0
_LITTLE_MIB, _TOO_LITTLE_MIB = 2048, 200
_RAY_FULL = 0.95  # Ray creates no objects on a fuller disk
_MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One part of the machine.

    Args:
        found: its state.
        advice: what to do; empty if nothing needs to be done.
    """

    part: str
    status: Status
    found: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer of a process: its JSON, or why it failed."""

    values: Mapping[str, Any] | None
    problem: str = ""


def examine(uri: str, sweeps: Path) -> list[Finding]:
    """Examines everything. Takes as long as Ray takes to start; leaves no process behind.

    Args:
        uri: address of the MLflow store.
        sweeps: folder of all sweeps.
    """
    machine, driver, problem = this_machine(), driver_version(), driver_problem()
    with ThreadPoolExecutor() as pool:
        tensorflow = pool.submit(ask, "runner.worker.selftest")
        ray = pool.submit(ask, "runner.fleet.ray.selftest")
        store = pool.submit(examine_store, uri)
        return [
            *judge_gpus(machine, driver, problem),
            *judge_tensorflow(machine, tensorflow.result()),
            judge_mps(machine),
            judge_ray(ray.result()),
            judge_shared_memory(shutil.disk_usage("/dev/shm").free // _MIB),
            store.result(),
            judge_disk("disk of sweeps", sweeps),
            judge_disk("disk of Ray", Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())),
        ]


def ask(module: str, *arguments: str) -> Answer:
    """Runs a module in its own process, which prints one line of JSON."""
    try:
        ended = subprocess.run(
            [sys.executable, "-m", module, *arguments], capture_output=True, text=True, check=False, timeout=_ANSWER_S
        )
        return Answer(values=json.loads(ended.stdout.strip().splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return Answer(values=None, problem=f"no answer within {_ANSWER_S:.0f} s")
    except (IndexError, ValueError):  # it died without an answer
        lines = ended.stderr.strip().splitlines()
        return Answer(values=None, problem=lines[-1] if lines else f"exit code {ended.returncode}")


def judge_gpus(machine: Machine, driver: str | None, problem: str | None = None) -> list[Finding]:
    """Each GPU with its free memory; `problem` says why the driver does not answer."""
    if problem is not None:
        advice = "nvidia-smi should work first; after an update of the driver the machine may need a restart"
        return [Finding(part="GPU", status="fail", found=f"the NVIDIA driver: {problem}", advice=advice)]
    if driver is None:
        return [Finding(part="GPU", status="ok", found="no NVIDIA driver: models train on the CPU")]
    if not machine.gpus:
        advice = "CUDA_VISIBLE_DEVICES hides them, or the driver shows none; see nvidia-smi"
        return [Finding(part="GPU", status="warn", found=f"driver {driver}, no GPU", advice=advice)]
    findings = []
    for gpu in machine.gpus:
        found = f"{gpu.name}, {gpu.free_mib} of {gpu.memory_mib} MiB free, driver {driver}"
        busy = gpu.free_mib < gpu.memory_mib / 2
        advice = "other processes hold most of it; nvidia-smi lists them" if busy else ""
        findings.append(Finding(part=f"GPU {gpu.id}", status="warn" if busy else "ok", found=found, advice=advice))
    return findings


def judge_tensorflow(machine: Machine, answer: Answer) -> list[Finding]:
    """TensorFlow, and whether it sees the GPUs that the driver shows."""
    if answer.values is None:
        return [Finding(part="TensorFlow", status="fail", found=answer.problem, advice="make setup, or pip install")]
    values = answer.values
    built = f"CUDA {values['cuda']}, cuDNN {values['cudnn']}" if values["cuda"] else "built without CUDA"
    found = f"{values['tensorflow']}, Keras {values['keras']}, {built}, sees {values['gpus']} GPUs"
    if values["gpus"] >= len(machine.gpus):
        return [Finding(part="TensorFlow", status="ok", found=found)]
    advice = (
        "pip install 'tensorflow[and-cuda]' brings the CUDA libraries that it needs"
        if values["cuda"]
        else "install a TensorFlow that is built with CUDA: pip install 'tensorflow[and-cuda]'"
    )
    return [Finding(part="TensorFlow", status="fail", found=found, advice=f"{advice}; or resources.num_gpus=0")]


def judge_mps(machine: Machine) -> Finding:
    """MPS: whether models compute on a GPU at the same time."""
    mps = machine.mps
    if not machine.gpus:
        return Finding(part="MPS", status="ok", found="no GPU")
    if mps.kind == "own":
        return Finding(part="MPS", status="ok", found="a sweep whose models share a GPU starts a daemon of its own")
    if mps.kind == "foreign":
        return Finding(part="MPS", status="ok", found=f"{mps.reason}: sweeps use it and leave it alone")
    found = f"unavailable, so that a GPU has one worker, in which trials take turns: {mps.reason}"
    return Finding(part="MPS", status="warn", found=found, advice="docs/gpu.md tells what MPS gains")


def judge_ray(answer: Answer) -> Finding:
    """Whether Ray starts here."""
    if answer.values is None:
        advice = "RAY_TMPDIR may name a disk with more room; fleet.kind=local does without Ray"
        return Finding(part="Ray", status="fail", found=answer.problem, advice=advice)
    return Finding(part="Ray", status="ok", found=f"{answer.values['ray']}, started in {answer.values['seconds']} s")


def judge_shared_memory(free_mib: int) -> Finding:
    """/dev/shm, where Ray keeps the data that workers share."""
    if free_mib >= _LITTLE_MIB:
        return Finding(part="shared memory", status="ok", found=f"{free_mib} MiB free in /dev/shm")
    advice = "data sets that workers share go there, else to the disk; in Docker: --shm-size=4g"
    return Finding(part="shared memory", status="warn", found=f"{free_mib} MiB free in /dev/shm", advice=advice)


def examine_store(uri: str) -> Finding:
    """The MLflow store: whether it answers or can be created."""
    from runner.tracking.addresses import sqlite_file

    file, shown = sqlite_file(uri), without_credentials(uri)
    if file is not None and not file.exists():
        if os.access(file.parent, os.W_OK):
            return Finding(part="MLflow", status="ok", found=f"{shown} will be made by the first sweep")
        advice = "choose another place: tracking.uri=sqlite:////PATH/mlflow.db"
        return Finding(part="MLflow", status="fail", found=f"no right to make {file}", advice=advice)
    answer = ask("runner.tracking.selftest", uri)
    if answer.values is None:
        advice = "see that the server runs, or set tracking.uri; sweeps keep their journals meanwhile"
        return Finding(part="MLflow", status="fail", found=f"{shown}: {redact(answer.problem)}", advice=advice)
    return Finding(part="MLflow", status="ok", found=f"{answer.values['mlflow']}, {shown} answers")


def judge_disk(part: str, folder: Path) -> Finding:
    """Free space on the disk of a folder, which need not exist yet."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    usage = shutil.disk_usage(existing)
    free_mib, full = usage.free // _MIB, 1 - usage.free / usage.total
    found = f"{free_mib} MiB free at {existing}, {full:.0%} full"
    if free_mib < _TOO_LITTLE_MIB or not os.access(existing, os.W_OK):
        return Finding(part=part, status="fail", found=found, advice="make room there, or write elsewhere")
    if free_mib < _LITTLE_MIB or full > _RAY_FULL:
        return Finding(part=part, status="warn", found=found, advice=f"Ray needs a disk less than {_RAY_FULL:.0%} full")
    return Finding(part=part, status="ok", found=found)

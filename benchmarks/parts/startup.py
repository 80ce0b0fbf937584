"""W6: from a cold start to the first finished round with two workers, against the sum of its parts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.parts import NotMeasuredError, Size
from benchmarks.workloads import ROOT
from runner.journal import JournalReader

_PARTS = ("ray_start_s", "actor_start_s", "tensorflow_import_s", "data_s", "build_trace_first_round_s")
_EXPERIMENT = ROOT / "experiments" / "digits_mlp.py"


def measure(size: Size) -> dict[str, float]:
    """Seconds of the whole and of each part, measured one after the other, and their ratio.

    Raises:
        NotMeasuredError: a part is missing.
    """
    del size  # there is one
    parts = _parts()
    total = _first_round_s()
    return {"first_round_s": total, **parts, "ratio": total / sum(parts.values())}


def _first_round_s() -> float:
    """From the start of the command to the first barrier."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "runner", "sweep", str(_EXPERIMENT), "seed=0,1", "train.epochs=2"]
        began = time.time()
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        (sweep,) = Path(folder, "sweeps").iterdir()
        with JournalReader(sweep) as reader:
            return reader.barriers()[0].reported_s - began


def _parts() -> dict[str, float]:
    """Each part alone, in processes of their own."""
    found: dict[str, float] = {}
    for part in ("ray", "worker"):
        output = subprocess.run(
            [sys.executable, "-m", "benchmarks.parts.startup", part],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        ).stdout
        for line in output.splitlines():
            name, _, value = line.partition(" ")
            if name.endswith("_s"):
                found[name] = float(value)
    if sorted(found) != sorted(_PARTS):
        raise NotMeasuredError(f"startup: the parts {', '.join(sorted(found))}, not {', '.join(_PARTS)}")
    return found


def _ray() -> None:
    """Ray's start, and then a bare actor's."""
    from runner.fleet.ray.session import RaySession

    began = time.perf_counter()
    with RaySession((), address="local", num_cpus=2, num_gpus=0):
        print("ray_start_s", time.perf_counter() - began)
        import ray

        @ray.remote
        class Bare:
            def ready(self) -> None:
                pass

        began = time.perf_counter()
        ray.get(Bare.remote().ready.remote())  # type: ignore[attr-defined]  # `ray.remote` keeps the class
        print("actor_start_s", time.perf_counter() - began)


def _worker() -> None:
    """What a worker does until its first round is over."""
    from runner.config import load_config
    from runner.driver.prepare import prepare
    from runner.records import Allocation, Work
    from runner.worker import startup

    began = time.perf_counter()
    startup.configure(Allocation(num_cpus=1))
    from runner.worker.worker import Worker

    print("tensorflow_import_s", time.perf_counter() - began)
    (trial,) = prepare(load_config(str(_EXPERIMENT), ["train.epochs=2"], config_dir=None)).trials
    worker = Worker()
    began = time.perf_counter()
    loaded = worker.load(trial)
    print("data_s", time.perf_counter() - began)
    began = time.perf_counter()
    worker.advance([Work(trial=trial, round=0)], [loaded])
    print("build_trace_first_round_s", time.perf_counter() - began)


if __name__ == "__main__":
    {"ray": _ray, "worker": _worker}[sys.argv[1]]()

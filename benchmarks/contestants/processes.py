"""K bare processes at once, each a tuned `fit` of one model on one thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

from benchmarks.contestants import Result, Task
from benchmarks.workloads import WORKLOADS


def train(task: Task) -> Result:
    """As graphs."""
    return _train(task, jit=False)


def train_xla(task: Task) -> Result:
    """Compiled by XLA."""
    return _train(task, jit=True)


def _train(task: Task, jit: bool) -> Result:
    processes = [_start(task, seed, jit) for seed in range(task.models)]
    for process in processes:
        _line(process)  # ready
    began = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    losses = [json.loads(_line(process)) for process in processes]
    seconds = time.perf_counter() - began
    for process in processes:
        process.wait()
    return Result(seconds=seconds, losses=losses)


def _start(task: Task, seed: int, jit: bool) -> subprocess.Popen[str]:
    job = json.dumps([task.workload.name, task.epochs, seed, jit])
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.contestants.processes", job],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | threads,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        raise RuntimeError(f"a bare process ended with code {process.wait()}")
    return line


def _wait() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def main(job: str) -> None:
    """One of the processes."""
    from benchmarks.contestants.fit import train_tuned

    name, epochs, seed, jit = json.loads(job)
    task = Task(workload=WORKLOADS[name], models=1, epochs=epochs)
    print(json.dumps(train_tuned(task, [seed], jit, _wait).losses[0]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""From config to workers that compute through a sweep's own MPS daemon. Ray and the workers are real.

The daemon and the driver library are stand-ins, and the workers compute on the CPU: `tests/gpu` has the real ones.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.mps_stand_in import write_control, write_nvml

pytestmark = [pytest.mark.ray, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
EXPERIMENT = """
import keras, numpy as np
def load_data():
    x = np.zeros((64, 4), "float32")
    return (x, x), (x, x)
def build_model(units: int = 4):
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(units), keras.layers.Dense(4)])
    model.compile("adam", "mse")
    return model
"""
SCRIPT = """
import json, os, pathlib, signal
from dataclasses import replace
import runner, runner.fleet.ray.fleet, runner.fleet.ray.workers as workers
from runner.fleet.ray.actor import RayWorker

class CpuWorker(RayWorker):
    def start(self, allocation):
        from runner.worker import startup
        environment = {**os.environ, **startup.environment(allocation)}
        with open("seen", "a") as seen:
            seen.write(json.dumps({name: value for name, value in environment.items() if "_MPS_" in name}) + "\\n")
        pipes = pathlib.Path(environment["CUDA_MPS_PIPE_DIRECTORY"])
        if pipes.is_dir() and not (pipes / "clients").exists():  # the other worker does not become a client
            (pipes / "clients").write_text(f"{os.getpid()}\\n")
        return super().start(replace(allocation, gpus=(), gpu_memory_mib=None, mps=None, mps_thread_percentage=None))

workers.RayWorker = CpuWorker
if __name__ == "__main__":
    with runner.Session() as session:
        for mps in ("auto", "off"):
            session.sweep(
                "wide.py", space={"units": [2, 3]}, train={"epochs": 1, "compile": "graph"}, progress="terminal",
                resources={"num_gpus": 0.5, "num_cpus": 0.5, "mps": mps},
                tracking={"uri": "sqlite:///m.db", "system_metrics_every_s": None},
                report=False,
            )
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_workers_compute_through_a_daemon_that_ends_with_its_killed_driver(tmp_path: Path) -> None:
    write_control(tmp_path)
    write_nvml(tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "wide.py").write_text(EXPERIMENT)
    environment = {
        **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "HOME": str(tmp_path),
    }  # fmt: skip
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    ended = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        timeout=240,
    )  # fmt: skip
    print(ended.stdout, ended.stderr)
    assert ended.returncode == -9, ended.stderr
    seen = [json.loads(line) for line in (tmp_path / "seen").read_text().splitlines()]
    first, second = seen[:2], seen[2:]
    (pipes,) = {one["CUDA_MPS_PIPE_DIRECTORY"] for one in first}
    assert [one["CUDA_MPS_ACTIVE_THREAD_PERCENTAGE"] for one in first] == ["50", "50"]
    assert second == [{"CUDA_MPS_PIPE_DIRECTORY": os.devnull}] * 2
    assert "computes without MPS, in turns with its neighbours" in ended.stderr + ended.stdout
    with sqlite3.connect(tmp_path / "m.db") as db:
        tags = db.execute("SELECT key, value FROM tags WHERE key LIKE 'share.mps%'").fetchall()
    kinds = sorted(value for key, value in tags if key == "share.mps")
    assert kinds == ["off", "off", "own", "unavailable"]
    assert [value for key, value in tags if key == "share.mps_thread_percentage"][:1] == ["50"]
    until = time.monotonic() + 20
    while Path(pipes).parent.exists():
        assert time.monotonic() < until, "the daemon's guard has not noticed its driver's end"
        time.sleep(0.1)

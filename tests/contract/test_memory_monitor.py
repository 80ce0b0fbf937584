"""A worker that Ray's own memory monitor ends."""

from __future__ import annotations

import os
from typing import Any

import pytest
from test_out_of_memory import MACHINE

from runner.fleet.ray.fleet import RayFleet
from runner.host.inventory import free_memory_mib
from runner.placement import Request, plan_slots
from runner.records import Failure, Work

HOARD = """
import keras, numpy as np
def load_data():
    x = np.ones((8, 1), "float32")
    return (x, x), (x, x)
def build_model(mib=0):
    import time
    hoard = []
    for _ in range(mib // 64):
        hoard.append(np.ones(64 * 2**17))
        time.sleep(0.02)
    time.sleep(30)
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_worker_that_rays_memory_monitor_ends_is_out_of_memory(
    make_trial: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The threshold lies above what a bare worker takes, and far below what this model does."""
    total_mib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    threshold = 1 - (free_memory_mib() - 2_500) / total_mib
    if not 0 < threshold < 0.9:
        pytest.skip(f"{free_memory_mib()} MiB are free, too few to tell one process' memory from that of others")
    monkeypatch.setenv("RAY_memory_usage_threshold", f"{threshold:.4f}")
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    (tmp_path / "hoard.py").write_text(HOARD)
    trial = make_trial(path=tmp_path / "hoard.py", params={"mib": 6_000}, data_params=(), model_params=("mib",))
    with RayFleet(plan_slots(Request(), MACHINE, 1), address=None, cpus=1) as fleet:
        failure = fleet.advance({0: (Work(trial=trial, round=0),)})["000"]
    assert isinstance(failure, Failure)
    assert failure.kind == "oom", failure
    assert failure.message.startswith("Ray's memory monitor has ended it; OutOfMemoryError: ")

"""One array of 1 GB under several workers: how many copies of it the node holds."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.parts import NotMeasuredError, Size
from runner.config import load_config
from runner.driver.prepare import prepare
from runner.fleet.ray.fleet import RayFleet
from runner.records import Work

EXPERIMENT = Path(__file__).with_name("big_array.py")


def measure(size: Size) -> dict[str, float]:
    """Copies: what the object store and the workers' private memory grew by, as multiples of the array.

    Raises:
        NotMeasuredError: the array is in neither.
    """
    workers, mib = (4, 1024) if size == "full" else (2, 256)
    small, large = _used_mib(workers, 1), _used_mib(workers, mib)
    copies = (large - small) / (mib - 1)
    if copies < 0.9:
        raise NotMeasuredError(f"memory: {copies:.2f} copies of an array that every worker trains on")
    return {"workers": workers, "array_mib": mib, "copies": copies}


def _used_mib(workers: int, mib: int) -> float:
    """Object store and private memory of all workers, while each has trained an epoch on the array."""
    seeds = "seed=" + ",".join(map(str, range(workers)))
    cpus = f"resources.num_cpus={len(os.sched_getaffinity(0)) / workers:g}"
    config = load_config(str(EXPERIMENT), [seeds, cpus, f"params.mib={mib}", "train.batch_size=4096"], config_dir=None)
    prepared = prepare(config)
    with RayFleet(prepared.slots, address=None, cpus=prepared.machine.cpus) as fleet:
        work = {
            slot.index: (Work(trial=trial, round=0),)
            for slot, trial in zip(prepared.slots, prepared.trials, strict=True)
        }
        fleet.advance(work)
        private = sum(_private_mib(device.pid) for device in fleet.devices.values())
        return private + _object_store_mib()


def _private_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def _object_store_mib() -> float:
    import ray

    total, free = ray.cluster_resources(), ray.available_resources()
    return float(total["object_store_memory"] - free.get("object_store_memory", 0.0)) / 2**20

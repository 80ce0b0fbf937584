"""Starts Ray as a sweep does, has it answer once, and ends it: in a process of its own."""

from __future__ import annotations

import json
import time
from typing import Any

import ray

from runner.fleet.ray.session import RaySession


def main() -> None:
    """Prints Ray's version and how long it took, as a line of JSON."""
    began = time.monotonic()
    options: dict[str, Any] = {
        "address": "local",
        "include_dashboard": False,
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    with RaySession((), num_cpus=1, num_gpus=0, **options):
        ray.get(ray.remote(num_cpus=1)(lambda: None).remote(), timeout=60)
        seconds = time.monotonic() - began
    print(json.dumps({"ray": ray.__version__, "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()

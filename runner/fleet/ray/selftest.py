"""Program that starts Ray as a sweep does, runs one task and ends it; `doctor` runs it in a separate process."""

from __future__ import annotations

import json
import time

import ray

from runner.fleet.ray.session import RaySession


def main() -> None:
    """Prints Ray's version and the time until the first result, in seconds, as a line of JSON."""
    began = time.monotonic()
    with RaySession((), address="local", num_cpus=1, num_gpus=0):
        ray.get(ray.remote(num_cpus=1)(lambda: None).remote(), timeout=60)
        seconds = time.monotonic() - began
    print(json.dumps({"ray": ray.__version__, "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()

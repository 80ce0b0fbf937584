"""One timed run in a process of its own: `python -m benchmarks.one W1 fit 1 3` prints its result as a line of JSON."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import Any

MARK = "RESULT "


def main() -> None:
    """Runs the contestant that the arguments name: workload, contestant, models, epochs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from benchmarks.contestants import Task, contestant
    from benchmarks.workloads import WORKLOADS

    workload, name, models, epochs = sys.argv[1:]
    task = Task(workload=WORKLOADS[workload], models=int(models), epochs=int(epochs))
    result = contestant(name)(task)
    print(MARK + json.dumps({"steps": task.steps, **asdict(result)}), flush=True)


def read_result(output: str) -> dict[str, Any]:
    """The result among whatever else a run printed.

    Raises:
        ValueError: there is none.
    """
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            found: dict[str, Any] = json.loads(line[len(MARK) :])
            return found
    raise ValueError("the run printed no result")


if __name__ == "__main__":
    main()

"""Runs one measurement in this process and prints the result as a line of JSON.

`python -m benchmarks.one train W1 fit 1 3` trains: workload, contestant, models, epochs.
`python -m benchmarks.one part control` measures a part of the runner; `quick` or `short` may follow.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import asdict
from typing import Any

MARK = "RESULT "


def main() -> None:
    """Runs the measurement that the command line names."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kind, *arguments = sys.argv[1:]
    result = _train(*arguments) if kind == "train" else _part(*arguments)
    print(MARK + json.dumps(result), flush=True)


def _train(workload: str, name: str, models: str, epochs: str) -> dict[str, Any]:
    from benchmarks.contestants import Task, contestant
    from benchmarks.workloads import WORKLOADS

    task = Task(workload=WORKLOADS[workload], models=int(models), epochs=int(epochs))
    return {"steps": task.steps, **asdict(contestant(name)(task))}


def _part(name: str, size: str = "full") -> dict[str, Any]:
    numbers: dict[str, Any] = importlib.import_module(f"benchmarks.parts.{name}").measure(size)
    return numbers


def read_result(output: str) -> dict[str, Any]:
    """Finds the result in the output of a run.

    Raises:
        ValueError: the output has no result.
    """
    for line in reversed(output.splitlines()):
        if line.startswith(MARK):
            found: dict[str, Any] = json.loads(line[len(MARK) :])
            return found
    raise ValueError("the run printed no result")


if __name__ == "__main__":
    main()

"""Measures one case in this process, and prints the result as a line of JSON: `python -m benchmarks.gpu.one JSON`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks.contestants import Task
from benchmarks.gpu.cases import Case
from benchmarks.gpu.energy import EnergyCounter
from benchmarks.gpu.figures import Row
from benchmarks.gpu.window import Window
from benchmarks.one import MARK
from benchmarks.workloads import WORKLOADS
from runner.host.inventory import gpus_of


def main() -> None:
    """Measures the case that the command line names."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    job = json.loads(sys.argv[1])
    row = measure(Case(**job["case"]), job["seconds"], Path(job["timings"]))
    print(MARK + json.dumps(row), flush=True)


def measure(case: Case, seconds: float, timings: Path) -> Row:
    """The figures of a window of these seconds; `timings` keeps what `auto` has measured."""
    gpus = gpus_of(os.environ) if case.gpu else ()
    with EnergyCounter(gpus[0].uuid if gpus else None) as energy:

        def new_window() -> Window:
            return Window(seconds, energy.read_j)

        if case.how == "fit":
            from benchmarks.gpu import fit

            workload = replace(WORKLOADS[case.workload], rows=case.rows, batch_size=case.batch_size)
            return fit.measure(Task(workload=workload, models=1, epochs=1), case.compile, new_window)
        from benchmarks.gpu import sweep

        return sweep.measure(case, new_window(), timings)


if __name__ == "__main__":
    main()

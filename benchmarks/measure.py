"""Runs cases one at a time, each in its own process and folder; the cases of a group alternate."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.cases import Case
from benchmarks.one import read_result
from benchmarks.programs import store
from benchmarks.workloads import ROOT

_TIMEOUT_S = 900
Row = dict[str, Any]
"""A run: `group`, `name`, `models`, `epochs`, `repeat`, `prefix`, `wall_s`, and what the process printed or stored."""


def measure(
    cases: Iterable[Case], repeats: int, show: Callable[[str], None], prefix: Sequence[str] = ()
) -> Iterable[Row]:
    """Yields a row for each run as it ends.

    The cases of a group alternate, so that other load on the machine affects all contestants alike.

    Args:
        cases: ordered by group.
        repeats: runs of each case that does not set its own number.
        show: prints a line about each run.
        prefix: prefix of each command, such as `taskset -c 0,1`.

    Raises:
        RuntimeError: a run failed; the message has the end of its output.
    """
    for _, group in groupby(cases, key=lambda case: case.group):
        members = list(group)
        for repeat in range(repeats):
            for case in members:
                if repeat < (case.repeats or repeats):
                    row = {**_identity(case), "repeat": repeat, "prefix": shlex.join(prefix), **_run(case, prefix)}
                    show(_line(row))
                    yield row


def _identity(case: Case) -> Row:
    return {"group": case.group, "name": case.name, "models": case.models, "epochs": case.epochs}


def _run(case: Case, prefix: Sequence[str]) -> Row:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    environment |= {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        done = subprocess.run(
            [*prefix, *case.argv],
            cwd=ROOT if case.printed else folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
        )
        wall_s = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"{' '.join(case.command)} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        if not case.printed:
            return {"wall_s": wall_s, "seconds": wall_s, **store.read(Path(folder, "mlflow.db"))}
    return {"wall_s": wall_s, **read_result(done.stdout)}


def _line(row: Row) -> str:
    head = f"{row['group']} {row['name']} K={row['models']}"
    if "steps" in row:
        return f"{head}: {row['steps'] / row['seconds']:,.0f} model-steps/s ({row['seconds']:.1f} s)"
    numbers = {name: value for name, value in row.items() if isinstance(value, float) and name != "wall_s"}
    return f"{head}: " + ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())

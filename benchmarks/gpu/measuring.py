"""Runs cases, each in a process of its own, as long as there is time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.gpu.budget import Budget
from benchmarks.gpu.cases import Case, passes
from benchmarks.gpu.figures import Row
from benchmarks.one import read_result
from benchmarks.workloads import ROOT

END_S = 15.0  # in which a process that was asked to end does so
_EXCERPT = 3000  # characters of a failed process's errors

Run = Callable[[Case, float], Row]
"""Measures a case within seconds; returns its figures, or `error`. Raises `TimeoutError` if the seconds are over."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """A case that was not measured, and why."""

    case: Case
    run: int
    why: str


def measure(
    cases: Sequence[Case],
    budget: Budget,
    run: Run,
    repeats: int = 1,
    impossible: Callable[[Case], str | None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Row | Skipped]:
    """Yields a row for each case that ends in time, as it ends, and what was skipped.

    Args:
        cases: the most important first.
        budget: the time of all of them.
        run: measures a case.
        repeats: how often each is measured if there is time, as `passes` has it.
        impossible: why a case cannot be measured on this machine; None if it can.
        clock: seconds that only grow.
    """
    for number, case in passes(cases, repeats):
        if (why := impossible(case)) is not None:
            if number == 0:
                yield Skipped(case=case, run=number, why=why)
            continue
        if not budget.fits(case):
            if number == 0:
                why = f"{budget.left_s:.0f} s left, and it takes about {budget.expected_s(case):.0f} s"
                yield Skipped(case=case, run=number, why=why)
            continue
        began = clock()
        try:
            found = run(case, budget.limit_s)
        except TimeoutError as err:
            if number == 0:
                yield Skipped(case=case, run=number, why=str(err))
            continue
        wall_s = clock() - began
        if "error" not in found:
            budget.took(case, wall_s)
        yield {**case.identity, "run": number, "wall_s": round(wall_s, 1), **found}


def in_process(seconds: float, timings: Path, environment: Mapping[str, str]) -> Run:
    """Measures a case in a new process, which is ended with all that it has started if it takes too long.

    Args:
        seconds: of each window.
        timings: a file that cases share, for the step times by which `auto` decides.
        environment: of the processes, beside this one's.
    """

    def run(case: Case, limit_s: float) -> Row:
        job = json.dumps({"case": case.identity, "seconds": seconds, "timings": str(timings)})
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        limit_s = max(1.0, limit_s)
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.gpu.one", job],
                cwd=timings.parent,
                env={**os.environ, "PYTHONPATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", **environment},
                stdout=output,  # no pipes, which a process that it has left behind would keep open
                stderr=errors,
                start_new_session=True,
            )
            try:
                code = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                raise TimeoutError(f"ended after {limit_s:.0f} s, because its time was over") from None
            finally:
                _end(process)
            output.seek(0)
            errors.seek(0)
            if code:
                return {"error": f"ended with {code}: {errors.read()[-_EXCERPT:]}"}
            return read_result(output.read())

    return run


def _end(process: subprocess.Popen[bytes]) -> None:
    """Asks a process to end, and ends its group if it does not; does nothing about one that has ended."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

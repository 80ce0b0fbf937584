"""Measures the throughput of models that share a GPU, in turns, by time slicing and through MPS, against one by one.

    python -m benchmarks.gpu [--workloads W1 W3] [--models 1 8 64] [--epochs 3] [--compile graph] [--out DIR]

Prints each result and writes all so far to `gpu.json` in DIR, else in $OUT, else in a new temporary folder.
Needs an NVIDIA GPU but no network. Measures MPS if its control program is installed: starts a private daemon with pipes
in a temporary folder, and ends it after the measurement. Changes no setting of the device.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.workloads import ROOT, WORKLOADS
from runner.host.inventory import driver_version, gpus_of
from runner.host.mps import CONTROL
from runner.journal import JournalReader, TurnRow

_TIMEOUT_S = 1800
MPS = "together, MPS"
WAYS = ("one after another", "in turns", "together", MPS, "stacked")
"""How several models train: the first also how one does."""
_MOST_PROCESSES = 8  # what more of them show is memory
Row = dict[str, Any]
"""One sweep: `workload`, `compile`, `models`, `how`, `wall_s` of the command, `steps_per_s` of all models together,
`swap_share` of their time, `gpu_peak_mib` of the largest; or `error`."""


def main() -> None:
    """Runs all measurements and writes the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workloads", nargs="+", default=["W1", "W3"], choices=sorted(WORKLOADS))
    parser.add_argument("--models", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--compile", default="graph", choices=["auto", "graph", "xla"])
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    if not gpus_of(os.environ):
        print("no NVIDIA GPU here: nothing was measured")
        return
    folder = arguments.out or Path(os.environ.get("OUT") or tempfile.mkdtemp(prefix="gpu-"))
    rows: list[Row] = []
    for row in measure(arguments.workloads, arguments.models, arguments.epochs, arguments.compile):
        rows.append(row)
        file = write(rows, folder)
        print(json.dumps(row), flush=True)
    print(f"written to {file}")


def measure(
    workloads: Sequence[str],
    models: Sequence[int],
    epochs: int,
    compiled: str = "graph",
    ways: Sequence[str] = WAYS,
) -> Iterator[Row]:
    """Yields a row for each workload, number of models and way of training.

    The ways alternate, so that other load on the GPU affects all of them alike. A failed sweep is a row with its error.
    """
    for name in workloads:
        for count in models:
            identity = {"workload": name, "compile": compiled, "models": count}
            for how in ways[: None if count > 1 else 1]:
                if count > _MOST_PROCESSES and how in (WAYS[2], MPS):
                    continue
                at_a_time = {WAYS[0]: 1, WAYS[1]: None, WAYS[4]: None}.get(how, count)
                with mps(wanted=how == MPS) as environment:
                    if environment is not None:
                        yield _sweep({**identity, "how": how}, epochs, at_a_time, environment)


def write(rows: Sequence[Row], folder: Path) -> Path:
    """Writes the rows and a description of the GPU as JSON, and returns the file."""
    found = gpus_of(os.environ)
    content = {
        "gpu": found[0].name if found else None,
        "driver": driver_version(),
        "mps": shutil.which(CONTROL) is not None,
        "rows": list(rows),
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "gpu.json"
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return file


@contextmanager
def mps(wanted: bool) -> Iterator[Mapping[str, str] | None]:
    """Runs a private MPS daemon if it is wanted, and yields its environment; None if MPS cannot be had."""
    if not wanted or shutil.which(CONTROL) is None:
        yield None if wanted else {}
        return
    with tempfile.TemporaryDirectory(prefix="mps-") as folder:
        own = {"CUDA_MPS_PIPE_DIRECTORY": folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        started = subprocess.run([CONTROL, "-d"], env=os.environ | own, capture_output=True, text=True, check=False)
        try:
            yield own if started.returncode == 0 else None
        finally:
            subprocess.run([CONTROL], input="quit\n", env=os.environ | own, capture_output=True, text=True, check=False)


def _sweep(identity: Row, epochs: int, at_a_time: int | None, environment: Mapping[str, str]) -> Row:
    """Runs a sweep with so many workers; with None as the program itself decides: one, in which trials take turns."""
    workload, seeds = WORKLOADS[identity["workload"]], ",".join(map(str, range(identity["models"])))
    stack = identity["models"] if identity["how"] == "stacked" else "off"
    compiled = identity["compile"] if stack == "off" else "xla"
    with tempfile.TemporaryDirectory(prefix="gpu-sweep-") as folder:
        command = [
            sys.executable, "-m", "runner", "sweep", str(ROOT / workload.path), f"seed={seeds}",
            f"train.epochs={epochs}", f"train.batch_size={workload.batch_size}", f"train.compile={compiled}",
            f"resources.stack={stack}",
            f"resources.max_concurrent={at_a_time or 'auto'}", f"resources.mps={'on' if environment else 'off'}",
            f"train.steps_per_round={workload.steps_per_epoch}",  # with `auto`, all epochs may be one turn: the first
        ]  # fmt: skip
        began = time.perf_counter()
        ended = subprocess.run(
            command, cwd=folder, env=_environment(environment), capture_output=True,
            text=True, check=False, timeout=_TIMEOUT_S,
        )  # fmt: skip
        if ended.returncode:
            return {**identity, "error": f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-3000:]}"}
        wall_s = round(time.perf_counter() - began, 1)
        (sweep,) = (Path(folder) / "sweeps").iterdir()
        with JournalReader(sweep) as reader:
            return {**identity, "wall_s": wall_s, **_figures(reader.turns())}


def _environment(of_mps: Mapping[str, str]) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path, **of_mps}


def _figures(turns: Sequence[TurnRow]) -> Row:
    """Returns the steps per second of all models together, without first turns, which build and trace."""
    later = [turn for turn in turns if turn.round > 0]
    first = {turn.trial: turn.step for turn in turns if turn.round == 0}
    last = {turn.trial: max(t.step for t in turns if t.trial == turn.trial) for turn in later}
    steps = sum(last[trial] - first[trial] for trial in last)
    swaps_s = sum(turn.turn.swap_s for turn in later)
    seconds = sum(_covered([(turn.turn.started_s, turn.turn.ended_s) for turn in later]))
    return {
        "steps_per_s": round(steps / seconds, 1),
        "swap_share": round(swaps_s / seconds, 4),
        "gpu_peak_mib": max(turn.turn.gpu_memory_mib for turn in turns),
    }


def _covered(spans: Sequence[tuple[float, float]]) -> Iterator[float]:
    """Yields the lengths of disjoint intervals whose union is the union of the spans, seconds."""
    until = float("-inf")
    for began, ended in sorted(spans):
        if ended > until:
            yield ended - max(began, until)
            until = ended


if __name__ == "__main__":
    main()

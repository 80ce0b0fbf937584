"""Measures stacks that shrink after the rungs of a halving sweep against those that keep their size, and none at all.

    python -m benchmarks.rungs [--workloads mlp dropout] [--trials 64] [--epochs 256] [--pairs 3]

Whole sweeps in this process, one worker of one thread, alternating. Prints the time of their turns, and how much of it
was spent before the first step of a turn: tracing, comparing and compiling stacks, and exchanging states.
"""

from __future__ import annotations

import argparse
import os
import statistics
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from benchmarks.stacks import EXPERIMENT
from runner.journal import JournalReader

WAYS = ("shrinking", "fixed", "alone")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rungs", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workloads", nargs="+", default=["mlp", "dropout"])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    print(f"{'workload':9} {'way':10} {'turns s':>8} {'before steps':>12} {'of shrinking':>12}  sizes")
    for kind in options.workloads:
        rows: dict[str, list[tuple[float, float, str]]] = {way: [] for way in WAYS}
        for _ in range(options.pairs):
            for way, found in rows.items():
                found.append(measured(kind, way, options.trials, options.epochs))
        ratios = _ratios(rows)
        for way, found in rows.items():
            seconds = statistics.median(one[0] for one in found)
            share = statistics.median(one[1] for one in found)
            print(f"{kind:9} {way:10} {seconds:8.1f} {share:12.3f} {ratios[way]:12.2f}  {found[0][2]}", flush=True)


def _ratios(rows: Mapping[str, list[tuple[float, float, str]]]) -> dict[str, float]:
    """The medians of what each way takes, that of shrinking stacks in the same pair being 1."""
    return {
        way: statistics.median(one[0] / beside[0] for one, beside in zip(found, rows["shrinking"], strict=True))
        for way, found in rows.items()
    }


def measured(kind: str, way: str, trials: int, epochs: int) -> tuple[float, float, str]:
    """Seconds of all turns of a sweep, the share of them before the first steps, and the sizes of its stacks."""
    import runner

    before = Path.cwd()
    with TemporaryDirectory() as name:
        os.chdir(name)  # where the sweep's folder and its store are made
        try:
            Path("experiment.py").write_text(EXPERIMENT)
            with _sizes(fixed=way == "fixed"):
                found = runner.sweep(
                    "experiment.py", params={"kind": kind}, space={"rate": "loguniform(1e-4, 1e-2)"},
                    search={"max_trials": trials, "sampler": "random", "stop": "halving", "factor": 4, "min_epochs": 1},
                    train={"epochs": epochs, "compile": "xla" if way == "alone" else "auto"}, progress="none", seed=0,
                    resources={"stack": "off" if way == "alone" else trials, "max_concurrent": 1, "num_cpus": 1},
                    fleet={"kind": "local"},
                )  # fmt: skip
            return _figures(found.folder)
        finally:
            os.chdir(before)


def _sizes(*, fixed: bool) -> AbstractContextManager[object]:
    """Keeps stacks at the sizes with which they begin, if these are wanted."""
    from runner.loop.stack_sizes import StackSizes

    return patch.object(StackSizes, "after_rung", lambda *_: ()) if fixed else nullcontext()


def _figures(folder: Path) -> tuple[float, float, str]:
    with JournalReader(folder) as reader:
        turns = [row.turn for row in reader.turns()]
        made = [one for record in reader.trials() for one in reader.decisions(record.id) if one.kind == "stack"]
        first = reader.trials()[0].trial.train.stack
    before_s = sum(turn.swap_s + turn.seat_s for turn in turns)
    total_s = before_s + sum(turn.compute_s + turn.evaluate_s for turn in turns)
    later = sorted({int(str(one.arguments["size"])) for one in made}, reverse=True)
    return total_s, before_s / total_s, " ".join(map(str, (first, *later)))


if __name__ == "__main__":
    main()

"""`python -m benchmarks.search.wall`: seconds until a search has found a good model, start included, on this machine.

Three programs search the digits grid for a model with a given validation loss: this one with successive halving, Optuna
with TPE and its successive halving pruner around `fit`, and Ray Tune's ASHA around `fit`. This one and Ray Tune train
as many trials at once as there are CPUs. They take turns, seed by seed, so that all of them meet the same machine.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import click

from benchmarks.search.__main__ import RESULTS
from benchmarks.search.table import METRIC, ROOT, arguments, read_table
from runner.journal import JournalReader

PROGRAMS = ("runner", "optuna", "tune")
LIMIT_S = 180.0
_REGRET = 0.05


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Searches of each program.")
@click.argument("programs", nargs=-1, type=click.Choice(PROGRAMS))
def main(seeds: int, programs: tuple[str, ...]) -> None:
    """Runs each program with each seed, and prints the seconds until it has a good model."""
    table = read_table("digits", RESULTS)
    target = table.best + _REGRET * table.spread
    chosen, found = programs or PROGRAMS, dict[str, list[float]]()
    click.echo(f"seconds until {METRIC} ≤ {target:.5f}, a normalized regret of {_REGRET}")
    for seed in range(seeds):
        for program in chosen:
            seconds = _seconds(program, target, seed)
            found.setdefault(program, []).append(seconds)
            click.echo(f"seed {seed}  {program:8} {seconds:.1f}")
    for program, all_of_it in found.items():
        ratios = [one / own for one, own in zip(all_of_it, found[chosen[0]], strict=True)]
        click.echo(
            f"{program:8} median {statistics.median(all_of_it):.1f} s, {statistics.median(ratios):.2f} × {chosen[0]} "
            f"({min(ratios):.2f} to {max(ratios):.2f})"
        )


def _seconds(program: str, target: float, seed: int) -> float:
    """Seconds from a program's start to its good model; the limit if it has none by then."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
        own = ["search.stop=halving", f"search.target={target}", f"search.seed={seed}", "search.sampler=random"]
        search = ["-m", "runner", "sweep", *arguments("digits"), *own, "search.max_trials=64"]
        rival = ["-m", f"benchmarks.search.{program}_until", repr(target), str(seed)]
        began_s = time.time()
        with Path(folder, "printed").open("w+", encoding="utf-8") as printed, suppress(subprocess.TimeoutExpired):
            command = [sys.executable, *(search if program == "runner" else rival)]
            subprocess.run(
                command, cwd=folder, env=environment, stdout=printed, stderr=printed, timeout=LIMIT_S, check=False
            )
        if program != "runner":
            lines = [line for line in Path(folder, "printed").read_text().splitlines() if line.startswith("REACHED ")]
            return float(lines[0].split()[1]) - began_s if lines else LIMIT_S
        (sweep,) = (Path(folder) / "sweeps").iterdir()
        with JournalReader(sweep) as reader:
            rows = [row.timestamp_ms for row in reader.metrics() if row.key == METRIC and row.value <= target]
        return min(rows) / 1000 - began_s if rows else LIMIT_S


if __name__ == "__main__":
    main()

"""Measures what a process keeps of each architecture that it has trained, compiled by XLA and as graphs.

    python -m benchmarks.wear [--architectures 20]

Each way has a process of its own, in which a perceptron of another width trains an epoch again and again. Prints memory
and memory mappings for each of them, without the first five.
"""

from __future__ import annotations

import argparse
import multiprocessing
from pathlib import Path

_FIRST = 5


def main() -> None:
    """Prints a row for each way to compile."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wear", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--architectures", type=int, default=20, help="after the first five")
    options = parser.parse_args()
    print(f"{'compiled as':11} {'MiB':>6} {'mappings':>8}   an architecture")
    for how in ("xla", "graph"):
        with multiprocessing.get_context("spawn").Pool(1) as process:
            memory_mib, mappings = process.apply(kept, (how, options.architectures))
        print(f"{how:11} {memory_mib:6.1f} {mappings:8.0f}")


def kept(how: str, architectures: int) -> tuple[float, float]:
    """Memory in MiB and mappings that an architecture leaves."""
    from runner.records import Allocation
    from runner.worker import startup

    startup.configure(Allocation(num_cpus=1))
    from runner.records import Source, TrainSettings, Trial, Work
    from runner.worker.memory import own_mib
    from runner.worker.wear import mappings
    from runner.worker.worker import Worker

    path = Path(__file__).parents[1] / "experiments" / "digits_mlp.py"
    source = Source(path=str(path), root=str(path.parent), files=((path.name, path.read_text(encoding="utf-8")),))
    worker = Worker()
    before = 0.0, 0
    for number in range(_FIRST + architectures):
        trial = Trial(
            id=f"{number:03}", index=number, member="digits", source=source, params={"units": 8 + number},
            data_params=(), model_params=("units",), seed=0, searched=("units",),
            train=TrainSettings(epochs=1, compile=how),  # type: ignore[arg-type]
        )  # fmt: skip
        worker.advance([Work(trial=trial, round=0)], [worker.load(trial)])
        if number + 1 == _FIRST:
            before = own_mib(), mappings()
    return (own_mib() - before[0]) / architectures, (mappings() - before[1]) / architectures


if __name__ == "__main__":
    main()

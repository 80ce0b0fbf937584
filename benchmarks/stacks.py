"""Measures stacks of equal models against the same models one after another, each as XLA and as a graph compile it.

    python -m benchmarks.stacks [--models 1 8 64] [--workloads mlp dropout wide cnn lstm depthwise] [--seconds 2]

Alternates both in one process, on one thread, so that only ratios count. Prints a row for each workload and number.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_PAIRS = 5
EXPERIMENT = """
import keras
import numpy as np
from keras import layers as L

SHAPES = {"mlp": (20,), "dropout": (64,), "wide": (784,), "cnn": (12, 12, 3), "lstm": (16, 8), "depthwise": (12, 12, 3)}


def load_data(kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1600, *SHAPES[kind])).astype("float32")
    y = rng.integers(0, 10, 1600).astype("int32")
    return (x, y), (x[:320], y[:320])


def build_model(kind, rate=1e-3):
    layers = {
        "mlp": lambda: [L.Dense(64, "relu"), L.Dense(64, "relu")],
        "dropout": lambda: [L.Dense(64, "relu"), L.BatchNormalization(), L.Dropout(0.2)],
        "wide": lambda: [L.Dense(128, "relu")],
        "lstm": lambda: [L.LSTM(16)],
        "depthwise": lambda: [L.Conv2D(8, 3, 2, activation="relu"), L.DepthwiseConv2D(3), L.GlobalAveragePooling2D()],
        "cnn": lambda: [L.Conv2D(8, 3, activation="relu"), L.MaxPooling2D(), L.Conv2D(16, 3), L.Flatten()],
    }[kind]()
    model = keras.Sequential([keras.Input(SHAPES[kind]), *layers, L.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model
"""


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stacks", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--models", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--workloads", nargs="+", default=["mlp", "dropout", "wide", "cnn", "lstm", "depthwise"])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each timing")
    options = parser.parse_args()
    print(f"{'workload':9} {'models':>6} {'graph':>9} {'XLA':>9} {'stack':>9} {'stack/best':>10} {'compile s':>9}")
    for kind in options.workloads:
        for models in options.models:
            row = measured(kind, models, options.seconds)
            best = max(row["graph"], row["xla"])
            print(
                f"{kind:9} {models:6} {row['graph']:9.0f} {row['xla']:9.0f} {row['stack']:9.0f} "
                f"{row['stack'] / best:10.2f} {row['compile_s']:9.1f}",
                flush=True,
            )


def measured(kind: str, models: int, seconds: float) -> dict[str, float]:
    """Model-steps a second: medians of alternating timings."""
    from runner.records import Allocation
    from runner.worker import startup

    startup.configure(Allocation(num_cpus=1))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "experiment.py"
        path.write_text(EXPERIMENT)
        runs, compile_s = _contestants(path, kind, models)
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(_PAIRS):
            for name, run in runs.items():
                rates[name].append(_rate(run, seconds / _PAIRS, models if name == "stack" else 1))
    return {name: statistics.median(found) for name, found in rates.items()} | {"compile_s": compile_s}


def _contestants(path: Path, kind: str, models: int) -> tuple[dict[str, Callable[[int], object]], float]:
    import numpy as np

    from runner.records import Source, TrainSettings, Trial
    from runner.worker.data.array_feed import Resident
    from runner.worker.experiment import Experiment
    from runner.worker.programs.engine import Engines
    from runner.worker.seat import Seat
    from runner.worker.stacking.stacks import Stacks

    source = Source(path=str(path), root=str(path.parent), files=((path.name, path.read_text(encoding="utf-8")),))

    def trial(number: int, how: str, stack: int) -> Trial:
        train = TrainSettings(compile=how, stack=stack)  # type: ignore[arg-type]
        return Trial(
            id=f"{number:03d}", index=number, member="benchmark", source=source,
            params={"kind": kind, "rate": 1e-3 * (number + 1)}, data_params=("kind",), model_params=("kind", "rate"),
            seed=number, train=train, searched=("rate",),
        )  # fmt: skip

    experiment = Experiment(source)
    first = trial(0, "xla", models)
    from runner.worker.data.arrays import array_data

    resident = Resident(array_data(experiment.load_data(first)))
    engines, stacks = Engines(), Stacks()
    alone = {how: Seat(trial(0, how, 1), experiment, resident, engines) for how in ("graph", "xla")}
    seats = [Seat(trial(number, "xla", models), experiment, resident, engines) for number in range(models)]

    def runner_of(seat: Seat) -> Callable[[int], object]:
        def run(count: int) -> object:
            with seat.active():
                return {k: np.asarray(v) for k, v in seat.engine.program.run(seat.feed.place, 0, count).items()}

        return run

    runs: dict[str, Callable[[int], object]] = {how: runner_of(seat) for how, seat in alone.items()}
    began = time.perf_counter()
    cohorts, refused = stacks.cohorts(dict.fromkeys(seats, models))
    if refused:
        raise SystemExit(f"{kind}: {next(iter(refused.values()))}")
    stack: Any = stacks.open(cohorts[0])
    stack.steps(0, 1)
    runs["stack"] = lambda count: stack.steps(0, count)
    return runs, time.perf_counter() - began


def _rate(run: Callable[[int], object], seconds: float, models: int) -> float:
    """Steps a second of calls of growing length that take about this long; the first one is left out."""
    run(1)
    count, spent = 1, 0.0
    while spent < seconds / 2:
        count *= 2
        began = time.perf_counter()
        run(count)
        spent = time.perf_counter() - began
    return models * count / spent


if __name__ == "__main__":
    main()

"""The rate of a tuned `model.fit`, by XLA and as a graph; the faster one counts. Imports TensorFlow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from benchmarks.contestants import Task
from benchmarks.contestants.fit import batches, build, faster, warm_up
from benchmarks.gpu.figures import Row, figures
from benchmarks.gpu.window import Window
from runner.worker.memory import gpu_peak_mib, reset_gpu_peak

_MANY = 10**6  # epochs, of which the window ends all but some


def measure(task: Task, compiled: str, new_window: Callable[[], Window]) -> Row:
    """The figures of `fit` of one model; the rates of both ways to compile are in `rates`.

    Args:
        task: what to train.
        compiled: `graph`, or `auto` for both ways.
        new_window: an empty window.
    """
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)
    data = batches(task)
    warm_up()
    ways = {"graph": False} if compiled == "graph" else {"xla": True, "graph": False}
    rows = {how: _fit(task, data, jit, new_window()) for how, jit in ways.items()}
    best = max(rows, key=lambda how: rows[how]["steps_per_s"])
    return {**rows[best], "compile": best, "rates": {how: row["steps_per_s"] for how, row in rows.items()}}


def _fit(task: Task, data: Any, jit: bool, window: Window) -> Row:
    """Trains until the window is full; it begins with the second epoch, and ends with an epoch."""
    reset_gpu_peak()
    keras.backend.clear_session()
    ends_s: list[float] = []
    began = time.perf_counter()
    model = faster(build(task, seed=0), jit)

    def end(epoch: int, logs: Any) -> None:
        """Marks the end of an epoch, when Keras has read the metrics from the device."""
        window.mark()
        ends_s.append(time.perf_counter())
        model.stop_training = window.is_full

    model.fit(data, epochs=_MANY, verbose=0, callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=end)])
    length = task.workload.steps_per_epoch
    return figures(
        window,
        steps=(len(ends_s) - 1) * length,
        before_s=ends_s[0] - began,
        steps_before=length,
        gpu_peak_mib=gpu_peak_mib() or None,
    )

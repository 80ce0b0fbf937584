"""One process, each model with a prefetching data set, optimizer and loss of its own; their steps take turns."""

from __future__ import annotations

import time
from typing import Any

import keras
import tensorflow as tf

from benchmarks.contestants import Result, Task
from benchmarks.contestants.fit import batches, build, warm_up


def train(task: Task) -> Result:
    """A compiled `train_step` of each model, called in turn."""
    data = batches(task)
    warm_up()
    began = time.perf_counter()
    models = [build(task, seed) for seed in range(task.models)]
    steps = [_compiled(model) for model in models]
    losses: list[list[float]] = [[] for _ in models]
    for _ in range(task.epochs):
        for model in models:
            model.reset_metrics()
        logs: list[Any] = [None] * task.models
        for rows in zip(*[data] * task.models, strict=True):
            for index, (step, batch) in enumerate(zip(steps, rows, strict=True)):
                logs[index] = step(batch)
        for curve, log in zip(losses, logs, strict=True):
            curve.append(float(log["loss"]))
    return Result(seconds=time.perf_counter() - began, losses=losses)


def _compiled(model: keras.Model) -> Any:
    return tf.function(model.train_step, reduce_retracing=True)

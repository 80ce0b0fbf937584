"""Sequential `model.fit`: as anyone writes it, and tuned."""

from __future__ import annotations

import time
from typing import Any

import keras
import tensorflow as tf

from benchmarks.contestants import Result, Task

STEPS_PER_EXECUTION = 64


def default(task: Task) -> Result:
    """`fit` with its defaults."""
    data = load(task)
    warm_up()
    began = time.perf_counter()
    losses = [_fit(build(task, seed), data, task) for seed in range(task.models)]
    return Result(seconds=time.perf_counter() - began, losses=losses)


def tuned(task: Task) -> Result:
    """Cached batches, 64 steps a call."""
    return train_tuned(task, range(task.models), jit=False)


def tuned_xla(task: Task) -> Result:
    """As `tuned`, compiled by XLA."""
    return train_tuned(task, range(task.models), jit=True)


def train_tuned(task: Task, seeds: Any, jit: bool, ready: Any = lambda: None) -> Result:
    """Models of these seeds, one after another. `ready` is called when only the timed part is left."""
    data = batches(task)
    warm_up()
    ready()
    began = time.perf_counter()
    losses = [_fit(faster(build(task, seed), jit), data, task) for seed in seeds]
    return Result(seconds=time.perf_counter() - began, losses=losses)


def load(task: Task) -> Any:
    """The training data, with as many rows as the workload has."""
    return task.workload.experiment().load_data(task.workload.rows).train


def batches(task: Task) -> Any:
    """The training data as `tf.data`: batches made once, their order shuffled in each pass."""
    data = load(task)
    if isinstance(data, tf.data.Dataset):
        return data  # decoding and augmenting are what it is about
    made = tf.data.Dataset.from_tensor_slices(data).batch(task.workload.batch_size).cache()
    for _ in made:  # fills the cache before the clock starts
        pass
    return made.shuffle(task.workload.steps_per_epoch).prefetch(tf.data.AUTOTUNE)


def build(task: Task, seed: int) -> Any:
    """The compiled model of one seed."""
    keras.utils.set_random_seed(seed)
    return task.workload.experiment().build_model()


def faster(model: Any, jit: bool) -> Any:
    """The model compiled again for speed, and nothing else changed."""
    config = model.get_compile_config()
    model.compile_from_config(config | {"steps_per_execution": STEPS_PER_EXECUTION, "jit_compile": jit})
    return model


def warm_up() -> None:
    """TensorFlow's own first call is nobody's training."""
    tf.function(lambda x: x + 1)(tf.zeros(()))


def _fit(model: Any, data: Any, task: Task) -> list[float]:
    arguments = {"x": data} if isinstance(data, tf.data.Dataset) else {"x": data[0], "y": data[1]}
    if not isinstance(data, tf.data.Dataset):
        arguments["batch_size"] = task.workload.batch_size
    history = model.fit(**arguments, epochs=task.epochs, verbose=0)
    return [float(loss) for loss in history.history["loss"]]

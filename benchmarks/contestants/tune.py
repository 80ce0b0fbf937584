"""Ray Tune: one function trainable a model, a tuned `fit` within, a report an epoch."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

from benchmarks.contestants import Result, Task
from benchmarks.workloads import ROOT, WORKLOADS


def train(task: Task) -> Result:
    """As many trials at once as there are CPUs, whose processes serve one trial after another."""
    import ray
    from ray import tune

    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "PYTHONPATH": str(ROOT)}
    cpus = len(os.sched_getaffinity(0))
    started = time.perf_counter()
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        with tempfile.TemporaryDirectory() as folder:
            space = {"seed": tune.grid_search(list(range(task.models)))}
            trainable = tune.with_resources(_trainable(task.workload.name, task.epochs), {"cpu": 1})
            run = tune.RunConfig(storage_path=folder, verbose=0)
            tuner = tune.Tuner(
                trainable, param_space=space, run_config=run, tune_config=tune.TuneConfig(reuse_actors=True)
            )
            began = time.perf_counter()
            found = tuner.fit()
            ended = time.perf_counter()
            losses = [[result.metrics["loss"]] for result in found]
            return Result(seconds=ended - began, total_s=ended - started, losses=losses)
    finally:
        ray.shutdown()


def _trainable(name: str, epochs: int) -> Any:
    def trainable(config: dict[str, Any]) -> None:
        import keras
        import tensorflow as tf
        from ray import tune

        from benchmarks.contestants.fit import batches, build, faster

        if tf.config.threading.get_intra_op_parallelism_threads() != 1:  # the process may have served a trial before
            tf.config.threading.set_intra_op_parallelism_threads(1)
        task = Task(workload=WORKLOADS[name], models=1, epochs=epochs)
        report = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: tune.report(dict(logs)))
        model = faster(build(task, config["seed"]), jit=False)
        model.fit(batches(task), epochs=epochs, verbose=0, callbacks=[report])

    return trainable

"""Ray Tune: one function trainable a model, a tuned `fit` within, a report an epoch."""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

from benchmarks.contestants import Result, Task
from benchmarks.workloads import ROOT, WORKLOADS


def train(task: Task) -> Result:
    """As many trials at once as there are CPUs. Ray is started before the clock; each trial's process after it."""
    import ray
    from ray import tune

    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "PYTHONPATH": str(ROOT)}
    cpus = len(os.sched_getaffinity(0))
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        with tempfile.TemporaryDirectory() as folder:
            space = {"seed": tune.grid_search(list(range(task.models)))}
            trainable = tune.with_resources(_trainable(task.workload.name, task.epochs), {"cpu": 1})
            run = tune.RunConfig(storage_path=folder, verbose=0)
            tuner = tune.Tuner(trainable, param_space=space, run_config=run)
            began = time.perf_counter()
            found = tuner.fit()
            seconds = time.perf_counter() - began
            return Result(seconds=seconds, losses=[result.metrics["loss"] for result in found])
    finally:
        ray.shutdown()


def _trainable(name: str, epochs: int) -> Any:
    def trainable(config: dict[str, Any]) -> None:
        import keras
        import tensorflow as tf
        from ray import tune

        from benchmarks.contestants.fit import batches, build, faster

        tf.config.threading.set_intra_op_parallelism_threads(1)
        task = Task(workload=WORKLOADS[name], models=1, epochs=epochs)
        report = keras.callbacks.LambdaCallback(on_epoch_end=lambda _, logs: tune.report(dict(logs)))
        model = faster(build(task, config["seed"]), jit=False)
        model.fit(batches(task), epochs=epochs, verbose=0, callbacks=[report])

    return trainable

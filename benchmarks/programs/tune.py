"""Ray Tune with its MLflow callback: `python -m benchmarks.programs.tune`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benchmarks.programs import EPOCHS, RATES, SEEDS, STORE


def trainable(config: dict[str, Any]) -> None:
    """One trial: a tuned `fit`, a report an epoch, the model at the end."""
    import tempfile

    import keras
    import tensorflow as tf
    from ray import tune

    from benchmarks.programs import build, fit

    if tf.config.threading.get_intra_op_parallelism_threads() != 1:  # an actor serves several trials
        tf.config.threading.set_intra_op_parallelism_threads(1)
    model = build(config["learning_rate"], config["seed"], tuned=True)

    def report(epoch: int, logs: dict[str, float]) -> None:
        if epoch + 1 < EPOCHS:
            tune.report(dict(logs))
            return
        with tempfile.TemporaryDirectory() as folder:
            model.save(Path(folder, "model.keras"))
            tune.report(dict(logs), checkpoint=tune.Checkpoint.from_directory(folder))

    fit(model, [keras.callbacks.LambdaCallback(on_epoch_end=report)])


def main() -> None:
    """All trials, as many at once as there are CPUs, their processes used again."""
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0", "PYTHONPATH": str(Path(__file__).parents[2])}
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    ray.init(num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False, log_to_driver=False)
    callback = MLflowLoggerCallback(tracking_uri=STORE, experiment_name="digits", save_artifact=True)
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"learning_rate": tune.grid_search(list(RATES)), "seed": tune.grid_search(list(SEEDS))},
        tune_config=tune.TuneConfig(reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(Path("tune").absolute()), verbose=0, callbacks=[callback]),
    )
    for result in tuner.fit():
        print("val_accuracy", result.metrics["val_accuracy"], flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()

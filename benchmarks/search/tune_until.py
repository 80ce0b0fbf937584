"""Ray Tune's ASHA around `fit`, as many trials at once as there are CPUs, until a model is good: `TARGET SEED`."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.search.table import EPOCHS, METRIC, SPACES


def trainable(config: dict[str, Any]) -> None:
    """One trial, with a report an epoch."""
    import keras
    import tensorflow as tf
    from ray import tune

    from experiments.digits_mlp import build_model, load_data

    if tf.config.threading.get_intra_op_parallelism_threads() != 1:  # an actor serves several trials
        tf.config.threading.set_intra_op_parallelism_threads(1)
    keras.utils.set_random_seed(0)
    (x, y), validation, *_ = load_data()
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: tune.report(dict(logs)))
    model = build_model(**config)
    model.fit(x, y, batch_size=32, epochs=EPOCHS, validation_data=validation, verbose=0, callbacks=[callback])


def main() -> None:
    """Random search over the grid, stopped by ASHA."""
    os.environ |= {"RAY_AIR_NEW_OUTPUT": "0"}
    import random

    import numpy as np
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    target, seed = float(sys.argv[1]), int(sys.argv[2])
    random.seed(seed)
    np.random.seed(seed)  # which `tune.choice` draws from

    class Until(tune.Callback):  # type: ignore[misc]
        """Ends the program once a model is good."""

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
            """As `tune.Callback.on_trial_result`."""
            if result[METRIC] <= target:
                print("REACHED", time.time(), flush=True)
                ray.shutdown()
                os._exit(0)

    ray.init(num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False, log_to_driver=False)
    scheduler = ASHAScheduler(metric=METRIC, mode="min", max_t=EPOCHS, reduction_factor=3, grace_period=1)
    tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={name: tune.choice(values) for name, values in SPACES["digits"].items()},
        tune_config=tune.TuneConfig(reuse_actors=True, num_samples=200, scheduler=scheduler),
        run_config=tune.RunConfig(storage_path=str(Path("tune").absolute()), verbose=0, callbacks=[Until()]),
    ).fit()


if __name__ == "__main__":
    main()

"""Optuna with TPE and its successive halving pruner around `fit`, until a model is good: `TARGET SEED`."""

from __future__ import annotations

import os
import sys
import time
from typing import Any

from benchmarks.search.table import EPOCHS, METRIC, SPACES


def main() -> None:
    """One trial after another, as `study.optimize` has them."""
    import keras
    import optuna

    from experiments.digits_mlp import build_model, load_data

    target, seed = float(sys.argv[1]), int(sys.argv[2])
    (x, y), validation, *_ = load_data()
    optuna.logging.set_verbosity(optuna.logging.ERROR)

    def objective(trial: Any) -> float:
        keras.utils.set_random_seed(0)
        params = {
            name: values[trial.suggest_int(name, 0, len(values) - 1)] for name, values in SPACES["digits"].items()
        }
        model, losses = build_model(**params), list[float]()

        def report(epoch: int, logs: dict[str, float]) -> None:
            losses.append(logs[METRIC])
            if logs[METRIC] <= target:
                print("REACHED", time.time(), flush=True)
                os._exit(0)
            trial.report(logs[METRIC], epoch + 1)
            model.stop_training = trial.should_prune()

        callback = keras.callbacks.LambdaCallback(on_epoch_end=report)
        model.fit(x, y, batch_size=32, epochs=EPOCHS, validation_data=validation, verbose=0, callbacks=[callback])
        if len(losses) < EPOCHS:
            raise optuna.TrialPruned
        return losses[-1]

    pruner = optuna.pruners.SuccessiveHalvingPruner(reduction_factor=3)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed), pruner=pruner)
    study.optimize(objective, n_trials=1000)


if __name__ == "__main__":
    main()

"""W7, a whole sweep as a user would start it: 16 trials of one network on digits, with validation and MLflow.

Each contestant is a program of its own, timed from its start to its exit. All train the same trials (four learning
rates, four seeds) and leave in MLflow, for each trial, a run with its parameters, every epoch's metrics and the model.
"""

from __future__ import annotations

import importlib.util
import itertools
from pathlib import Path
from typing import Any

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "digits_mlp.py"
RATES, SEEDS = (1e-3, 2e-3, 3e-3, 1e-2), (0, 1, 2, 3)
EPOCHS, BATCH_SIZE = 20, 32
STEPS_PER_EXECUTION = 45  # an epoch of 1,437 rows, the best for `fit`
STORE = "sqlite:///mlflow.db"


def trials() -> list[dict[str, Any]]:
    """The settings of every trial."""
    return [{"learning_rate": rate, "seed": seed} for rate, seed in itertools.product(RATES, SEEDS)]


def overrides() -> list[str]:
    """The same trials for `python -m runner sweep`."""
    values = {"params.learning_rate": RATES, "seed": SEEDS}
    searched = [f"{name}={','.join(map(str, choices))}" for name, choices in values.items()]
    return [*searched, f"train.epochs={EPOCHS}", f"train.batch_size={BATCH_SIZE}", "search.metric=val_accuracy"]


def experiment() -> Any:
    """The experiment file as a module."""
    spec = importlib.util.spec_from_file_location("digits_mlp", EXPERIMENT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_data() -> Any:
    """`(x, y), (x_val, y_val)`."""
    return experiment().load_data()


def build(learning_rate: float, seed: int, tuned: bool) -> Any:
    """A compiled model of one trial; tuned, an epoch is one call."""
    import keras

    keras.utils.set_random_seed(seed)
    model = experiment().build_model(learning_rate=learning_rate)
    if tuned:
        config = model.get_compile_config()
        model.compile_from_config(config | {"steps_per_execution": STEPS_PER_EXECUTION})
    return model


def fit(model: Any, callbacks: Any) -> Any:
    """Trains and returns the `History`."""
    (x, y), validation = load_data()
    arguments = {"epochs": EPOCHS, "batch_size": BATCH_SIZE, "verbose": 0, "callbacks": callbacks}
    return model.fit(x, y, validation_data=validation, **arguments)


def mlflow_run(client: Any, experiment_id: str, trial: dict[str, Any], train: Any) -> float:
    """Trains within an MLflow run: parameters, each epoch's metrics, the model's file; returns val_accuracy.

    Args:
        client: an `MlflowClient`.
        experiment_id: of MLflow.
        trial: the settings.
        train: called with a Keras callback; returns the model and its `History`.
    """
    import tempfile
    import time

    import keras
    from mlflow.entities import Metric

    run_id = client.create_run(experiment_id).info.run_id
    for name, value in trial.items():
        client.log_param(run_id, name, value)

    def log(epoch: int, logs: dict[str, float]) -> None:
        now = int(time.time() * 1000)
        client.log_batch(run_id, metrics=[Metric(name, value, now, epoch + 1) for name, value in logs.items()])

    model, history = train(keras.callbacks.LambdaCallback(on_epoch_end=log))
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder, "model.keras"))
        client.log_artifacts(run_id, folder, "model")
    client.set_terminated(run_id)
    return float(history.history["val_accuracy"][-1])

"""KerasTuner's grid search, a tuned `fit` a trial: `python -m benchmarks.programs.keras_tuner`."""

from __future__ import annotations

from typing import Any

import keras_tuner
from mlflow import MlflowClient

from benchmarks.programs import RATES, SEEDS, STORE, build, fit, mlflow_run


class DigitsTuner(keras_tuner.GridSearch):
    """Trains each trial within an MLflow run."""

    def __init__(self, client: Any, experiment_id: str, **options: Any) -> None:
        super().__init__(**options)
        self._client, self._mlflow_experiment = client, experiment_id

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """One trial."""
        values = {name: trial.hyperparameters.get(name) for name in ("learning_rate", "seed")}

        def train(callback: object) -> tuple[object, object]:
            model = build(**values, tuned=True)
            return model, fit(model, [callback])

        score = mlflow_run(self._client, self._mlflow_experiment, values, train)
        print("val_accuracy", score, flush=True)
        return {"val_accuracy": score}


class Hyper(keras_tuner.HyperModel):
    """Names what is searched; building is the tuner's, in its run."""

    def build(self, hp: Any) -> Any:
        """A model of the current values."""
        return build(hp.Choice("learning_rate", list(RATES)), hp.Choice("seed", list(SEEDS)), tuned=True)


def main() -> None:
    """All trials."""
    client = MlflowClient(STORE)
    tuner = DigitsTuner(
        client,
        client.create_experiment("digits"),
        hypermodel=Hyper(),
        objective=keras_tuner.Objective("val_accuracy", "max"),
        max_trials=len(RATES) * len(SEEDS),
        directory="keras_tuner",
        project_name="digits",
        overwrite=True,
    )
    tuner.search()


if __name__ == "__main__":
    main()

"""One `fit` after another in one process: `python -m benchmarks.programs.fit [tuned]`."""

from __future__ import annotations

import sys
from typing import Any

from benchmarks.programs import STORE, build, fit, mlflow_run, trials


def main(tuned: bool) -> None:
    """All trials."""
    from mlflow import MlflowClient

    client = MlflowClient(STORE)
    experiment_id = client.create_experiment("digits")
    for trial in trials():

        def train(callback: object, trial: dict[str, Any] = trial) -> tuple[object, object]:
            model = build(**trial, tuned=tuned)
            return model, fit(model, [callback])

        print("val_accuracy", mlflow_run(client, experiment_id, trial, train), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] == ["tuned"])

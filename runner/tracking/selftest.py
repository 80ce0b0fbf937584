"""Asks an MLflow store for its experiments, in a separate process."""

from __future__ import annotations

import json
import os
import sys


def main(uri: str) -> None:
    """Prints MLflow's version as a line of JSON if the store answers."""
    os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    import mlflow

    mlflow.MlflowClient(uri).search_experiments(max_results=1)
    print(json.dumps({"mlflow": mlflow.__version__}))


if __name__ == "__main__":
    main(sys.argv[1])

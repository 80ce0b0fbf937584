"""The exporter process: writes `.keras` files as MLflow model folders, so that the driver never imports TensorFlow.

`python -m runner.tracking.exporter` reads one job a line on stdin, `{"id", "model", "folder", "run_id"}`, and answers
one line each on stdout, `{"id", "error"}` (null for none). It ends at once when stdin ends: no driver, no exporter.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, TextIO

_NICENESS = 10  # training goes first


def main() -> None:
    """Serves jobs until stdin ends."""
    answers = _take_stdout()
    jobs: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    os.nice(_NICENESS)
    while True:
        job = jobs.get()
        print(json.dumps({"id": job["id"], "error": _export(job)}), file=answers, flush=True)


def _read_jobs(jobs: queue.SimpleQueue[dict[str, str]]) -> None:
    # Its own thread, so that the end of stdin is noticed while a model is being written.
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(0)


def _take_stdout() -> TextIO:
    """Keeps stdout for answers; whatever else is printed in this process goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _export(job: dict[str, str]) -> str | None:
    try:
        _write_mlflow_model(Path(job["model"]), Path(job["folder"]), job["run_id"])
    except Exception as err:  # a user's model may fail to load in any way; the answer says how
        traceback.print_exc()
        return f"{type(err).__name__}: {err}".strip()
    return None


def _write_mlflow_model(file: Path, folder: Path, run_id: str) -> None:
    import keras
    import mlflow.keras
    import tensorflow as tf
    from mlflow.models import Model

    shutil.rmtree(folder, ignore_errors=True)  # what an interrupted attempt left
    model = keras.models.load_model(file)
    # Given requirements: otherwise MLflow loads the model in yet another process to see what it imports (10 s).
    mlflow.keras.save_model(
        model,
        str(folder),
        mlflow_model=Model(run_id=run_id),
        signature=_signature(model),
        pip_requirements=[f"keras=={keras.__version__}", f"tensorflow=={tf.__version__}"],
    )


def _signature(model: Any) -> Any:
    """Names, dtypes and shapes of inputs and outputs; None for a model that does not say (not built, odd dtypes)."""
    from mlflow.models import ModelSignature

    # A functional model has the structure in `input`, a sequential one only the flat `inputs`.
    inputs, outputs = (_schema(getattr(model, name, getattr(model, f"{name}s", None))) for name in ("input", "output"))
    return ModelSignature(inputs=inputs, outputs=outputs) if inputs is not None else None


def _schema(tensors: Any) -> Any:
    import numpy as np
    from mlflow.types.schema import Schema, TensorSpec

    if tensors is None:
        return None
    if isinstance(tensors, dict):
        named: list[tuple[str | None, Any]] = list(tensors.items())
    else:
        flat = list(tensors) if isinstance(tensors, list | tuple) else [tensors]
        named = [(tensor.name if len(flat) > 1 else None, tensor) for tensor in flat]
    if not all(hasattr(tensor, "shape") for _, tensor in named):
        return None  # nested structures
    if not all(tensor.dtype in np.sctypeDict for _, tensor in named):
        return None
    specs = [
        TensorSpec(np.dtype(tensor.dtype), (-1, *(-1 if size is None else size for size in tensor.shape[1:])), name)
        for name, tensor in named
    ]
    return Schema(specs)


if __name__ == "__main__":
    main()

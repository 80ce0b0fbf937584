"""The data that a trial was trained on, as MLflow's inputs of its run: names, digests and schemas; no values.

Source: mlflow 3.17, `mlflow/data/numpy_dataset.py` and `mlflow/data/code_dataset_source.py`, whose form this is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.types.schema import Schema, TensorSpec
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from runner.journal import TrialRecord
from runner.records import DataSet, Tensor, json_text
from runner.tracking.client import clipped

_CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}
_NAME = 500  # characters; MLflow's limit
_PARTS = {"x": "features", "y": "targets", "sample_weight": "sample_weight"}


def inputs_of(trial: TrialRecord) -> list[DatasetInput]:
    """The splits of a trial's data; none of one that an older version has recorded."""
    sets = () if trial.facts is None else trial.facts.data
    return [_input(trial, one) for one in sets]


def _input(trial: TrialRecord, one: DataSet) -> DatasetInput:
    source = trial.trial.source
    params = {name: trial.trial.params[name] for name in trial.trial.data_params}
    code = {"mlflow.source.name": source.path, "function": "load_data", "arguments": json_text(params)}
    dataset = Dataset(
        name=clipped(f"{source.module.removesuffix('.py')}.{one.split}", _NAME),
        digest=one.digest,
        source_type="code",
        source=json.dumps({"tags": code}),
        schema=json.dumps({"mlflow_tensorspec": _schemas(one.tensors)}),
        profile=json.dumps(_profile(one)),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, _CONTEXTS.get(one.split, one.split))])


def _schemas(tensors: Iterable[Tensor]) -> dict[str, str | None]:
    """A schema of the features and one of the targets, as JSON in JSON."""
    parts: dict[str, list[TensorSpec]] = {"features": [], "targets": []}
    for tensor in tensors:
        head, bracket, inner = (tensor.name or "x").partition("[")
        name = f"{head}{bracket}{inner}" if bracket else None
        parts.setdefault(_PARTS.get(head, head), []).append(TensorSpec(_dtype(tensor.dtype), tensor.shape, name))
    return {
        part: Schema(specs if len(specs) == 1 or all(spec.name for spec in specs) else specs[:1]).to_json()
        if specs
        else None
        for part, specs in parts.items()
    }


def _dtype(name: str) -> np.dtype:
    """The type for a schema; NumPy lacks some of TensorFlow's, such as string and bfloat16."""
    try:
        return np.dtype(name)
    except TypeError:
        return np.dtype(object)


def _profile(one: DataSet) -> dict[str, object]:
    """Sizes, by MLflow's names; of a pipeline those of a batch."""
    found: dict[str, object] = {} if one.rows is None else {"num_rows": one.rows}
    for tensor in one.tensors:
        shape = [one.rows, *tensor.shape[1:]] if one.rows is not None else list(tensor.shape)
        part = _PARTS.get(tensor.name or "x", tensor.name or "x")
        found[f"{part}_shape"] = shape
        if all(isinstance(size, int) and size >= 0 for size in shape):
            found[f"{part}_size"] = math.prod(size for size in shape if isinstance(size, int))
    return found

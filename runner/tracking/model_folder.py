"""The folder that `mlflow.keras.save_model` would write for a `.keras` file, made without TensorFlow.

That function needs the live model, and so TensorFlow, which the driver never imports. Everything that it writes beside
the file is text. Imported in MLflow's thread only.

Source: mlflow 3.17, `mlflow/keras/save.py` and `mlflow/utils/environment.py`.
"""

from __future__ import annotations

import json
import math
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import mlflow.pyfunc
import numpy as np
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import Schema, TensorSpec

from runner.records import Signature, Tensor
from runner.tracking.artifact_files import MODEL_FILE
from runner.tracking.foreign_errors import mapped

_EXAMPLE, _SERVED_EXAMPLE = "input_example.json", "serving_input_example.json"
_EXAMPLE_TYPES = {"f": float, "V": float, "i": int, "u": int, "b": bool}
_MOST_VALUES = 20_000  # of an example
_BUILD_PACKAGES = ("pip", "setuptools", "wheel")


@contextmanager
def model_folder(
    size_bytes: int,
    run_id: str,
    signature: Signature | None,
    versions: Mapping[str, str],
    staging: Path | None = None,
) -> Iterator[Path]:
    """Makes a temporary folder that MLflow's keras and pyfunc flavors can load once `MODEL_FILE` is added.

    Args:
        size_bytes: of the `.keras` file.
        run_id: the run that trained it.
        signature: the model's; None for a model that does not declare its inputs.
        versions: of the packages that trained it.
        staging: parent of the folder; None for the system's folder of temporary files.

    Raises:
        TrackingError: the folder cannot be written.
    """
    with mapped(), tempfile.TemporaryDirectory(dir=staging) as name:
        folder = Path(name)
        data = (folder / MODEL_FILE).parent
        data.mkdir()
        (data / "keras_module.txt").write_text("keras", encoding="utf-8")
        example = None if signature is None else input_example(signature)
        described = _describe(run_id, signature, versions, size_bytes, has_example=example is not None)
        described.save(str(folder / "MLmodel"))
        texts = {_EXAMPLE: json.dumps(example), _SERVED_EXAMPLE: json.dumps({"inputs": example})}
        texts = {} if example is None else texts
        for path, text in {**texts, **_environment_files(versions)}.items():
            (folder / path).write_text(text, encoding="utf-8")
        yield folder


def input_example(signature: Signature) -> object | None:
    """A batch of one row of zeros, or empty texts, that the model takes; None if it would be large.

    Rows of the data would be recorded with it, and may be confidential.
    """
    shapes = [tuple(1 if size < 0 else size for size in tensor.shape) for tensor in signature.inputs]
    if sum(map(math.prod, shapes)) > _MOST_VALUES:
        return None
    values = [
        np.zeros(shape, _EXAMPLE_TYPES.get(np.dtype(one.dtype).kind, "U")).tolist()
        for one, shape in zip(signature.inputs, shapes, strict=True)
    ]
    names = [tensor.name for tensor in signature.inputs]
    return values[0] if len(values) == 1 and names[0] is None else dict(zip(names, values, strict=True))


def _describe(
    run_id: str, signature: Signature | None, versions: Mapping[str, str], size_bytes: int, *, has_example: bool
) -> Model:
    model = Model(run_id=run_id)
    if has_example:
        model.saved_input_example_info = {
            "artifact_path": _EXAMPLE,
            "serving_input_path": _SERVED_EXAMPLE,
            "type": "ndarray",
            "format": "tf-serving",
        }
    if signature is not None:
        model.signature = ModelSignature(_schema(signature.inputs), _schema(signature.outputs))
    model.add_flavor(
        "keras",
        data="data",
        keras_version=versions.get("keras"),
        keras_backend="tensorflow",
        save_exported_model=False,
    )
    mlflow.pyfunc.add_to_model(
        model, loader_module="mlflow.keras", conda_env="conda.yaml", python_env="python_env.yaml"
    )
    model.model_size_bytes = size_bytes
    return model


def _schema(tensors: Sequence[Tensor] | None) -> Schema | None:
    if tensors is None:
        return None
    return Schema([TensorSpec(np.dtype(item.dtype), item.shape, item.name) for item in tensors])


def _environment_files(versions: Mapping[str, str]) -> dict[str, str]:
    """The files that tell a server what to install before it serves the model."""
    required = [f"{name}=={versions[name]}" for name in ("mlflow", "keras", "tensorflow") if name in versions]
    python, build = platform.python_version(), {name: _installed(name) for name in _BUILD_PACKAGES}
    pinned = [f"{name}=={found}" if found else name for name, found in build.items()]
    pip = f"pip<={build['pip']}" if build["pip"] else "pip"  # conda-forge may not have the newest version yet
    return {
        "requirements.txt": "\n".join(required),
        "python_env.yaml": f"python: {python}\nbuild_dependencies:\n{_items(pinned)}"
        "dependencies:\n- -r requirements.txt\n",
        "conda.yaml": f"channels:\n- conda-forge\ndependencies:\n- python={python}\n- {pip}\n- pip:\n"
        f"{_items(required, '  ')}name: mlflow-env\n",
    }


def _items(values: Sequence[str], indent: str = "") -> str:
    return "".join(f"{indent}- {value}\n" for value in values)


@cache
def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

"""Plain Keras, without this program: `python load.py FOLDER` loads every export in FOLDER and evaluates it."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)
import keras  # noqa: E402
import numpy as np  # noqa: E402


def load(export: Path) -> Any:
    """The model, by `model.keras` where there is one, else by `rebuild.py`."""
    keras.utils.clear_session()
    if (export / "model.keras").exists():
        return keras.models.load_model(export / "model.keras")
    spec = importlib.util.spec_from_file_location("rebuild", export / "rebuild.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.model


def evaluate(model: Any, case: str) -> dict[str, Any]:
    """Metrics over the validation split, `val_` before their names; empty where there is none."""
    from fit import arguments
    from models import CASES

    data = CASES[case].data()
    validation = data[1] if isinstance(data, tuple | list) else data.validation
    if validation is None:
        return {}
    found = model.evaluate(**arguments(validation), verbose=0, return_dict=True)
    return {f"val_{name}": np.asarray(value, "float64").tolist() for name, value in found.items()}


def main() -> None:
    folder, models, found = Path(sys.argv[1]), {}, {}
    sys.modules["runner"] = None  # type: ignore[assignment]  # an export needs nothing of this program
    for export in sorted(path for path in folder.iterdir() if path.is_dir()):
        try:
            models[export.name] = load(export)
        except Exception:
            found[export.name] = traceback.format_exc()
    del sys.modules["runner"]
    for case, model in models.items():
        try:
            np.savez(folder / f"{case}.npz", *model.get_weights())
            found[case] = evaluate(model, case)
        except Exception:
            found[case] = traceback.format_exc()
    (folder / "load.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()

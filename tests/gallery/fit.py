"""Plain Keras: `python fit.py FOLDER [CASE ...]` trains those cases, or all, by `fit` and writes what came of it."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow"}
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)  # threads change the last bits: as many as a slot has
tf.config.threading.set_inter_op_parallelism_threads(1)
import keras  # noqa: E402
import numpy as np  # noqa: E402
from models import CASES  # noqa: E402

from runner import Data  # noqa: E402

EPOCHS, SEED = 2, 3


def arguments(part: Any) -> dict[str, Any]:
    """What `fit` and `evaluate` are given for a split: NumPy's texts as TensorFlow's, which they need."""
    if not isinstance(part, tuple):
        return {"x": part}
    named = dict(zip(("x", "y", "sample_weight"), part, strict=False))
    texts = tf.nest.map_structure(
        lambda leaf: (
            tf.constant(leaf.astype(object))
            if getattr(leaf, "dtype", None) is not None and leaf.dtype.kind == "U"
            else leaf
        ),
        named["x"],
    )
    return {**named, "x": texts, "batch_size": 32}


def train(case: str, folder: Path) -> dict[str, Any]:
    """Trains a case; its weights become `CASE.npz`."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(SEED)
    data = CASES[case].data()
    data = data if isinstance(data, Data) else Data(train=data[0], validation=data[1])
    keras.utils.clear_session()
    keras.utils.set_random_seed(SEED)
    model = CASES[case].build()
    validation = None
    if data.validation is not None:
        given = arguments(data.validation)
        names = [name for name in ("x", "y", "sample_weight") if name in given]
        validation = tuple(given[name] for name in names) if isinstance(data.validation, tuple) else given["x"]
    history = model.fit(
        **arguments(data.train), validation_data=validation, class_weight=data.class_weight, epochs=EPOCHS,
        shuffle=False, verbose=0,
    ).history  # fmt: skip
    np.savez(folder / f"{case}.npz", *model.get_weights())
    return {name: np.asarray(values, "float64").tolist() for name, values in history.items()}


def main() -> None:
    folder, found = Path(sys.argv[1]), {}
    (folder / "cases.json").write_text(json.dumps(sorted(CASES)))
    for case in sys.argv[2:] or CASES:
        began = time.process_time()
        try:
            found[case] = train(case, folder)
        except Exception:
            found[case] = traceback.format_exc()
        print(case, round(time.process_time() - began, 2), str(found[case])[-300:], flush=True)
    (folder / "fit.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()

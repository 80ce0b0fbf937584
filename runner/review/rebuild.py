"""The script in an export that rebuilds the model from its code and weights, without this program."""

from __future__ import annotations

from string import Template

from runner.records import Trial

_SCRIPT = Template('''\
"""Rebuilds the trained model from its code and weights: `python rebuild.py`, or `from rebuild import model`."""

import importlib.machinery
import importlib.util
import pathlib
import sys
import types

import keras
import numpy as np
import tensorflow as tf

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = HERE / "source"
BATCH = $batch  # what a training batch looks like


class Data:
    """Stands in for the `Data` that the experiment may import from `runner`."""

    def __init__(self, *, train, validation=None, test=None, class_weight=None):
        self.train, self.validation, self.test, self.class_weight = train, validation, test, class_weight

    @classmethod
    def of(cls, value):
        """As `runner.Data.of`."""
        return value if hasattr(value, "train") else cls(train=value[0], validation=value[1])


def stand_in(name):
    """Stands in for what else of `runner` an experiment may name, which does nothing outside of a sweep."""
    if name.startswith("__"):
        raise AttributeError(name)
    return pathlib.Path.cwd if name == "trial_folder" else lambda *args, **kwargs: None


def rows_of(part):
    """The first rows of a part of the data, as training receives them."""
    if part is None:
        return None
    if isinstance(part, dict):
        return {name: rows_of(value) for name, value in part.items()}
    if isinstance(part, (tuple, list)) and not all(np.isscalar(item) for item in part):
        if isinstance(part, tuple) or hasattr(part[0], "shape"):
            return tuple(rows_of(item) for item in part)
    rows = part[:$batch_size]
    if hasattr(rows, "columns"):
        rows = np.stack([rows.iloc[:, index].to_numpy() for index in range(rows.shape[1])], axis=1)
    rows = np.asarray(rows)[:, None] if hasattr(rows, "to_frame") else np.asarray(rows)
    return tf.convert_to_tensor(rows.astype(keras.config.floatx()) if rows.dtype.kind == "f" else rows)


def first_batch():
    """One training batch, because a step that is not traced needs values."""
    data = Data.of(experiment.load_data(**$data_params))
    train = data.train
    if hasattr(train, "element_spec"):
        return next(iter(train))
    if hasattr(train, "num_batches"):
        return keras.tree.map_structure(lambda part: None if part is None else tf.convert_to_tensor(part), train[0])
    x, y, weight = (*map(rows_of, train if isinstance(train, tuple) else (train,)), None, None)[:3]
    if data.class_weight:
        weight = tf.ones(len(y))
    return keras.utils.pack_x_y_sample_weight(x, y, weight)


def fits():
    """Whether the model has a variable for each saved weight."""
    return [tuple(weight.shape) for weight in model.weights] == [weight.shape for weight in weights]


def create_variables():
    """Creates the variables that `build_model` leaves to the first step of training or of validation."""
    for step in (model.train_step, model.test_step):
        if fits():
            return
        if BATCH is None or model.run_eagerly:
            step(first_batch())
        else:
            tf.function(step, autograph=False).get_concrete_function(BATCH)
    if not fits():
        sys.exit(f"weights.npz has {len(weights)} arrays that are not the {len(model.weights)} weights of this model")


sys.path.insert(0, str(SOURCE))
if importlib.machinery.PathFinder.find_spec("runner", [str(SOURCE)]) is None and "runner" not in sys.modules:
    sys.modules["runner"] = types.ModuleType("runner")
    sys.modules["runner"].Data, sys.modules["runner"].__getattr__ = Data, stand_in
spec = importlib.util.spec_from_file_location("experiment", SOURCE / $file)
experiment = sys.modules["experiment"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(experiment)

keras.utils.set_random_seed($seed)
model = experiment.build_model(**$params)
with np.load(HERE / "weights.npz", allow_pickle=False) as file:
    weights = [file[name] for name in file.files]
create_variables()
model.set_weights(weights)

if __name__ == "__main__":
    model.summary()
''')


def rebuild_script(trial: Trial, batch: str) -> str:
    """The text of `rebuild.py`, which belongs beside `weights.npz` and the folder `source`.

    Args:
        trial: the model's trial.
        batch: as `Facts.batch`.
    """
    return _SCRIPT.substitute(
        file=repr(trial.source.module),
        seed=trial.seed,
        params={name: trial.params[name] for name in trial.model_params},
        data_params={name: trial.params[name] for name in trial.data_params},
        batch_size=trial.train.batch_size,
        batch=batch or "None",
    )

"""What a worker says of a model is what MLflow and Keras find in the file that it returns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from models import CASES

from runner.records import Export, Report, Signature, Tensor, Work
from runner.review.rebuild import rebuild_script

pytestmark = pytest.mark.usefixtures("tensorflow")
PLAIN = ["functional", "dict_inputs", "two_inputs", "two_outputs", "cnn_batchnorm", "dropout_mlp"]


def train_and_export(trial: Any) -> tuple[Report, Export]:
    from runner.worker.worker import Worker

    worker = Worker()
    report = worker.advance([Work(trial=trial, round=0)], [worker.load(trial)])[trial.id]
    assert isinstance(report, Report), report
    export = worker.export(trial, False)
    assert isinstance(export, Export), export
    return report, export


@pytest.mark.parametrize("case", PLAIN)
def test_the_signature_of_a_live_model_is_that_of_its_file(case: str, make_trial: Any, tmp_path: Any) -> None:
    import keras

    from runner.worker.validation import signature_of

    assert case in CASES
    report, export = train_and_export(make_trial(case, epochs=1))
    assert report.facts is not None
    file = tmp_path / "model.keras"
    file.write_bytes(export.model)
    found, loaded = report.facts.signature, signature_of(keras.models.load_model(file))
    assert found is not None
    assert loaded is not None
    assert found.inputs == loaded.inputs
    # Outputs in a list have automatic names, which differ per build.
    assert [(t.dtype, t.shape) for t in found.outputs or ()] == [(t.dtype, t.shape) for t in loaded.outputs or ()]


def test_a_signature_leaves_out_dtypes_that_a_process_without_tensorflow_lacks() -> None:
    import keras

    from runner.worker.validation import signature_of

    x, narrow = keras.Input((3,)), keras.Input((3,), dtype="bfloat16")
    found = signature_of(keras.Model(x, keras.layers.Dense(2, dtype="mixed_bfloat16")(x)))
    assert found == Signature(inputs=(Tensor(name=None, dtype="float32", shape=(-1, 3)),), outputs=None)
    assert signature_of(keras.Model(narrow, keras.layers.Dense(2)(narrow))) is None


def test_a_model_that_keras_cannot_load_again_is_kept_as_weights(
    make_trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    def fail(file: object) -> None:
        raise RuntimeError("a bug of Keras")

    monkeypatch.setattr(keras.models, "load_model", fail)
    report, export = train_and_export(make_trial(epochs=1))
    assert report.facts is not None
    assert report.facts.loadable
    assert export.model == b""
    assert export.weights


@pytest.mark.parametrize("kind", ["of Python", "of TensorFlow", "of another error"])
def test_a_file_is_kept_where_the_memory_does_not_hold_the_model_a_second_time(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras
    import tensorflow as tf

    from runner.worker.programs.engine import Engine

    def run_out(file: object) -> None:
        if kind == "of TensorFlow":
            raise tf.errors.ResourceExhaustedError(
                None, None, "OOM when allocating tensor with shape[9] and type float"
            )
        if kind == "of Python":
            raise MemoryError
        raise ValueError("a layer cannot be made") from MemoryError()

    model = SimpleNamespace(save=lambda file: file.write_bytes(b"model"))
    engine: Any = SimpleNamespace(model=model, _loads=None)
    file = tmp_path / "000.keras"
    with monkeypatch.context() as patch:
        patch.setattr(keras.models, "load_model", run_out)
        assert Engine.save(engine, file)
    assert file.read_bytes() == b"model"
    assert engine._loads is None, "the next trial tries again"
    assert not Engine.save(engine, file), "these bytes are no model"
    assert not file.exists()


def test_nothing_is_written_for_a_model_whose_like_could_not_be_loaded(tmp_path: Path) -> None:
    from runner.worker.programs.engine import Engine

    engine: Any = SimpleNamespace(model=SimpleNamespace(save=pytest.fail), _loads=False)
    assert not Engine.save(engine, tmp_path / "000.keras")


REBUILD = """
import runpy, sys
import numpy as np

class Absent:
    def find_spec(self, name, *_):
        if name == "runner":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
for folder in sys.argv[1:]:
    for name in ("experiment", "models", "own_steps"):
        sys.modules.pop(name, None)
    sys.path_importer_cache.clear()
    model = runpy.run_path(folder + "/rebuild.py")["model"]
    with np.load(folder + "/weights.npz") as file:
        weights = [file[name] for name in file.files]
    assert model.compiled and len(weights) > 0
    for ours, theirs in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    sys.path.remove(folder + "/source")
"""
CODED = ("subclassed", "unlabelled", "two_optimizers", "siamese", "eager_two_optimizers")
EAGER = """
import keras, numpy as np, pandas as pd, tensorflow as tf
from runner import Data, log_metric, trial_folder

log_metric("outside_of_a_sweep", 1.0)
assert trial_folder().is_dir()
X = np.random.default_rng(0).normal(size=(40, 3))

class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        rows = slice(20 * index, 20 * index + 20)
        return X[rows], X[rows, :1]

def load_data(kind):
    frame = pd.DataFrame(X, columns=list("abc"))
    train = {
        "without_labels": (X, None),
        "of_batches": Batches(),
        "of_doubles": (X, X[:, :1]),
        "of_a_column": (X, frame["a"]),
        "of_a_frame": (frame.assign(d=frame["a"] > 0), frame["a"]),
        "of_lists": ([X, X], [float(number) for number in X[:, 0]]),
        "weighted": (X, np.arange(40) % 2),
    }[kind]
    return Data(train=train, class_weight={0: 1.0, 1: 2.0} if kind == "weighted" else None)

class Eager(keras.Model):
    def train_step(self, data):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        for part in (*x, y, weight) if isinstance(x, tuple) else (x, y, weight):
            assert part is None or (tf.is_tensor(part) and part.dtype in self.dtypes), part
        assert y is None or len(y.shape) == (1 if isinstance(x, tuple) or y.dtype.is_integer else 2)
        x = tf.cast(x[0] if isinstance(x, tuple) else x, tf.float32)
        if not hasattr(self, "kernel"):
            shape = (x.shape[-1], 1 if y is None else len(y.shape) + (weight is not None))
            self.kernel = self.add_weight(shape=shape, name="kernel")
        self.kernel.assign_add(tf.ones_like(self.kernel))
        return {"loss": tf.reduce_mean(x @ self.kernel)}

def build_model(kind):
    model = Eager()
    model.dtypes = {tf.float64} if kind == "of_batches" else {tf.float32, tf.int64}
    model.compile("sgd", run_eagerly=True)
    return model
"""
KINDS = ("without_labels", "of_batches", "of_doubles", "of_a_column", "of_a_frame", "of_lists", "weighted")
NO_DATA = "\n\ndef load_data(case):\n    raise RuntimeError('its first step is traced, without data')\n"


@pytest.mark.parametrize(
    ("coded", "kinds"),
    [(CODED[:1], KINDS[-1:]), pytest.param(CODED[1:], KINDS[:-1], marks=pytest.mark.slow)],
    ids=["two models", "the others"],
)
def test_a_model_is_rebuilt_from_its_source_and_weights_without_this_program(
    coded: tuple[str, ...], kinds: tuple[str, ...], make_trial: Any, tmp_path: Path
) -> None:
    folders = []
    (tmp_path / "eager.py").write_text(EAGER, encoding="utf-8")
    trials = {case: make_trial(case, epochs=1) for case in coded}
    for kind in kinds:
        args = {"path": tmp_path / "eager.py", "params": {"kind": kind}}
        trials[f"eager_{kind}"] = make_trial(epochs=1, batch_size=16, **args)
    for case, trial in trials.items():
        report, export = train_and_export(trial)
        assert report.facts is not None
        folder = tmp_path / case
        (folder / "source").mkdir(parents=True)
        for name, text in trial.source.files:
            is_traced = name == "cases.py" and not case.startswith("eager")
            (folder / "source" / name).write_text(text + NO_DATA * is_traced, encoding="utf-8")
        (folder / "weights.npz").write_bytes(export.weights)
        script = rebuild_script(trial, report.facts.batch)
        (folder / "rebuild.py").write_text(script, encoding="utf-8")
        folders.append(str(folder))
    done = subprocess.run(
        [sys.executable, "-c", REBUILD, *folders], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]

"""What `load_data` may return is trained as `fit` trains it, and what it may not is refused with what to do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from test_training_equals_fit import epochs, train

from runner.records import Checked, Failure, Trial

pytestmark = pytest.mark.usefixtures("tensorflow")

HEAD = """
import keras, numpy as np, tensorflow as tf
from runner import Data
rng = np.random.default_rng(0)
x = rng.normal(size=(48, 8)).astype("float32")
y = rng.integers(3, size=48)

def build_model():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model
"""


@pytest.fixture
def trial_of(make_trial: Any, tmp_path: Path) -> Any:
    """A trial of `HEAD` and the rest of an experiment's file."""

    def make(code: str, **train: Any) -> Trial:
        path = tmp_path / "experiment.py"
        path.write_text(HEAD + code, encoding="utf-8")
        return make_trial(path=path, params={}, **{"batch_size": 16, "shuffle": False, **train})

    return make


def check(trial: Trial) -> Checked | Failure:
    from runner.worker.worker import Worker

    worker = Worker()
    return worker.check(trial, worker.load(trial))


VECTOR = """
def load_data():
    labels = keras.utils.to_categorical(y, 3)
    return [(x[:32], labels[:32]), (x[32:], labels[32:])]
def build_model():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, "softmax")])
    model.compile("adam", "categorical_crossentropy", metrics=[keras.metrics.F1Score()])
    return model
"""


def test_a_vector_metric_has_its_components_and_their_mean_as_in_fit(trial_of: Any) -> None:
    trial = trial_of(VECTOR, epochs=2)
    reports, _ = train(trial)
    import keras

    code: dict[str, Any] = {}
    exec(HEAD + VECTOR, code)
    (x, y), validation = code["load_data"]()
    keras.utils.set_random_seed(0)
    history = code["build_model"]().fit(
        x, y, validation_data=validation, batch_size=16, epochs=2, shuffle=False, verbose=0
    )
    for epoch, ours in enumerate(epochs(reports)):
        for name in ("f1_score", "val_f1_score"):
            theirs = history.history[name][epoch]
            assert [ours[f"{name}/{index}"] for index in range(3)] == theirs.tolist()
            assert ours[name] == pytest.approx(theirs.mean())
    checked = check(trial)
    assert isinstance(checked, Checked)
    assert {"f1_score", "val_f1_score", "val_f1_score/2"} <= set(checked.metrics)


REFUSED = {
    "text labels": (
        "def load_data(): return Data(train=(x, np.where(y > 0, 'cat', 'dog')))",
        "train y holds text ('",
        "np.unique(y, return_inverse=True)",
    ),
    "text where numbers belong": (
        "def load_data(): return Data(train=(np.full((48, 8), 'red'), y))",
        "train x holds text ('red'), and the model's inputs take float32",
        "dtype='string'",
    ),
    "rows in a list": (
        "def load_data(): return Data(train=([row for row in x], y))",
        "train x is a list of 48 arrays, which Keras takes for 48 inputs",
        "np.stack(x)",
    ),
    "labels beyond the classes, and ignored ones": (
        """
def load_data(): return Data(train=(x, np.where(y == 0, 255, y + 1)))
def build_model():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, "softmax")])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(ignore_class=255))
    return model
""",
        "train y has labels 2 to 3; the model's output has 3 classes",
        "allowed: 0 to 2",
    ),
    "a generator": (
        "def load_data(): return Data(train=((row, 1) for row in x))",
        "train data is a Python generator",
        "tf.data.Dataset.from_generator",
    ),
    "two generators": (
        "def load_data(): return ((row, 1) for row in x), ((row, 1) for row in x)",
        "train data is a Python generator",
        "tf.data.Dataset.from_generator",
    ),
    "an output without data": (
        "def load_data(): return Data(train=(x, {'a': y, 'b': None}))",
        "train y['b'] is None",
        "leave it out",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_trained_on_is_refused_with_what_to_do(case: str, trial_of: Any) -> None:
    code, found, advice = REFUSED[case]
    failure = check(trial_of(code))
    assert isinstance(failure, Failure)
    assert found in failure.message
    assert advice in failure.message


PYDATASET = """
class Batches(keras.utils.PyDataset):
    def __init__(self, x, y, **settings):
        super().__init__(**settings)
        self.x, self.y, self.rows = x, y, np.arange(len(x))
    def __len__(self):
        return len(self.x) // 8
    def __getitem__(self, index):
        rows = self.rows[8 * index : 8 * index + 8]
        return self.x[rows], self.y[rows]
    def on_epoch_end(self):
        np.random.shuffle(self.rows)
def load_data():
    return {splits}
"""
BOTH = "Batches(x[:32], y[:32]{workers}), Batches(x[32:], y[32:])"


@pytest.mark.parametrize(
    ("splits", "workers"),
    [
        (BOTH, ""),
        (f"[{BOTH}]", ""),
        ("Data(train=Batches(x[:32], y[:32]{workers}), validation=Batches(x[32:], y[32:]))", ""),
        (BOTH, ", workers=2"),
    ],
    ids=["a tuple", "a list", "Data", "several workers"],
)
def test_a_pydataset_is_trained_as_in_fit_and_said_to_be_inexact(splits: str, workers: str, trial_of: Any) -> None:
    """Its rows are shuffled by NumPy at each epoch's end."""
    code = PYDATASET.format(splits=splits.format(workers=workers))
    trial = trial_of(code, epochs=2)
    reports, _ = train(trial)
    assert reports[0].facts is not None
    assert reports[0].facts.steps_per_epoch == 4
    assert reports[0].facts.inexact == ("a keras.utils.PyDataset is Python code, which may not give the same again")
    import keras

    names: dict[str, Any] = {}
    exec(HEAD + code, names)
    training, validation = (names["Batches"](names["x"][part], names["y"][part]) for part in (slice(32), slice(32, 48)))
    keras.utils.set_random_seed(0)
    history = names["build_model"]().fit(training, validation_data=validation, epochs=2, shuffle=False, verbose=0)
    assert epochs(reports) == [{k: v[epoch] for k, v in history.history.items()} for epoch in range(2)]


def test_a_pydatasets_batches_are_shuffled_by_the_seed(trial_of: Any) -> None:
    code = PYDATASET.format(splits="Data(train=Batches(x, y))").replace("np.random.shuffle(self.rows)", "pass")
    found = [epochs(train(trial_of(code, epochs=1, shuffle=shuffle))[0]) for shuffle in (True, True, False)]
    assert found[0] == found[1] != found[2]


VIEWS = """
class Batches(keras.utils.PyDataset):
    calls = []
    def __init__(self, name, batches):
        super().__init__()
        self.name, self.batches, self.x = name, batches, x[: 8 * batches].copy()
    def __len__(self):
        return self.batches
    def __getitem__(self, index):
        self.calls.append((self.name, index))
        return self.x[8 * index : 8 * index + 8], y[8 * index : 8 * index + 8]
    def on_epoch_begin(self):
        self.calls.append((self.name, "begin"))
    def on_epoch_end(self):
        self.calls.append((self.name, "end"))
        self.x *= 2
def load_data():
    Batches.calls.clear()
    return Batches("train", 3), Batches("validation", 2)
"""


def test_a_pydatasets_epochs_end_before_validation_as_in_fit(trial_of: Any) -> None:
    """Its batches are views of what an epoch's end changes."""
    reports, _ = train(trial_of(VIEWS + "keras.calls_for_this_test = Batches.calls", epochs=2))
    import keras

    ours = keras.__dict__.pop("calls_for_this_test")[2 + 2 :]  # without the batches that tell what all look like
    names: dict[str, Any] = {}
    exec(HEAD + VIEWS, names)
    training, validation = names["load_data"]()
    keras.utils.set_random_seed(0)
    history = names["build_model"]().fit(training, validation_data=validation, epochs=2, shuffle=False, verbose=0)
    assert epochs(reports) == [{k: v[epoch] for k, v in history.history.items()} for epoch in range(2)]
    events = [call for call in ours if call[1] in ("begin", "end")]
    assert events[:4] == [("train", "end"), ("train", "begin"), ("train", "end"), ("validation", "end")]


def test_a_pydatasets_batches_are_made_when_they_are_asked_for(trial_of: Any) -> None:
    import keras
    import numpy as np

    from runner.worker.data.pydataset import as_pipeline

    class Counted(keras.utils.PyDataset):  # type: ignore[misc]
        made = 0

        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> Any:
            self.made += 1
            return np.zeros((2, 1), "float32"), np.zeros(2)

    dataset = Counted()
    iterator = iter(as_pipeline("train", dataset, None).map(lambda x, y: (x, y)))
    told = dataset.made
    for number in range(1, 4):
        next(iterator)
        time.sleep(0.1)
        assert dataset.made - told == number


GENERATOR = "tf.data.Dataset.from_generator(itertools.count, output_signature=tf.TensorSpec([], tf.int64)).batch(16)"
ENDLESS = {
    "repeated": ("Data(train=data, validation=data.repeat())", "validation data has no end"),
    "repeated and filtered": (
        "Data(train=data, test=data.repeat().filter(lambda x, y: True))",
        "test data has no end",
    ),
    "a PyDataset": (
        "Data(train=Endless(8), validation=Endless(None))\n"
        "class Endless(keras.utils.PyDataset):\n"
        "    def __init__(self, batches): super().__init__(); self.batches = batches\n"
        "    def __getitem__(self, index): return x[:8], y[:8]\n"
        "    num_batches = property(lambda self: self.batches)\n",
        "validation data has no end; give it a number of batches (num_batches, or len)",
    ),
    "a test split from a generator": (
        "Data(train=data, test=" + GENERATOR + ".map(lambda i: (tf.zeros([16, 8]), i % 3)))",
        "test data has not ended after",
    ),
    "a generator": (
        "Data(train=data, validation=" + GENERATOR + ".map(lambda i: (tf.zeros([16, 8]), i % 3)))",
        "validation data has not ended after",
    ),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_a_split_that_is_evaluated_and_has_no_end_is_refused(case: str, trial_of: Any) -> None:
    from runner.worker.worker import Worker

    splits, told = ENDLESS[case]
    data = "import itertools\ndata = tf.data.Dataset.from_tensor_slices((x, y)).batch(16)\n"
    code = f"{data}def load_data(): return {splits}"
    worker, trial = Worker(), trial_of(code)
    failure = worker.check(trial, worker.load(trial), until_s=time.time() + 1.0)
    assert isinstance(failure, Failure)
    assert told in failure.message
    assert ".take(n)" in failure.message or case == "a PyDataset"

"""Which `tf.data` pipelines give the same batches again, which never end, and what op determinism makes of them."""

from __future__ import annotations

import gc
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_training_equals_fit import epochs, train, weights

from runner.records import Failure, Trial

pytestmark = pytest.mark.usefixtures("tensorflow")

COMMON = """
import keras, numpy as np, tensorflow as tf
D = tf.data.Dataset
images = np.random.default_rng(0).normal(size=(16, 8, 8, 1)).astype("float32")
data = D.from_tensor_slices(images).batch(4)
augment = keras.Sequential([keras.layers.RandomTranslation(0.1, 0.1)])
normalize = keras.layers.Normalization()
normalize.adapt(images)
look_up = keras.layers.StringLookup(vocabulary=["a", "b"])
generator = tf.random.Generator.from_seed(1)
counter = tf.Variable(0, dtype=tf.int64)
table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.int64, default_value=-1)
shuffled = data.shuffle(9)
once = data.shuffle(9, reshuffle_each_iteration=False)
loose = tf.data.Options()
loose.deterministic = False

def augmented(x):
    return augment(x, training=True)

def counted(x):
    return counter.assign_add(1)

def inserted(x):
    table.insert(x, x)
    return x
"""
RACE = "changes state"
EXAMINED = {
    "augmentation": ("data.map(augmented)", ""),
    "parallel augmentation": ("data.map(augmented, num_parallel_calls=2)", f"a parallel map {RACE} (AssignVariableOp)"),
    "one parallel call": ("data.map(augmented, num_parallel_calls=1)", ""),
    "a constant layer": ("data.map(normalize, num_parallel_calls=2)", ""),
    "a constant table": ("D.from_tensor_slices(['a']).map(look_up, num_parallel_calls=2)", ""),
    "stateless random": (
        "D.random(1).map(lambda s: tf.random.stateless_normal([2], [s, 0]), num_parallel_calls=2)",
        "",
    ),
    "hidden random state": ("data.map(lambda x: x + tf.random.normal([1]))", "RandomStandardNormal"),
    "a distorted box": (
        "data.map(lambda x: tf.image.sample_distorted_bounding_box([8, 8, 1], tf.zeros([1, 1, 4]), seed=1)[0])",
        "SampleDistortedBoundingBoxV2",
    ),
    "a sample of classes": (
        "D.range(4).map(lambda i: tf.random.uniform_candidate_sampler([[i]], 1, 2, True, 9)[0])",
        "UniformCandidateSampler",
    ),
    "all classes": ("D.range(4).map(lambda i: tf.random.all_candidate_sampler([[i]], 1, 9, True)[0])", ""),
    "a random pool": ("data.map(lambda x: tf.nn.fractional_max_pool(x, [1, 1.5, 1.5, 1])[0])", "FractionalMaxPool"),
    "a generator's state": ("data.map(lambda x: x + generator.normal([1]))", ""),
    "a generator's state in parallel": (
        "data.map(lambda x: x + generator.normal([1]), num_parallel_calls=tf.data.AUTOTUNE)",
        f"a parallel map {RACE} (RngReadAndSkip)",
    ),
    "a mutable table": ("D.range(4).map(inserted)", ""),
    "a mutable table in parallel": (
        "D.range(4).map(inserted, num_parallel_calls=2)",
        f"a parallel map {RACE} (LookupTableInsertV2)",
    ),
    "a parallel interleave": (
        "D.range(2).interleave(lambda i: D.from_tensors(images).map(augmented), num_parallel_calls=2)",
        f"a parallel interleave {RACE}",
    ),
    "an interleave": ("D.range(2).interleave(lambda i: D.from_tensors(images).map(augmented))", ""),
    "a parallel map in a function": (
        "D.range(2).flat_map(lambda i: D.from_tensors(images).map(augmented, num_parallel_calls=2))",
        f"a parallel map {RACE}",
    ),
    "a parallel map outside of its function": (
        "(lambda inner: D.range(2).flat_map(lambda i: inner))(data.map(augmented, num_parallel_calls=2))",
        f"a parallel map {RACE}",
    ),
    "map_and_batch": (
        "data.apply(tf.data.experimental.map_and_batch(augmented, 2, num_parallel_calls=2))",
        f"a parallel map_and_batch {RACE}",
    ),
    "state of two parts": (
        "D.zip((D.range(4).map(counted).prefetch(1), D.range(4).map(counted).prefetch(1)))",
        "state that map changes (AssignAddVariableOp) is used in another of its parts",
    ),
    "a loose map": ("data.map(tf.abs, num_parallel_calls=2, deterministic=False)", "map with deterministic=False"),
    "a loose interleave": (
        "D.range(2).interleave(lambda i: D.range(2), num_parallel_calls=2, deterministic=False)",
        "interleave with deterministic=False",
    ),
    "an interleave in order": ("D.range(2).interleave(lambda i: D.range(2), num_parallel_calls=2)", ""),
    "a loose interleave in a function": (
        "D.range(2).flat_map(lambda i: D.range(2).interleave(D.range, num_parallel_calls=2, deterministic=False))",
        "interleave with deterministic=False",
    ),
    "loose options": ("data.map(tf.abs, num_parallel_calls=2).with_options(loose)", "map with deterministic=False"),
    "loose options in a function": (
        "D.range(2).flat_map(lambda i: D.range(2).map(tf.abs, num_parallel_calls=2).with_options(loose))",
        "map with deterministic=False",
    ),
    "loose options of nothing parallel": ("data.map(tf.abs).with_options(loose)", ""),
    "an order that is asked for": (
        "data.map(tf.abs, num_parallel_calls=2, deterministic=True).with_options(loose)",
        "",
    ),
    "sampled parts": ("D.sample_from_datasets([data, data], [0.5, 0.5])", ""),
    "shuffled": ("data.shuffle(9)", ""),
    "Python": ("data.map(lambda x: tf.py_function(abs, [x], tf.float32))", "Python code"),
    "the clock": ("D.range(2).map(lambda x: tf.timestamp())", "the clock"),
}


@pytest.fixture(scope="module")
def made() -> Callable[[str], Any]:
    """Evaluates an expression over `COMMON`."""
    code: dict[str, Any] = {}
    exec(COMMON, code)
    return lambda expression: eval(expression, code)


@pytest.mark.parametrize("case", EXAMINED)
def test_a_pipeline_that_may_not_repeat_itself_is_told_with_the_reason(case: str, made: Callable[[str], Any]) -> None:
    from runner.worker.data.pipelines import pipeline_inexact

    pipeline, reason = EXAMINED[case]
    found = pipeline_inexact(made(pipeline), deterministic=False)
    assert reason in found if reason else found == ""
    if "train.deterministic=true" in found:
        assert pipeline_inexact(made(pipeline), deterministic=True) == ""
    else:
        assert pipeline_inexact(made(pipeline), deterministic=True) == found


@pytest.mark.parametrize(
    ("pipeline", "endless"),
    [
        ("data.repeat()", True),
        ("data.repeat().filter(lambda x: True).batch(2)", True),
        ("data.repeat().flat_map(D.from_tensor_slices).shuffle(4).prefetch(1)", True),
        ("data.repeat().take(3)", False),
        ("data.repeat().filter(lambda x: True).take(3)", False),
        ("data.repeat().take_while(lambda x: False)", False),
        ("D.zip((data, data.repeat()))", False),
        ("data.repeat(2)", False),
    ],
)
def test_a_pipeline_without_end_is_known_where_it_can_be(
    pipeline: str, endless: bool, made: Callable[[str], Any]
) -> None:
    from runner.worker.data.pipelines import is_endless

    assert is_endless(made(pipeline)) == endless


def test_ops_of_a_step_that_draw_from_the_hidden_state_are_those_with_a_seed_that_keep_it() -> None:
    import tensorflow as tf

    from runner.worker.determinism import drawn_from_hidden_state, graph_ops

    def step(x: Any, classes: Any) -> Any:
        sampled = tf.nn.sampled_softmax_loss(tf.ones([9, 4]), tf.ones([9]), classes, x, 2, 9)
        return sampled, tf.random.stateless_normal([2], [1, 2])

    concrete = tf.function(step).get_concrete_function(tf.zeros([2, 4]), tf.zeros([2, 1], tf.int64))
    assert drawn_from_hidden_state(graph_ops(concrete)).startswith("LogUniformCandidateSampler draws from")
    assert drawn_from_hidden_state({"CudnnRNNV3", "StatelessRandomNormal", "RngReadAndSkip", "AnOpOfNobody"}) == ""


SHARED = {
    "nothing": ("data.shuffle(9)", "data.shuffle(9)", ""),
    "arrays": ("data.batch(2)", "data.batch(3)", ""),
    "a shuffle": ("shuffled.take(2)", "shuffled.skip(2)", "shuffle is shared with another split or trial"),
    "a shuffle in one order": ("once.take(2)", "once.skip(2)", ""),
    "a layer": ("data.map(augmented)", "data.map(augmented)", "state that map changes is shared"),
    "a constant layer": ("data.map(normalize)", "data.map(normalize)", ""),
}


@pytest.mark.parametrize("case", SHARED)
def test_a_part_that_remembers_what_was_drawn_belongs_to_one_pipeline(case: str, made: Callable[[str], Any]) -> None:
    from runner.worker.shared_parts import SharedParts

    first, second, reason = SHARED[case]
    shared, pipelines = SharedParts(), (made(first), made(second))
    assert shared.inexact(pipelines[0]) == ""
    found = shared.inexact(pipelines[1])
    assert reason in found if reason else found == ""


@pytest.mark.slow
def test_parts_that_are_gone_are_forgotten(made: Callable[[str], Any]) -> None:
    from runner.worker.shared_parts import SharedParts

    shared = SharedParts()
    for _ in range(5):
        assert shared.inexact(made("data.shuffle(9)")) == ""
        gc.collect()
    assert len(shared._seen) == 1


AUGMENTED = """
import keras, numpy as np, tensorflow as tf
def load_data():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 8, 8, 1)).astype("float32"), rng.integers(3, size=64)
    augment = keras.Sequential([keras.layers.RandomTranslation(0.1, 0.1), keras.layers.RandomRotation(0.1)])
    data = tf.data.Dataset.from_tensor_slices((x, y))
    train = data.shuffle(64).batch(4).map(lambda x, y: (augment(x, training=True), y), num_parallel_calls=4)
    return train, data.batch(32)
def build_model():
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model
"""


@pytest.fixture
def deterministic() -> Any:
    """Ends the process' op determinism with the test."""
    yield
    from runner.worker.determinism import set_determinism

    set_determinism(False)


@pytest.mark.usefixtures("deterministic")
def test_op_determinism_makes_a_parallel_augmentation_exact(make_trial: Any, tmp_path: Path) -> None:
    path = tmp_path / "augmented.py"
    path.write_text(AUGMENTED, encoding="utf-8")

    def trial(deterministic: bool) -> Trial:
        return make_trial(path=path, params={}, epochs=2, seed=3, deterministic=deterministic)

    reports, _ = train(trial(False))
    assert reports[0].facts is not None
    assert "a parallel map changes state (AssignVariableOp)" in reports[0].facts.inexact

    (reports, export), (again, exported) = train(trial(True)), train(trial(True))
    assert reports[0].facts is not None
    assert reports[0].facts.inexact == ""
    assert epochs(reports) == epochs(again)
    assert weights(export)[0].tobytes() == weights(exported)[0].tobytes()


@pytest.mark.usefixtures("deterministic")
def test_op_determinism_takes_the_elements_of_a_parallel_map_in_order() -> None:
    import tensorflow as tf

    from runner.worker.determinism import set_determinism

    set_determinism(True)
    counter = tf.Variable(0, dtype=tf.int64)

    def count(index: Any) -> Any:  # the first ones take longest
        steps = 1_000 * (8 - index)
        slow = tf.while_loop(lambda i: i < steps, lambda i: i + 1, [tf.constant(0, tf.int64)])
        with tf.control_dependencies(slow):
            return counter.assign_add(1)

    assert list(tf.data.Dataset.range(8).map(count, num_parallel_calls=8).as_numpy_iterator()) == list(range(1, 9))


def test_op_determinism_may_be_the_first_thing_that_a_process_does() -> None:
    code = (
        "from runner.worker.determinism import set_determinism; set_determinism(True)\n"
        "import tensorflow as tf; print(tf.constant(1).numpy())"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "1\n"), ended.stderr


UNSEEDED = """
import keras, numpy as np, tensorflow as tf
from runner import Data
def load_data():
    tf.random.Generator.from_non_deterministic_state()
    return Data(train=(np.zeros((4, 1)), np.zeros((4, 1))))
def build_model():
    return None
"""


@pytest.mark.usefixtures("deterministic")
def test_what_cannot_be_deterministic_is_told_with_the_key(make_trial: Any, tmp_path: Path) -> None:
    from runner.worker.worker import Worker

    path = tmp_path / "unseeded.py"
    path.write_text(UNSEEDED, encoding="utf-8")
    failure = Worker().load(make_trial(path=path, params={}, deterministic=True))
    assert isinstance(failure, Failure)
    assert "train.deterministic=true: give such an op a seed" in failure.message
    assert not isinstance(Worker().load(make_trial(path=path, params={})), Failure)

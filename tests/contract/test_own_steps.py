"""Models whose steps are their own: what a step gets and may return, what state it may have, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.records import Checked, Failure

pytestmark = pytest.mark.usefixtures("tensorflow")

X = np.ones((4, 2), "float32")
Y, WEIGHT = np.arange(4), np.ones(4, "float32")


@pytest.mark.parametrize(
    ("split", "packed"),
    [
        (X, "array"),
        ((X,), "array"),
        ((X, None), "array"),
        ((X, None, WEIGHT), "array"),
        (({"a": X, "b": X},), "dict"),
        (((X, X),), "1 of 2"),
        ((((X, X), Y),), "1 of 2"),
        ((X, Y), "2"),
        ((X, Y, WEIGHT), "3"),
    ],
)
def test_a_step_gets_arrays_as_fit_packs_them(split: Any, packed: str) -> None:
    from runner.worker.data.arrays import array_split

    found = array_split("train", split).tensors
    if isinstance(found, tuple):
        told = f"1 of {len(found[0])}" if len(found) == 1 else str(len(found))
    else:
        told = "dict" if isinstance(found, dict) else "array"
    assert told == packed


OWN = """
import keras, numpy as np
from runner import Data
X = np.ones((8, 2), "float32")
def load_data():
    return Data(train=(X,), validation={validation})
class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.layer = keras.layers.Dense(1)
{steps}
def build_model():
    model = Own()
    model.compile("sgd", run_eagerly={eager})
    return model
"""
STEP = """
    def train_step(self, data):
        self.layer(data)
        return {returned}
"""


def check(make_trial: Any, tmp_path: Path, steps: str, validation: str = "None", eager: bool = False) -> Any:
    from runner.worker.worker import Worker

    path = tmp_path / "own.py"
    path.write_text(OWN.format(steps=steps, validation=validation, eager=eager), encoding="utf-8")
    trial = make_trial(path=path, params={}, epochs=1, batch_size=4)
    worker = Worker()
    return worker.check(trial, worker.load(trial))


@pytest.mark.parametrize(
    ("steps", "validation", "told"),
    [
        ("", "None", "Own has neither call() nor train_step()"),
        (STEP.format(returned="{'loss': 0.5}"), "(X,)", "Own has no call(), and there is validation data"),
        (STEP.format(returned="None"), "None", "Own.train_step returned None; fit needs a dict"),
        (STEP.format(returned="{}"), "None", "Own.train_step returned {}; fit needs a dict"),
        (STEP.format(returned="[0.5]"), "None", "Own.train_step returned [0.5]; fit needs a dict"),
    ],
)
def test_steps_that_fit_could_not_run_are_refused_at_the_check(
    steps: str, validation: str, told: str, make_trial: Any, tmp_path: Path
) -> None:
    failure = check(make_trial, tmp_path, steps, validation)
    assert isinstance(failure, Failure), failure
    assert told in failure.message


@pytest.mark.parametrize("eager", [False, True])
def test_a_step_without_a_call_tells_its_metrics_weights_and_batches(
    eager: bool, make_trial: Any, tmp_path: Path
) -> None:
    checked = check(make_trial, tmp_path, STEP.format(returned="{'a': 0.1, 'b': {'c': 1}, 'none': None}"), eager=eager)
    assert isinstance(checked, Checked), checked
    assert checked.metrics == ("a", "c")
    assert checked.facts.parameters == 3, "of a layer that its first step builds"
    assert checked.facts.batch == "tf.TensorSpec([None, 2], 'float32')"
    assert "dense" in checked.facts.summary


def test_variables_of_a_trace_are_in_the_order_of_their_use() -> None:
    import tensorflow as tf

    from runner.worker.variables import captured_by

    variables = [tf.Variable(float(number)) for number in range(40)]
    used = [variables[number] for number in np.random.default_rng(0).permutation(40)]

    @tf.function(autograph=False)
    def inner() -> Any:
        return tf.add_n([variable.read_value() for variable in used])

    outer = tf.function(lambda count: tf.while_loop(lambda i, _: i < count, lambda i, _: (i + 1, inner()), (0, 0.0)))
    concrete = outer.get_concrete_function(tf.TensorSpec([], tf.int32))
    assert [variable.ref() for variable in captured_by(concrete)] == [variable.ref() for variable in used]


def test_the_state_of_a_second_optimizer_is_found_without_a_trace() -> None:
    from models import CASES

    from runner.worker import variables

    model = CASES["eager_two_optimizers"].build()
    model.train_step(CASES["eager_two_optimizers"].data().train[0])
    others = variables.by_role(model, ())["captured"]
    owned = [*model.critic_optimizer.variables, *model.generator_optimizer.variables]
    assert {id(variable) for variable in owned} <= {id(variable) for variable in others}
    assert len(owned) == len({id(variable) for variable in owned}) > 10

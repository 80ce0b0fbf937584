"""Every kind of compiled model trains here exactly as in `keras.Model.fit`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.records import Export, Report, Trial, Work

pytestmark = pytest.mark.usefixtures("tensorflow")

EPOCHS = 2
CASES = [
    *("functional", "subclassed", "custom_train_step", "unshaped_logs", "dict_inputs", "two_inputs", "two_outputs"),
    *("sample_weights", "class_weights", "mixed_float16", "bfloat16", "masked_rnn", "ema_optimizer", "lr_schedule"),
    *(
        "gradient_accumulation",
        "run_eagerly",
        "string_inputs",
        "cnn_batchnorm",
        "dropout_mlp",
        "unseeded_random",
        "dataset_input",
        "ignore_class",
    ),
    *("unlabelled", "two_optimizers", "eager_two_optimizers", "diffusion", "contrastive", "siamese", "transformer"),
    "ragged_and_sparse",
]
# Without steps_per_epoch `fit` makes two iterators at each epoch's end and drops one, which advances the seeds of a
# pipeline that reshuffles; with it one a pass, as here.
SETTINGS = {"dataset_input": {"steps_per_epoch": 3}}


def train(trial: Trial) -> tuple[list[Report], Export]:
    """The whole trial alone in a worker."""
    from runner.worker.worker import Worker

    worker, reports = Worker(), []
    loaded = worker.load(trial)
    while not reports or reports[-1].epoch < trial.train.epochs:
        report = worker.advance([Work(trial=trial, round=len(reports))], [loaded])[trial.id]
        assert isinstance(report, Report), report
        reports.append(report)
    export = worker.export(trial, best=False)
    assert isinstance(export, Export), export
    return reports, export


def epochs(reports: list[Report]) -> list[dict[str, float]]:
    return [dict(epoch.metrics) for report in reports for epoch in report.epochs]


def weights(export: Export) -> list[Any]:
    with np.load(io.BytesIO(export.weights), allow_pickle=False) as file:
        return [file[name] for name in file.files]


def fit(case: str, seed: int, **settings: Any) -> tuple[list[dict[str, float]], list[Any]]:
    """The same with plain Keras."""
    import keras
    from models import CASES as BUILDERS

    from runner import Data

    keras.utils.set_random_seed(seed)  # pipelines draw their seeds from it
    data = Data.of(BUILDERS[case].data())
    keras.utils.set_random_seed(seed)
    model = BUILDERS[case].build()
    if hasattr(data.train, "element_spec"):
        inputs: dict[str, Any] = {"x": data.train}
    else:
        inputs = dict(zip(("x", "y", "sample_weight"), data.train, strict=False))
        inputs["batch_size"] = 32
    history = model.fit(
        **inputs,
        validation_data=data.validation,
        class_weight=data.class_weight,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        **settings,
    ).history
    return [{name: values[epoch] for name, values in history.items()} for epoch in range(EPOCHS)], model.get_weights()


# Their steps add three terms or more, in an order that TensorFlow's graph optimizer chooses: the last bits may differ.
REORDERED = ("two_optimizers",)


@pytest.fixture(scope="module")
def trained() -> dict[str, list[Report]]:
    """By case the reports of the trial that is compared with `fit`, for other tests of it."""
    return {}


@pytest.mark.parametrize("case", [case for case in CASES if case not in REORDERED])
def test_epoch_metrics_and_final_weights_are_those_of_fit(
    case: str, make_trial: Any, trained: dict[str, list[Report]]
) -> None:
    settings = SETTINGS.get(case, {})
    trained[case], export = train(make_trial(case, epochs=EPOCHS, shuffle=False, seed=3, **settings))
    expected, expected_weights = fit(case, seed=3, **settings)

    assert epochs(trained[case]) == expected
    assert len(weights(export)) == len(expected_weights)
    for ours, theirs in zip(weights(export), expected_weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("case", REORDERED)
def test_sums_that_tensorflow_orders_itself_are_those_of_fit_but_for_their_last_bits(
    case: str, make_trial: Any
) -> None:
    reports, export = train(make_trial(case, epochs=EPOCHS, shuffle=False, seed=3))
    expected, expected_weights = fit(case, seed=3)
    for ours, theirs in zip(epochs(reports), expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    for mine, other in zip(weights(export), expected_weights, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-7)


def test_every_model_has_its_row() -> None:
    from models import CASES as BUILDERS

    assert set(CASES) == set(BUILDERS)


OUTPUTS = """
import keras, numpy as np

def load_data():
    rng = np.random.default_rng(0)
    y = {"a": rng.random((96, 1)), "b": np.eye(4)[rng.integers(0, 4, 96)], "c": rng.normal(size=(96, 3))}
    return (rng.integers(0, 40, (96, 10)), y), (rng.integers(0, 40, (96, 10)), y)

def build_model():
    words = keras.Input((None,), dtype="int32")
    read = keras.layers.LSTM(8)(keras.layers.Embedding(40, 8, mask_zero=True)(words))
    outputs = {name: keras.layers.Dense(size, name=name)(read) for name, size in (("a", 1), ("b", 4), ("c", 3))}
    model = keras.Model(words, outputs)
    losses = {"a": "mse", "b": keras.losses.CategoricalCrossentropy(from_logits=True), "c": "huber"}
    model.compile(keras.optimizers.RMSprop(1e-3), losses, metrics={"a": "mae", "b": "accuracy"})
    return model
"""


def test_the_sum_of_three_losses_is_that_of_fit_but_for_its_last_bits_and_all_else_is_equal(
    make_trial: Any, tmp_path: Path
) -> None:
    import keras

    path = tmp_path / "outputs.py"
    path.write_text(OUTPUTS)
    reports, export = train(make_trial(path=path, params={}, epochs=EPOCHS, shuffle=False))
    code: dict[str, Any] = {}
    exec(OUTPUTS, code)
    keras.utils.set_random_seed(0)
    (x, y), validation = code["load_data"]()
    model = code["build_model"]()
    given = {"epochs": EPOCHS, "batch_size": 32, "shuffle": False, "verbose": 0}
    expected = model.fit(x, y, validation_data=validation, **given).history

    for number, ours in enumerate(epochs(reports)):
        theirs = {name: values[number] for name, values in expected.items()}
        for name in ("loss", "val_loss"):
            np.testing.assert_array_max_ulp(np.float32(ours.pop(name)), np.float32(theirs.pop(name)), maxulp=2)
        assert ours == theirs
    for mine, other in zip(weights(export), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.usefixtures("no_turn_is_overdue")
@pytest.mark.parametrize("case", ["dropout_mlp", "run_eagerly", pytest.param("dataset_input", marks=pytest.mark.slow)])
def test_the_length_of_a_round_changes_no_number(case: str, make_trial: Any) -> None:
    whole, whole_export = train(make_trial(case, epochs=EPOCHS))
    split, split_export = train(make_trial(case, epochs=EPOCHS, steps_per_round=2))
    joined, joined_export = train(make_trial(case, epochs=EPOCHS, epochs_per_round=EPOCHS))

    assert len(split) > len(whole) > len(joined) == 1
    assert epochs(split) == epochs(whole) == epochs(joined)
    assert [epoch.number for epoch in joined[0].epochs] == [1, 2]
    assert joined[0].epochs[0].ended_s < joined[0].epochs[1].ended_s <= joined[0].turn.ended_s
    for export in (split_export, joined_export):
        for ours, theirs in zip(weights(export), weights(whole_export), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.usefixtures("no_turn_is_overdue")
def test_a_turn_of_several_epochs_that_takes_too_long_ends_with_an_epoch_and_is_repeated_so(
    make_trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runner.worker.worker import Worker

    trial = make_trial("dropout_mlp", epochs=4, epochs_per_round=4)
    (whole,), _ = train(trial)
    monkeypatch.setattr("runner.worker.turn_clock.LONGEST_S", 0.0)
    slow, _ = train(trial)
    assert [report.step for report in slow] == [3, 6, 9, 12]
    worker = Worker()
    repeated = worker.advance([Work(trial=trial, round=0, until=9)], [worker.load(trial)])[trial.id]
    assert isinstance(repeated, Report)
    assert epochs([repeated]) == epochs(slow)[:3] == epochs([whole])[:3]


DIVERGES = """
import keras, numpy as np
from runner import Data
X = np.ones((64, 1), "float32")
def load_data():
    return Data(train=(X, X[:, 0]))
def build_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1e6), "mse")
    return model
"""


@pytest.mark.usefixtures("no_turn_is_overdue")
def test_a_turn_of_several_epochs_ends_with_the_one_whose_loss_is_not_finite(make_trial: Any, tmp_path: Path) -> None:
    from runner.worker.worker import Worker

    path = tmp_path / "diverges.py"
    path.write_text(DIVERGES, encoding="utf-8")
    trial = make_trial(path=path, params={}, epochs=20, batch_size=32, epochs_per_round=20)
    worker = Worker()
    report = worker.advance([Work(trial=trial, round=0)], [worker.load(trial)])[trial.id]
    assert isinstance(report, Report), report
    *before, last = [epoch.metrics["loss"] for epoch in report.epochs]
    assert before
    assert np.isfinite(before).all()
    assert not np.isfinite(last)
    assert report.step == 2 * report.epoch == 2 * len(report.epochs) < 40


@pytest.mark.parametrize(
    ("case", "program", "reason"),
    [
        ("functional", "round", ""),
        ("custom_train_step", "round", ""),
        ("dataset_input", "stream", "a tf.data.Dataset brings its own batches"),
        ("unshaped_logs", "plain", "the step returns logs of no fixed shape"),
        ("run_eagerly", "plain", "the model is compiled with run_eagerly=True"),
    ],
)
def test_the_report_says_how_the_steps_ran(
    case: str, program: str, reason: str, make_trial: Any, trained: dict[str, list[Report]]
) -> None:
    reports = trained.get(case) or train(make_trial(case, epochs=1))[0]
    facts = reports[0].facts
    assert facts is not None
    assert (facts.program, facts.program_reason) == (program, reason)
    assert bool(facts.inexact) == (case == "run_eagerly")

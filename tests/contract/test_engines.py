"""Trials that share a traced engine train exactly as on an engine of their own."""

from __future__ import annotations

import collections
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_training_equals_fit import epochs, weights

from runner.records import Export, Report, Trial, Work

pytestmark = pytest.mark.usefixtures("tensorflow")

TUNABLE = """
import keras, numpy as np

def load_data():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(70, 6)).astype("float32"), rng.integers(3, size=70)
    return (x, y), (x[:20], y[:20])

def build_model(optimizer="adam", learning_rate=1e-3, dropout=0.2, l2=0.0, units=8, activation="relu", **settings):
    layers = keras.layers
    model = keras.Sequential([
        layers.Dense(units, activation, kernel_regularizer=keras.regularizers.L2(l2)),
        layers.BatchNormalization(), layers.Dropout(dropout), layers.Dense(3, "softmax")])
    if settings.pop("schedule", False):
        learning_rate = keras.optimizers.schedules.ExponentialDecay(learning_rate, 2, 0.5)
    loss = settings.pop("loss", "sparse_categorical_crossentropy")
    made = keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": learning_rate, **settings}})
    model.compile(made, loss, metrics=["accuracy"])
    return model
"""
# Everything here is baked into a trace: a trial that differs in it must not train on another's.
BAKED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "dropout": ({"dropout": 0.2}, {"dropout": 0.6}),
    "l2": ({"l2": 0.0}, {"l2": 0.1}),
    "units": ({"units": 8}, {"units": 9}),
    "activation": ({"activation": "relu"}, {"activation": "tanh"}),
    "optimizer": ({"optimizer": "adam"}, {"optimizer": "sgd"}),
    "momentum": ({"optimizer": "sgd", "momentum": 0.0}, {"optimizer": "sgd", "momentum": 0.9}),
    "nesterov": (
        {"optimizer": "sgd", "momentum": 0.9},
        {"optimizer": "sgd", "momentum": 0.9, "nesterov": True},
    ),
    "beta_1": ({"beta_1": 0.9}, {"beta_1": 0.5}),
    "epsilon": ({"epsilon": 1e-7}, {"epsilon": 1e-2}),
    "amsgrad": ({"amsgrad": False}, {"amsgrad": True}),
    "clipnorm": ({}, {"clipnorm": 0.01}),
    "clipvalue": ({}, {"clipvalue": 0.001}),
    "weight_decay": ({"weight_decay": 0.0}, {"weight_decay": 0.1}),
    "ema": ({}, {"use_ema": True, "ema_momentum": 0.5}),
    "ema_momentum": ({"use_ema": True, "ema_momentum": 0.9}, {"use_ema": True, "ema_momentum": 0.5}),
    "schedule": ({}, {"schedule": True}),
    "schedule_rate": ({"schedule": True}, {"schedule": True, "learning_rate": 0.1}),
}


HIDDEN = Path(__file__).parents[1] / "hidden.py"
KINDS = (
    *("none", "vocabulary", "text_vocabulary", "normalization", "idf_weights", "boundaries", "salt", "excluded_names"),
    *("excluded_variables", "captured_constant", "lambda", "replaced_call", "replaced_step", "frozen", "regularizer"),
    *("own_regularizer", "constraint", "activation", "own_activation", "activity", "lora", "closure_loss"),
    *("loss_attribute", "closure_metric", "loss_scale", "schedule_attribute", "gradient_hook"),
)
WORDS = ({"red", "green", "blue"}, {"white", "black", "grey"})
SHARED = ("none", "normalization", "boundaries", "salt", "captured_constant", "excluded_names", "excluded_variables")


@pytest.fixture
def secret(make_trial: Any) -> Any:
    """Trials of `tests/hidden.py`."""

    def trial(trial_id: str, **params: Any) -> Trial:
        names = {"data_params": ("kind",), "model_params": tuple(params)}
        return make_trial(id=trial_id, path=HIDDEN, params=params, epochs=2, batch_size=16, **names)

    return trial


@pytest.fixture
def tunable(tmp_path: Path, make_trial: Any) -> Any:
    path = tmp_path / "tunable.py"
    path.write_text(TUNABLE)

    def trial(trial_id: str, params: dict[str, Any], seed: int = 0, **train: Any) -> Trial:
        names = {"data_params": (), "model_params": tuple(params)}
        return make_trial(id=trial_id, path=path, params=params, seed=seed, **names, **{"epochs": 2, **train})

    return trial


def train(worker: Any, trials: list[Trial]) -> list[tuple[list[Any], list[Any]]]:
    """The trials turn by turn on one worker: epoch metrics and final weights of each."""
    reports: dict[str, list[Report]] = {trial.id: [] for trial in trials}
    loaded = [worker.load(trials[0])] * len(trials)
    rounds = 0
    while any(not found or found[-1].epoch < 2 for found in reports.values()):
        for trial_id, report in worker.advance([Work(trial=t, round=rounds) for t in trials], loaded).items():
            assert isinstance(report, Report), report
            reports[trial_id].append(report)
        rounds += 1
    exports = [worker.export(trial, False) for trial in trials]
    assert all(isinstance(export, Export) for export in exports), exports
    return [(epochs(reports[trial.id]), weights(export)) for trial, export in zip(trials, exports, strict=True)]


def same(left: tuple[list[Any], list[Any]], right: tuple[list[Any], list[Any]]) -> bool:
    return left[0] == right[0] and all(np.array_equal(a, b) for a, b in zip(left[1], right[1], strict=True))


def engines_of(worker: Any) -> int:
    return len(worker._engines._engines)


def key(source: str | Path, params: dict[str, Any], seed: int = 0) -> Any:
    """What tells engines apart for a model that is built and not trained; None where it shares none."""
    from runner.worker.global_state import Globals, Settings
    from runner.worker.private import symbolic_build
    from runner.worker.programs.engine import variables
    from runner.worker.programs.fingerprint import fingerprint

    code: dict[str, Any] = {"__name__": "experiment"}
    exec(source if isinstance(source, str) else source.read_text(), code)
    with Globals(seed, Settings.current()).active():
        data = code["load_data"](**({"kind": params["kind"]} if "kind" in params else {}))
        x, y = (data[0] if isinstance(data, tuple) else data.train)[:2]
        model = code["build_model"](**params)
        symbolic_build(model, (tensor(x[:2]), tensor(y[:2])))
        return fingerprint(model, variables(model))


def tensor(rows: Any) -> Any:
    import tensorflow as tf

    return tf.constant(rows.astype(object) if rows.dtype.kind == "U" else rows)


@pytest.mark.parametrize("name", BAKED)
def test_what_is_baked_into_a_trace_tells_architectures_apart(name: str) -> None:
    first, second = BAKED[name]
    found = key(TUNABLE, first)
    assert found != key(TUNABLE, second)
    assert found == key(TUNABLE, first, seed=1) is not None


def test_a_learning_rate_that_is_a_number_does_not_tell_architectures_apart() -> None:
    assert key(TUNABLE, {"learning_rate": 1e-3}) == key(TUNABLE, {"learning_rate": 0.5})


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "none"])
def test_state_that_no_config_holds_tells_architectures_apart_or_is_never_shared(kind: str) -> None:
    first, second = (key(HIDDEN, {"kind": kind, "variant": variant}) for variant in (0, 1))
    assert first is None or first != second


def test_the_kinds_of_hidden_state_are_those_of_the_experiment() -> None:
    code: dict[str, Any] = {}
    exec(HIDDEN.read_text(), code)
    assert set(KINDS) == code["KINDS"].keys()


@pytest.mark.parametrize("kind", SHARED)
def test_plain_models_of_many_kinds_share_an_engine_whatever_their_seed(kind: str) -> None:
    assert key(HIDDEN, {"kind": kind, "variant": 0}) == key(HIDDEN, {"kind": kind, "variant": 0}, seed=1) is not None


def test_a_method_replaced_in_a_class_tells_architectures_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    before = key(TUNABLE, {})
    monkeypatch.setattr(keras.layers.BatchNormalization, "call", replaced(keras.layers.BatchNormalization.call))
    assert before is not None is key(TUNABLE, {})


def test_what_is_changed_in_place_tells_architectures_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import keras

    before = key(TUNABLE, {})
    assert before is not None
    dense = keras.layers.Dense
    with monkeypatch.context() as patch:
        patch.setattr(dense, "_names", ["kernel"], raising=False)
        listed = key(TUNABLE, {})
        dense._names.append("bias")
        assert before != listed != key(TUNABLE, {}) is not None, "a container of a class"
    with monkeypatch.context() as patch:
        patch.setattr(keras.activations.relu, "slope", 2.0, raising=False)
        assert before != key(TUNABLE, {}) is not None, "an attribute of a function"
    with monkeypatch.context() as patch:
        patch.setattr(dense.call, "__code__", dense.call.__code__.replace(co_name="another"))
        assert before != key(TUNABLE, {}) is not None, "the code of a method"
    with monkeypatch.context() as patch:
        patch.setattr(dense, "variables", property(lambda layer: []))
        assert key(TUNABLE, {}) is None, "a property of the user's"


def test_what_a_dict_gives_for_a_missing_key_is_read() -> None:
    from runner.worker.programs.object_walk import ObjectWalk

    def digest(factory: Any) -> str:
        walk = ObjectWalk([])
        walk.over([collections.defaultdict(factory, {"a": 1})])
        return walk.digest()

    assert digest(int) == digest(int) != digest(float)


def replaced(method: Any) -> Any:
    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        return method(self, inputs, training, mask) * 2.0

    return call


@pytest.mark.parametrize("kind", ["text_vocabulary", "normalization", "excluded_names", "replaced_step"])
def test_a_second_trial_trains_and_exports_with_its_own_hidden_state(kind: str, secret: Any) -> None:
    from runner.worker.worker import Worker

    worker = Worker()
    for variant in (0, 1):
        trial = secret(f"00{variant}", kind=kind, variant=variant)
        alone = train(Worker(), [trial])[0]
        assert same(train(worker, [trial])[0], alone)
        if kind == "text_vocabulary":
            assert set(exported(worker, trial).layers[0].get_vocabulary()[2:]) == WORDS[variant]


def test_a_second_trial_on_a_shared_engine_exports_its_own_learning_rate_and_weights(secret: Any) -> None:
    from runner.worker.worker import Worker

    worker = Worker()
    trials = [secret(f"00{n}", kind="none", variant=0, learning_rate=rate) for n, rate in enumerate((1e-2, 1e-3))]
    for trial in trials:
        _, kept = train(worker, [trial])[0]
        model = exported(worker, trial)
        assert float(model.optimizer.learning_rate) == np.float32(trial.params["learning_rate"])
        assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept, strict=True))
    assert engines_of(worker) == 1


def exported(worker: Any, trial: Trial) -> Any:
    import keras

    with tempfile.NamedTemporaryFile(suffix=".keras") as file:
        export = worker.export(trial, False)
        assert isinstance(export, Export), export
        file.write(export.model)
        file.flush()
        return keras.models.load_model(file.name)


@pytest.mark.parametrize("name", ["dropout", "momentum", "schedule"])
def test_what_is_baked_into_a_trace_is_never_taken_over(name: str, tunable: Any) -> None:
    from runner.worker.worker import Worker

    first, second = BAKED[name]
    alone = train(Worker(), [tunable("001", second)])[0]
    worker = Worker()
    train(worker, [tunable("000", first)])
    assert same(train(worker, [tunable("001", second)])[0], alone)
    assert engines_of(worker) == 2


@pytest.mark.parametrize("compile_", ["graph", pytest.param("xla", marks=pytest.mark.slow)])
def test_a_second_learning_rate_and_seed_train_on_the_same_trace_with_the_same_numbers(
    compile_: str, tunable: Any
) -> None:
    from runner.worker.worker import Worker

    trials = [
        tunable("000", {"learning_rate": 1e-3}, compile=compile_),
        tunable("001", {"learning_rate": 1e-1}, seed=5, compile=compile_),
    ]
    alone = [train(Worker(), [trial])[0] for trial in trials]
    assert not same(*alone)
    worker = Worker()
    after_another = [train(worker, [trial])[0] for trial in trials]
    assert engines_of(worker) == 1
    assert all(same(ours, theirs) for ours, theirs in zip(after_another, alone, strict=True))


@pytest.mark.parametrize(
    "case", ["dropout_mlp", "cnn_batchnorm", "mixed_float16", pytest.param("dataset_input", marks=pytest.mark.slow)]
)
def test_trials_that_take_turns_on_one_engine_equal_those_alone(case: str, make_trial: Any) -> None:
    from runner.worker.worker import Worker

    trials = [make_trial(case, id=f"{i:03}", seed=i, epochs=2, steps_per_round=2) for i in range(3)]
    alone = [train(Worker(), [trial])[0] for trial in trials]
    taking_turns = train(Worker(), trials)
    assert all(same(ours, theirs) for ours, theirs in zip(taking_turns, alone, strict=True))


def test_xla_trains_the_partial_batch_too_and_agrees_with_the_graph(tunable: Any) -> None:
    from runner.worker.worker import Worker

    graph = train(Worker(), [tunable("000", {"dropout": 0.0}, compile="graph")])[0]
    xla = train(Worker(), [tunable("000", {"dropout": 0.0}, compile="xla")])[0]
    for ours, theirs in zip(xla[1], graph[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-6)

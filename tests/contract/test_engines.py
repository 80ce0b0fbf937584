"""Trials that share a traced engine train exactly as on an engine of their own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

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


def key(params: dict[str, Any]) -> str | None:
    """What tells engines apart for a model that is built and not trained."""
    import keras

    from runner.worker.engine import architecture
    from runner.worker.keras_private import Globals, Settings, symbolic_build

    code: dict[str, Any] = {}
    exec(TUNABLE, code)
    with Globals(0, Settings.current()).active():
        model = code["build_model"](**params)
        symbolic_build(model, (keras.ops.ones((2, 6)), keras.ops.ones((2,), "int64")))
        return architecture(model)


@pytest.mark.parametrize("name", BAKED)
def test_what_is_baked_into_a_trace_tells_architectures_apart(name: str) -> None:
    first, second = BAKED[name]
    assert key(first) != key(second)
    assert key(first) == key(first) is not None


def test_a_learning_rate_that_is_a_number_does_not_tell_architectures_apart() -> None:
    assert key({"learning_rate": 1e-3}) == key({"learning_rate": 0.5})


@pytest.mark.parametrize("name", ["dropout", "momentum", "schedule"])
def test_what_is_baked_into_a_trace_is_never_taken_over(name: str, tunable: Any) -> None:
    from runner.worker.worker import Worker

    first, second = BAKED[name]
    alone = train(Worker(), [tunable("001", second)])[0]
    worker = Worker()
    train(worker, [tunable("000", first)])
    assert same(train(worker, [tunable("001", second)])[0], alone)
    assert engines_of(worker) == 2


@pytest.mark.parametrize("compile_", ["graph", "xla"])
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


@pytest.mark.parametrize("case", ["dropout_mlp", "cnn_batchnorm", "mixed_float16", "dataset_input"])
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


def test_a_step_is_timed_by_the_least_of_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.worker import seat

    clock, taken = (
        [0.0],
        iter([0.15, 0.04, 0.4]),
    )  # reading begins; well; another process

    class Program:
        asked: ClassVar[list[int]] = []

        def run(self, place: Any, step: int, count: int) -> list[float]:
            self.asked.append(count)
            clock[0] += next(taken)
            return [0.0]

    monkeypatch.setattr(seat, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    timed: Any = SimpleNamespace(_engine=SimpleNamespace(program=Program()), _feed=SimpleNamespace(place=None))
    assert seat.Seat._time_step(timed) == pytest.approx(0.02)
    assert Program.asked == [1, 2, 4]

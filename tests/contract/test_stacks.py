"""Trials that train as one program: as alone but for the last bits, and independent of each other."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.records import Clone, Export, Failure, Replay, Report, Snapshot, Trial, Work

pytestmark = pytest.mark.usefixtures("tensorflow")
STACKED = (
    *("functional", "dict_inputs", "two_inputs", "two_outputs", "sample_weights", "class_weights", "bfloat16"),
    *("mixed_float16", "ema_optimizer", "lr_schedule", "cnn_batchnorm", "dropout_mlp", "transformer"),
    *("custom_train_step", "masked_rnn"),
)
MORE_STACKED = (*("subclassed", "gradient_accumulation", "unseeded_random", "ignore_class", "unlabelled", "diffusion"),)
REFUSED = {**dict.fromkeys(("dataset_input", "siamese", "two_optimizers"), "no arrays"), "run_eagerly": "one by one"}
EXPERIMENT = """
import keras, numpy as np

def load_data(rows=76):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 6)).astype("float32")
    y = (x.sum(1) > 0).astype("int32")
    return (x, y), (x[:20], y[:20])

def build_model(rate=0.01, dropout=0.2, l2=0.0, units=8):
    model = keras.Sequential([
        keras.Input((6,)),
        keras.layers.Dense(units, "relu", kernel_regularizer=keras.regularizers.L2(l2)),
        keras.layers.Dropout(dropout),
        keras.layers.Dense(2),
    ])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    return model
"""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stacks") / "experiment.py"
    path.write_text(EXPERIMENT)
    return path


def chain() -> Any:
    """Makes workers that have no trial but the programs of those before them, so that each is compiled once."""
    from runner.worker.worker import Worker

    workers: list[Worker] = []

    def make() -> Worker:
        workers[:] = [Worker(earlier=workers[-1].leave() if workers else None)]
        return workers[-1]

    return make


@pytest.fixture(scope="module")
def fresh() -> Any:
    """One chain for the tests of one experiment."""
    return chain()


@pytest.fixture
def trials(make_trial: Any, path: Path) -> Any:
    """Makes trials of the experiment from their parameters, in stacks of four."""

    def make(*params: dict[str, Any], **settings: Any) -> list[Trial]:
        train = {"compile": "xla", "stack": 4, "epochs": 3, "batch_size": 16, **settings}
        return [
            make_trial(path=path, id=f"{i:03d}", seed=i, params=one, data_params=(), **train)
            for i, one in enumerate(params)
        ]

    return make


def train(worker: Any, trials: Sequence[Trial]) -> dict[str, list[Report]]:
    """All trials to their ends, by one worker."""
    reports = {trial.id: list[Report]() for trial in trials}
    live = list(trials)
    while live:
        work = [Work(trial=trial, round=len(reports[trial.id])) for trial in live]
        answers = worker.advance(work, [worker.load(trial) for trial in live])
        assert not any(isinstance(answer, Failure) for answer in answers.values()), answers
        for trial_id, report in answers.items():
            reports[trial_id].append(report)
        live = [t for t in live if reports[t.id][-1].epoch < t.train.epochs and "nan" not in str(reports[t.id][-1])]
    return reports


def numbers(reports: Sequence[Report]) -> list[Any]:
    """Everything of a trial's reports but times."""
    return [(r.round, r.step, r.running, [(e.number, e.metrics, e.learning_rate) for e in r.epochs]) for r in reports]


def metrics(reports: Sequence[Report]) -> list[dict[str, float]]:
    return [dict(epoch.metrics) for report in reports for epoch in report.epochs]


def alone(trial: Trial) -> Trial:
    return replace(trial, train=replace(trial.train, stack=1))


def assert_close(one: Sequence[Report], other: Sequence[Report], tolerance: float = 1e-4) -> None:
    pairs = list(zip(metrics(one), metrics(other), strict=True))
    assert pairs
    for a, b in pairs:
        assert a.keys() == b.keys()
        for name, value in a.items():
            assert math.isclose(value, b[name], rel_tol=tolerance, abs_tol=1e-6), (name, a, b)


def assert_trains_as_alone(make: Any, tolerance: float = 1e-4) -> None:
    """Two trials in a stack of three have the metrics that each has alone under XLA."""
    fresh = chain()  # seventy kinds in one would keep all their programs
    made = [make(id=f"{i:03d}", seed=i, epochs=2, compile="xla", stack=3) for i in range(2)]
    together = train(fresh(), made)
    assert together["000"][0].facts.stack == 3  # type: ignore[union-attr]
    for trial in made:
        assert_close(train(fresh(), [alone(trial)])[trial.id], together[trial.id], tolerance)


def assert_is_refused(make: Any, reason: str) -> None:
    """The trial trains as alone, and its facts have this reason."""
    fresh, trial = chain(), make(epochs=2, compile="xla", stack=3)
    reports = train(fresh(), [trial])[trial.id]
    assert reports[0].facts.stack == 1  # type: ignore[union-attr]
    assert reason in reports[0].facts.stack_reason  # type: ignore[union-attr]
    assert numbers(reports) == numbers(train(fresh(), [alone(trial)])[trial.id])


def test_trials_of_other_rates_dropout_and_decay_train_together_as_each_does_alone(trials: Any, fresh: Any) -> None:
    made = trials({"rate": 0.01}, {"rate": 0.03, "dropout": 0.5, "l2": 0.1}, validate_every=1)
    together = train(fresh(), made)
    assert {reports[0].facts.stack for reports in together.values() if reports[0].facts} == {4}
    assert "stack of 4" in together["000"][0].facts.inexact  # type: ignore[union-attr]
    for trial in made:
        assert_close(train(fresh(), [alone(trial)])[trial.id], together[trial.id])
    assert len({str(metrics(reports)) for reports in together.values()}) == 2


def test_a_trial_does_not_depend_on_the_values_of_others_in_its_stack(trials: Any, fresh: Any) -> None:
    mine, usual, diverging = trials({"rate": 0.01}, {"rate": 0.03}, {"rate": 1e30})
    by_itself = numbers(train(fresh(), [mine])["000"])
    assert numbers(train(fresh(), [mine, usual])["000"]) == by_itself
    found = train(fresh(), [diverging, mine, usual])
    assert numbers(found["000"]) == by_itself
    assert math.isnan(metrics(found["002"])[-1]["loss"])


def test_a_trial_goes_on_from_its_snapshot_without_the_others_bit_for_bit(trials: Any, fresh: Any) -> None:
    made = trials({"rate": 0.01}, {"rate": 0.03}, epochs=4)
    whole = train(fresh(), made)
    worker, first = fresh(), made[1]
    loaded = [worker.load(trial) for trial in made]
    for number in range(2):
        worker.advance([Work(trial=trial, round=number) for trial in made], loaded)
    snapshot = worker.snapshot([first])[first.id]
    assert isinstance(snapshot, Snapshot)
    other = fresh()
    orders = (Work(trial=first, round=2),)
    report = other.restore(Replay(trial=first, snapshot=snapshot, orders=orders), [other.load(first)])
    assert isinstance(report, Report)
    last = other.advance([Work(trial=first, round=3)], [other.load(first)])[first.id]
    assert isinstance(last, Report)
    assert numbers([report, last]) == numbers(whole[first.id][2:])


def test_a_clone_that_has_had_no_turn_goes_on_from_its_parents_state(trials: Any, fresh: Any) -> None:
    parent, clone = trials({"rate": 0.01}, {"rate": 0.03})
    worker = fresh()
    first = worker.advance([Work(trial=parent, round=0)], [worker.load(parent)])[parent.id]
    state = replace(worker.snapshot([parent])[parent.id], trial_id=clone.id, round=0, inherited=True)
    assert worker.restore(Replay(trial=clone, snapshot=state, orders=()), [worker.load(clone)]) is None
    origin = Clone(parent=parent.id, round=1, step=first.step, epoch=first.epoch)
    turns = [Work(trial=parent, round=1), Work(trial=clone, round=0, clone=origin)]
    found = worker.advance(turns, [worker.load(parent)] * 2)
    assert found[clone.id].step == found[parent.id].step > first.step


def test_orders_about_weights_and_rate_and_a_trial_that_leaves_keep_the_others_as_they_are(
    trials: Any, fresh: Any
) -> None:
    first, second = trials({"rate": 0.01}, {"rate": 0.03})
    worker = fresh()
    loaded = [worker.load(first)] * 2
    worker.advance([Work(trial=first, round=0), Work(trial=second, round=0)], loaded)
    lowered = Work(trial=first, round=1, keep_best=True, learning_rate=1e-3)
    report = worker.advance([lowered, Work(trial=second, round=1)], loaded)["000"]
    assert isinstance(report, Report)
    assert report.epochs[-1].learning_rate == pytest.approx(1e-3)
    export = worker.export(first, best=True)
    assert isinstance(export, Export)
    with np.load(io.BytesIO(export.weights)) as file:  # type: ignore[arg-type]
        assert all(np.isfinite(file[name]).all() for name in file.files)
    rest = worker.advance([Work(trial=second, round=2)], loaded[:1])[second.id]
    assert isinstance(rest, Report)
    assert numbers([rest]) == numbers(train(fresh(), [second])[second.id][2:])


@pytest.mark.slow
def test_other_architectures_are_stacks_of_their_own_and_interrupted_turns_go_on(trials: Any, fresh: Any) -> None:
    made = trials({"units": 8}, {"units": 12}, {"units": 8, "rate": 0.02})
    whole = train(fresh(), made)
    worker = fresh()
    work = [Work(trial=trial, round=0) for trial in made]
    loaded = [worker.load(trial) for trial in made]
    worker.advance(work, loaded)
    worker.stop()
    assert worker.advance([Work(trial=trial, round=1) for trial in made], loaded) == {}
    worker._stopping = False  # the same worker goes on
    answers = worker.advance([Work(trial=trial, round=1) for trial in made], loaded)
    for trial in made:
        assert numbers([answers[trial.id]]) == numbers(whole[trial.id][1:2])


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [*STACKED, *(pytest.param(case, marks=pytest.mark.exhaustive) for case in MORE_STACKED)]
)
def test_every_kind_of_model_trains_in_a_stack_as_alone(case: str, make_trial: Any) -> None:
    assert_trains_as_alone(partial(make_trial, case))


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_a_model_that_cannot_be_in_a_stack_trains_alone_and_says_why(case: str, make_trial: Any) -> None:
    assert_is_refused(partial(make_trial, case), REFUSED[case])


def test_text_is_refused_by_xla_and_does_not_end_the_process(make_trial: Any, fresh: Any) -> None:
    trial = make_trial("string_inputs", epochs=2, compile="xla")
    worker = fresh()
    answer = worker.advance([Work(trial=trial, round=0)], [worker.load(trial)])[trial.id]
    assert isinstance(answer, Failure)
    assert "train.compile=graph" in answer.message


@pytest.mark.slow
def test_sixty_four_models_in_stacks_have_exports_and_tags_as_their_rows_say(tmp_path: Path, monkeypatch: Any) -> None:
    import runner
    from runner.journal import JournalReader

    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiment.py").write_text(EXPERIMENT)
    result = runner.sweep(
        "experiment.py", space={"rate": "loguniform(1e-3, 1e-1)"}, search={"max_trials": 64, "sampler": "random"},
        train={"epochs": 4}, resources={"stack": 64, "max_concurrent": 2}, fleet={"kind": "local"}, progress="none",
    )  # fmt: skip
    assert (result.trials["status"] == "complete").all()
    assert len(result.trials) == 64
    code: dict[str, Any] = {}
    exec(EXPERIMENT, code)
    _, (x, y) = code["load_data"]()
    with JournalReader(result.folder) as journal:
        records = journal.trials()
    assert {record.trial.train.stack for record in records} == {32}
    assert {record.facts.stack for record in records if record.facts} == {32}
    for record in records[::16]:
        model = result.trial(record.id).model()
        loss, _ = model.evaluate(x, y, batch_size=32, verbose=0)
        assert math.isclose(loss, result.history(record.id)["val_loss"].iloc[-1], rel_tol=1e-4)

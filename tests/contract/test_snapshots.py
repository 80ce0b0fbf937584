"""A trial goes on from its snapshot, in a worker that has never seen it, as if it had never been interrupted."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from runner.records import Clone, Export, Failure, Replay, Report, Segment, Snapshot, Trial, Work

pytestmark = pytest.mark.usefixtures("tensorflow")

CASES = [
    *("functional", "subclassed", "custom_train_step", "unshaped_logs", "dict_inputs", "two_inputs", "two_outputs"),
    *("sample_weights", "class_weights", "mixed_float16", "bfloat16", "masked_rnn", "ema_optimizer", "lr_schedule"),
    *("gradient_accumulation", "run_eagerly", "string_inputs", "cnn_batchnorm", "dropout_mlp", "unseeded_random"),
    *("dataset_input", "ignore_class"),
    *("unlabelled", "two_optimizers", "eager_two_optimizers", "diffusion", "contrastive", "siamese", "transformer"),
    "ragged_and_sparse",
]
# What a snapshot has of these is of the same kinds as of others.
ALIKE = (
    *("subclassed", "two_inputs", "two_outputs", "class_weights", "bfloat16", "ignore_class", "unlabelled"),
    *("eager_two_optimizers", "contrastive", "siamese", "custom_train_step", "dict_inputs", "sample_weights"),
    "transformer",
)


def orders(trial: Trial, rounds: int, **with_round_1: Any) -> tuple[Work, ...]:
    """The driver's orders."""
    return tuple(Work(trial=trial, round=number, **(with_round_1 if number == 1 else {})) for number in range(rounds))


def advance(worker: Any, work: Work) -> Report:
    report = worker.advance([work], [worker.load(work.trial)])[work.trial.id]
    assert isinstance(report, Report), report
    return report


def numbers(report: Report) -> tuple[Any, ...]:
    epochs = [(epoch.number, epoch.metrics) for epoch in report.epochs]
    return report.round, report.step, report.epoch, report.running, epochs


def weights(worker: Any, trial: Trial) -> tuple[bytes, bytes]:
    """The last ones, and the kept best ones."""
    exports = [worker.export(trial, best) for best in (False, True)]
    assert all(isinstance(export, Export) for export in exports), exports
    return exports[0].weights, exports[1].weights


class Whole:
    """An undisturbed run: every turn's numbers, a snapshot after each, the final weights."""

    def __init__(self, trial: Trial, work: tuple[Work, ...]) -> None:
        from runner.worker.worker import Worker

        self.trial, self.work = trial, work
        self.reports: list[Any] = []
        self.snapshots: list[Snapshot] = []
        worker = Worker()
        for item in work:
            self.reports.append(numbers(advance(worker, item)))
            self.snapshots.append(worker.snapshot([trial])[trial.id])
        self.weights = weights(worker, trial)

    def check_that_it_goes_on(self, worker: Any, snapshot: Snapshot | None) -> None:
        """From the snapshot to the end in that worker, the first turn as part of the restoration."""
        begin = 0 if snapshot is None else snapshot.round
        replay = Replay(trial=self.trial, snapshot=snapshot, orders=self.work[begin : begin + 1])
        first = worker.restore(replay, [worker.load(self.trial)])
        assert isinstance(first, Report), first
        reports = [first, *(advance(worker, item) for item in self.work[begin + 1 :])]
        assert list(map(numbers, reports)) == self.reports[begin:]
        count = 1 if snapshot is not None and snapshot.inherited else 2  # another trial's best weights are not its own
        assert weights(worker, self.trial)[:count] == self.weights[:count]


@pytest.fixture(scope="module")
def wholes() -> dict[str, Whole]:
    """By case the run that two tests of it compare with."""
    return {}


def _param(case: str, step: int) -> Any:
    """Tests of an epoch's end and of kinds that are alike come later, those that are both last."""
    marks = [(), (pytest.mark.slow,), (pytest.mark.exhaustive,)][(case in ALIKE) + (step == 3)]
    where = "its middle" if step == 5 else "an epoch's end"
    return pytest.param(case, step, id=f"{where}-{case}", marks=marks)


@pytest.mark.parametrize(("case", "step"), [_param(case, step) for case in CASES for step in (5, 3)])
def test_a_restored_trial_gives_the_same_numbers_from(
    step: int, case: str, make_trial: Any, wholes: dict[str, Whole]
) -> None:
    """Rounds of two steps in epochs of three."""
    from runner.worker.worker import Worker

    if case not in wholes:
        trial = make_trial(case, epochs=2, steps_per_round=2, seed=3)
        rate = {} if case == "lr_schedule" else {"learning_rate": 0.02}
        wholes[case] = Whole(trial, orders(trial, 4, keep_best=True, **rate))
    whole = wholes[case]
    assert [snapshot.step for snapshot in whole.snapshots] == [2, 3, 5, 6]
    whole.check_that_it_goes_on(Worker(), whole.snapshots[[2, 3, 5, 6].index(step)])


@pytest.mark.parametrize(
    "case",
    ["functional", "dropout_mlp", "lr_schedule", "dataset_input"]
    + [
        pytest.param(case, marks=pytest.mark.slow)
        for case in ("cnn_batchnorm", "masked_rnn", "run_eagerly", "two_optimizers", "mixed_float16", "ema_optimizer")
    ],
)
def test_a_trial_that_goes_on_from_another_ones_state_with_equal_values_gives_its_numbers(
    case: str, make_trial: Any, wholes: dict[str, Whole]
) -> None:
    from runner.worker.worker import Worker

    trial = make_trial(case, epochs=2, steps_per_round=2, seed=3)
    whole = wholes.get(case) or Whole(trial, orders(trial, 4))
    whole.check_that_it_goes_on(Worker(), replace(whole.snapshots[1], inherited=True))


LAYERS = """
import keras, numpy as np
def load_data(rows: int = 64):
    x = np.random.default_rng(0).normal(size=(rows, 4)).astype("float32")
    return (x, x.sum(1, keepdims=True)), (x, x.sum(1, keepdims=True))
def build_model(units: int = 5, layers: int = 1, learning_rate: float = 0.01, optimizer="adam", eager=False):
    hidden = [keras.layers.Dense(units, "relu", name=f"hidden_{number}") for number in range(layers)]
    model = keras.Sequential([keras.Input((4,)), *hidden, keras.layers.Dense(1, name="last")])
    kinds = {"adam": keras.optimizers.Adam, "lamb": keras.optimizers.Lamb}
    model.compile(kinds[optimizer](learning_rate), "mse", run_eagerly=eager)
    return model
"""


def layered(make_trial: Any, folder: Path, trial_id: str, **params: Any) -> Trial:
    (folder / "layers.py").write_text(LAYERS)
    params = {"rows": 64, "units": 5, "layers": 1, "learning_rate": 0.01, "optimizer": "adam", "eager": False, **params}
    names = {"data_params": ("rows",), "model_params": ("units", "layers", "learning_rate", "optimizer", "eager")}
    return make_trial(path=folder / "layers.py", id=trial_id, params=params, epochs=4, compile="graph", **names)


def arrays_of(worker: Any, trial: Trial) -> dict[str, np.ndarray]:
    model = worker._seats[trial.id].engine.model
    with worker._seats[trial.id].active():
        found = {one.path: np.array(one) for one in (*model.weights, *model.optimizer.variables)}
    return {path.replace("sequential/", "").replace("sequential_", ""): value for path, value in found.items()}


@pytest.mark.parametrize(
    ("change", "kept", "own"),
    [
        ({"learning_rate": 0.5}, ["hidden_0/kernel", "last/kernel", "adam/iteration", "adam/last_kernel_momentum"], []),
        ({"units": 7}, ["last/bias", "adam/last_bias_velocity"], ["hidden_0/kernel", "last/kernel"]),
        ({"layers": 2}, ["hidden_0/kernel", "last/kernel", "adam/hidden_0_kernel_velocity"], ["hidden_1/kernel"]),
        ({"layers": 0}, ["last/bias"], ["last/kernel"]),
        ({"optimizer": "lamb"}, ["last/kernel"], ["lamb/last_kernel_velocity"]),
        ({"units": 7, "eager": True}, ["last/bias"], ["hidden_0/kernel", "last/kernel"]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_clone_takes_over_what_has_its_shape_and_keeps_its_own_learning_rate(
    change: dict[str, Any], kept: list[str], own: list[str], make_trial: Any, tmp_path: Path
) -> None:
    from runner.worker.worker import Worker

    worker = Worker()
    parent, clone = layered(make_trial, tmp_path, "000"), layered(make_trial, tmp_path, "001", **change)
    advance(worker, Work(trial=parent, round=0))
    fresh = Worker()
    assert fresh.restore(Replay(trial=clone, snapshot=None, orders=()), [fresh.load(clone)]) is None
    built, before = arrays_of(fresh, clone), arrays_of(worker, parent)
    state = replace(worker.snapshot([parent])["000"], trial_id="001", inherited=True)
    assert fresh.restore(Replay(trial=clone, snapshot=state, orders=()), [fresh.load(clone)]) is None
    found = arrays_of(fresh, clone)
    for name in kept:
        np.testing.assert_array_equal(found[name], before[name], err_msg=name)
    for name in own:
        np.testing.assert_array_equal(found[name], built[name], err_msg=name)
    assert found[f"{clone.params['optimizer']}/learning_rate"] == np.float32(clone.params["learning_rate"])
    report = advance(fresh, Work(trial=clone, round=1, clone=Clone(parent="000", round=1, step=2, epoch=1)))
    assert (report.step, report.epoch) == (4, 2)
    assert report.facts is not None
    assert report.facts.parameters == sum(
        value.size for name, value in found.items() if name[0] in "hl" and "lamb" not in name
    )


def test_a_stop_within_the_past_of_a_clone_leaves_no_seat_with_the_state_of_its_parent(
    make_trial: Any, tmp_path: Path
) -> None:
    from runner.worker.worker import Worker

    parent, clone = layered(make_trial, tmp_path, "000"), layered(make_trial, tmp_path, "001", learning_rate=0.5)
    worker = Worker()
    worker.load(parent)
    orders_ = tuple(Work(trial=parent, round=number, until=2 * number + 2) for number in range(3))
    replay = Replay(trial=clone, snapshot=None, orders=(), ancestors=(Segment(trial=parent, orders=orders_),), first=4)
    with pytest.MonkeyPatch.context() as patch:
        really = worker._turn

        def stopping(work: Work, loaded: Any) -> Any:
            answer = really(work, loaded)
            worker.stop()
            return answer

        patch.setattr(worker, "_turn", stopping)
        assert worker.restore(replay, [worker.load(parent), worker.load(clone)]) is None
    assert worker.snapshot([clone]) == {}


def test_a_clone_whose_epochs_have_other_lengths_fails_with_the_reason(make_trial: Any, tmp_path: Path) -> None:
    from runner.worker.worker import Worker

    worker = Worker()
    parent, clone = layered(make_trial, tmp_path, "000"), layered(make_trial, tmp_path, "001", rows=128)
    advance(worker, Work(trial=parent, round=0))
    state = replace(worker.snapshot([parent])["000"], inherited=True)
    failure = worker.restore(Replay(trial=clone, snapshot=state, orders=()), [worker.load(clone)])
    assert isinstance(failure, Failure)
    assert failure.kind == "build"
    assert "goes on from the state of a trial with 2 steps per epoch and has 4 itself" in failure.message


@pytest.mark.parametrize("case", ["dropout_mlp", "dataset_input", "custom_train_step"])
def test_a_worker_restores_a_trial_a_second_time_from_an_epochs_end(
    case: str, make_trial: Any, wholes: dict[str, Whole]
) -> None:
    from runner.worker.worker import Worker

    trial = make_trial(case, epochs=2, steps_per_round=2, seed=3)
    whole = wholes.get(case) or Whole(trial, orders(trial, 4, keep_best=True, learning_rate=0.02))
    worker = Worker()
    for snapshot in whole.snapshots[2:0:-1]:
        whole.check_that_it_goes_on(worker, snapshot)


def test_every_model_has_its_row() -> None:
    from models import CASES as BUILDERS

    assert set(CASES) == set(BUILDERS)


@pytest.mark.usefixtures("no_turn_is_overdue")
@pytest.mark.parametrize(
    ("epochs_in_turn", "step"),
    [(1, 4), (3, 13), (3, 12)],
    ids=["within its epoch", "within its second epoch", "between two epochs"],
)
def test_an_interrupted_turn_is_finished_by_the_worker_that_takes_it_over(
    epochs_in_turn: int, step: int, make_trial: Any
) -> None:
    """Epochs of three steps, three turns; the second is interrupted."""
    from runner.worker import training
    from runner.worker.worker import Worker

    length = 3 * epochs_in_turn
    trial = make_trial("dropout_mlp", epochs=3 * epochs_in_turn, epochs_per_round=epochs_in_turn, seed=3)
    whole = Whole(trial, orders(trial, 3, keep_best=True, learning_rate=0.02))
    assert [report[1] for report in whole.reports] == [length, 2 * length, 3 * length]
    worker, answers = Worker(), itertools.chain(itertools.repeat(False, step - length), itertools.repeat(True))
    advance(worker, whole.work[0])
    seat = worker._seats[trial.id]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("runner.worker.turn_clock.CALL_S", 0.0)  # so that a step is a call
        assert training.advance(seat, whole.work[1], lambda: next(answers)) is None
    snapshot = worker.snapshot([trial])[trial.id]
    assert (snapshot.round, snapshot.step) == (1, step)
    whole.check_that_it_goes_on(Worker(), snapshot)

    worker.stop()
    assert worker.advance(whole.work[1:2], [worker.load(trial)]) == {}
    assert worker.advance([Work(trial=make_trial(id="001"), round=0)], [worker.load(trial)]) == {}, "not even seated"


PIPELINE = """
import keras, numpy as np, tensorflow as tf
from runner import Data
X = np.arange(70, dtype="float32")[:, None] / 70
def load_data():
    data = tf.data.Dataset.from_tensor_slices((X, X[:, 0]))
    return Data(train={pipeline})
def build_model():
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model
"""
PIPELINES = {
    "shuffled_without_a_seed": ("data.shuffle(70).batch(16)", ""),
    "not_reshuffled": ("data.shuffle(70, seed=1, reshuffle_each_iteration=False).batch(16)", ""),
    "of_unknown_length": ("data.filter(lambda x, y: y > 0.1).shuffle(20).batch(16)", ""),
    "shuffled_twice": ("data.shuffle(9).repeat(2).map(lambda x, y: (x + 1, y)).shuffle(9).batch(16)", ""),
    "seeds_of_a_layer": (
        "data.shuffle(70).batch(16).map(lambda x, y, seed=keras.random.SeedGenerator(1): "
        "(x + keras.random.normal([1], seed=seed), y))",
        "",
    ),
    "shuffled_validation": ("data.batch(16), validation=data.shuffle(70).batch(16).take(1)", ""),
    "validation_with_state": (
        "data.batch(16), validation=data.batch(70).map(lambda x, y, seed=tf.random.Generator.from_seed(1): "
        "(x + seed.normal([1]), y))",
        "",
    ),
    "random_validation": (
        "data.batch(16), validation=data.batch(70).map(lambda x, y: (x + tf.random.normal([1]), y))",
        "validation: the pipeline: RandomStandardNormal draws from",
    ),
    "parallel_seeds": (
        "data.batch(16).map(lambda x, y, seed=keras.random.SeedGenerator(1): "
        "(x + keras.random.normal([1], seed=seed), y), num_parallel_calls=2)",
        "a parallel map changes state (AssignVariableOp)",
    ),
    "python": (
        "data.from_generator(lambda: zip(X, X[:, 0]), output_signature=data.element_spec).batch(16)",
        "Python code",
    ),
    "random": ("data.map(lambda x, y: (x + tf.random.normal([1]), y)).batch(16)", "RandomStandardNormal draws from"),
}


@pytest.fixture
def piped(make_trial: Any, tmp_path: Path) -> Callable[[str], Trial]:
    """Trials whose epochs of four steps are over passes of five batches or nine."""

    def trial(pipeline: str) -> Trial:
        path = tmp_path / "pipeline.py"
        path.write_text(PIPELINE.format(pipeline=pipeline), encoding="utf-8")
        made: Trial = make_trial(path=path, params={}, epochs=4, steps_per_epoch=4, steps_per_round=3, seed=5)
        return made

    return trial


@pytest.mark.parametrize("name", [name for name, (_, inexact) in PIPELINES.items() if inexact])
def test_a_pipeline_that_cannot_be_continued_exactly_is_said_to_be_inexact(
    name: str, piped: Callable[[str], Trial]
) -> None:
    from runner.worker.worker import Worker

    pipeline, inexact = PIPELINES[name]
    facts = advance(Worker(), Work(trial=piped(pipeline), round=0)).facts
    assert facts is not None
    assert inexact in facts.inexact


@pytest.mark.parametrize("name", [name for name, (_, inexact) in PIPELINES.items() if not inexact])
@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param((7,), id="in the last epoch"),
        pytest.param((3, None), id="earlier and from the beginning", marks=pytest.mark.slow),
    ],
)
def test_a_pipeline_is_continued_where_it_was(
    rounds: tuple[int | None, ...], name: str, piped: Callable[[str], Trial], wholes: dict[str, Whole]
) -> None:
    from runner.worker.worker import Worker

    if name not in wholes:
        trial = piped(PIPELINES[name][0])
        wholes[name] = Whole(trial, orders(trial, 8))
    worker = Worker()
    for number in rounds:
        snapshot = None if number is None else wholes[name].snapshots[number - 1]
        wholes[name].check_that_it_goes_on(worker, snapshot)


def test_a_snapshot_of_another_model_is_refused_and_tells_what_differs(make_trial: Any) -> None:
    from runner.worker.worker import Worker

    trial = make_trial("functional", epochs=1)
    worker = Worker()
    advance(worker, Work(trial=trial, round=0))
    snapshot = worker.snapshot([trial])[trial.id]
    other = make_trial("cnn_batchnorm", epochs=1)
    failure = worker.restore(Replay(trial=other, snapshot=snapshot, orders=()), [worker.load(other)])
    assert isinstance(failure, Failure)
    assert failure.kind == "snapshot"
    assert "4 trainable variables of shapes [(8, 8), (8,), (8, 3), (3,)], the rebuilt model 6" in failure.message
    assert worker.snapshot([other]) == {}, "it has no seat"


def test_a_state_needs_no_pickle(make_trial: Any) -> None:
    from runner.worker.worker import Worker

    trial = make_trial("unseeded_random", epochs=1)
    worker = Worker()
    advance(worker, Work(trial=trial, round=0))
    with np.load(io.BytesIO(worker.snapshot([trial])[trial.id].state), allow_pickle=False) as file:
        roles = {name.split("/")[0] for name in file.files if file[name] is not None}
    assert roles == {"trainable", "optimizer", "metrics", "captured", "random", "meta"}

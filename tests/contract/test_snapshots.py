"""A trial goes on from its snapshot, in a worker that has never seen it, as if it had never been interrupted."""

from __future__ import annotations

from typing import Any

import pytest

from runner.records import Export, Replay, Report, Snapshot, Trial, Work

pytestmark = pytest.mark.usefixtures("tensorflow")

CASES = [
    *("functional", "subclassed", "custom_train_step", "dict_inputs", "two_inputs", "two_outputs"),
    *("sample_weights", "class_weights", "mixed_float16", "masked_rnn", "ema_optimizer", "lr_schedule"),
    *("gradient_accumulation", "run_eagerly", "string_inputs", "cnn_batchnorm", "dropout_mlp", "unseeded_random"),
    *("dataset_input",),
]


def orders(trial: Trial, rounds: int, **later: Any) -> tuple[Work, ...]:
    """The driver's orders; what is given as `later` comes with round 3."""
    return tuple(Work(trial=trial, round=number, **(later if number == 3 else {})) for number in range(rounds))


def advance(worker: Any, work: Work) -> Report:
    report = worker.advance([work], [worker.load(work.trial)])[work.trial.id]
    assert isinstance(report, Report), report
    return report


def numbers(report: Report) -> tuple[Any, ...]:
    return report.round, report.step, report.epoch, report.running, report.epoch_metrics


def whole(trial: Trial, work: tuple[Work, ...], best: bool) -> tuple[list[Any], list[Snapshot], bytes]:
    """An undisturbed run: every turn's numbers, a snapshot after each, the final weights."""
    from runner.worker.worker import Worker

    worker, reports, snapshots = Worker(), [], []
    for item in work:
        reports.append(numbers(advance(worker, item)))
        snapshot = worker.snapshot([trial])[trial.id]
        assert isinstance(snapshot, Snapshot), snapshot
        snapshots.append(snapshot)
    return reports, snapshots, weights(worker.export(trial, best))


def weights(export: Any) -> bytes:
    assert isinstance(export, Export), export
    return export.weights


def goes_on(
    worker: Any, trial: Trial, work: tuple[Work, ...], snapshot: Snapshot | None, best: bool
) -> tuple[list[Any], bytes]:
    """The turns after the snapshot in that worker, and the final weights."""
    begin = 0 if snapshot is None else snapshot.round
    replay = Replay(trial=trial, snapshot=snapshot, orders=work[begin : begin + 1])
    first = worker.restore(replay, worker.load(trial))
    assert isinstance(first, Report), first
    reports = [numbers(first), *(numbers(advance(worker, item)) for item in work[begin + 1 :])]
    return reports, weights(worker.export(trial, best))


@pytest.mark.parametrize("case", CASES)
def test_a_restored_trial_gives_the_same_numbers_from_an_epochs_end_and_from_its_middle(
    case: str, make_trial: Any
) -> None:
    """Rounds of two steps in epochs of three: snapshots after 2, 3, 5 and 6 steps; the best weights are kept at 3."""
    trial = make_trial(case, epochs=3, steps_per_round=2, seed=3)
    work = orders(trial, 6, keep_best=True, **({} if case == "lr_schedule" else {"learning_rate": 0.02}))
    from runner.worker.worker import Worker

    expected, snapshots, final = whole(trial, work, best=False)
    other = Worker()
    for taken in (snapshots[2], snapshots[1]):
        reports, restored = goes_on(other, trial, work, taken, best=False)
        assert reports == expected[taken.round :]
        assert restored == final


def test_every_model_has_its_row() -> None:
    from models import CASES as BUILDERS

    assert set(CASES) == set(BUILDERS)

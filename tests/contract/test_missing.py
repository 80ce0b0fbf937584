"""A private part of Keras or TensorFlow that is missing is reported once a sweep, and trials train without it."""

from __future__ import annotations

from typing import Any

import pytest

from runner.records import Report, Work

pytestmark = pytest.mark.usefixtures("tensorflow")


def test_a_model_that_cannot_be_built_symbolically_trains_all_the_same_with_a_warning(
    make_trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from runner.worker import missing
    from runner.worker.worker import Worker

    trial = make_trial("dropout_mlp", epochs=1)
    monkeypatch.setattr(missing, "_warnings", {})
    expected = _report(Worker(), trial)
    assert expected.aside.warnings == ()
    (owner,) = (base for base in keras.Model.__mro__ if "_symbolic_build" in vars(base))
    monkeypatch.delattr(owner, "_symbolic_build")
    found = _report(Worker(), trial)
    assert found.epochs[0].metrics == expected.epochs[0].metrics
    (warning,) = found.aside.warnings
    assert warning.startswith("warning: keras.Model._symbolic_build is missing in keras ")


def test_an_argument_that_a_pipeline_should_keep_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    from runner.worker import missing
    from runner.worker.data.pipelines import pipeline_inexact

    monkeypatch.setattr(missing, "_warnings", {})
    pipeline = tf.data.Dataset.range(4).shuffle(4)
    assert pipeline_inexact(pipeline, deterministic=False) == ""
    assert missing.warnings() == ()
    del pipeline._reshuffle_each_iteration
    pipeline_inexact(pipeline, deterministic=False)
    pipeline_inexact(pipeline, deterministic=False)
    (warning,) = missing.warnings()
    assert "_ShuffleDataset._reshuffle_each_iteration is missing in tensorflow" in warning


def _report(worker: Any, trial: Any) -> Report:
    report = worker.advance([Work(trial=trial, round=0)], [worker.load(trial)])[trial.id]
    assert isinstance(report, Report), report
    return report

"""What a worker says of a model is what MLflow and Keras find in the file that it returns."""

from __future__ import annotations

from typing import Any

import pytest
from models import CASES

from runner.records import Export, Report, Work

pytestmark = pytest.mark.usefixtures("tensorflow")
PLAIN = ["functional", "dict_inputs", "two_inputs", "two_outputs", "cnn_batchnorm", "dropout_mlp"]


def train_and_export(trial: Any) -> tuple[Report, Export]:
    from runner.worker.worker import Worker

    worker = Worker()
    report = worker.advance([Work(trial=trial, round=0)], [worker.load(trial)])[trial.id]
    assert isinstance(report, Report), report
    export = worker.export(trial, False)
    assert isinstance(export, Export), export
    return report, export


@pytest.mark.parametrize("case", PLAIN)
def test_the_signature_of_a_live_model_is_that_of_its_file(case: str, make_trial: Any, tmp_path: Any) -> None:
    import keras

    from runner.worker.inspect import signature_of

    assert case in CASES
    report, export = train_and_export(make_trial(case, epochs=1))
    assert report.facts is not None
    file = tmp_path / "model.keras"
    file.write_bytes(export.model)
    found, loaded = report.facts.signature, signature_of(keras.models.load_model(file))
    assert found is not None
    assert loaded is not None
    assert found.inputs == loaded.inputs
    # Outputs in a list have automatic names, which differ per build.
    assert [(t.dtype, t.shape) for t in found.outputs or ()] == [(t.dtype, t.shape) for t in loaded.outputs or ()]


def test_a_model_that_keras_cannot_load_again_is_kept_as_weights(
    make_trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    def fail(file: object) -> None:
        raise RuntimeError("a bug of Keras")

    monkeypatch.setattr(keras.models, "load_model", fail)
    report, export = train_and_export(make_trial(epochs=1))
    assert report.facts is not None
    assert report.facts.loadable
    assert export.model == b""
    assert export.weights

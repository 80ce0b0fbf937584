"""Small models of many kinds: a sweep gives what plain `fit` gives, on both fleets, and its exports what they gave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import REPOSITORY, Folder, Record, environment, read_journal

from runner.review.catalog import open_review
from runner.review.export import export_model

# The cases that are asked for are trained before the first test; all of them take four minutes on two free cores.
# `contract/test_training_equals_fit.py` compares thirty models with `fit` in every run.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

GALLERY = Path(__file__).parent
IMAGES = ("residual_cnn", "augmented_cnn", "segmentation", "image_pipeline", "autoencoder", "vector_metric")
SEQUENCES = ("text_vectorization", "masked_recurrent", "forecaster", "causal_convolutions", "series_pipeline")
TABLES = ("data_frame", "dict_of_series", "adapted", "lookups", "multi_output", "factorization")
GENERATIVE = ("variational_autoencoder", "adversaries", "diffusion", "siamese", "contrastive")
STYLES = (
    *("own_loss", "distiller", "eager_branches", "experts", "graph_network", "frozen_features", "undecayed_biases"),
    *("python_batches", "generated", "quantiles"),
)
CONVOLUTIONS = (
    *("grouped", "depthwise", "separable", "dilated", "upsampled", "resized", "transposed", "one_dimension"),
    *("three_dimensions", "grouped_volumes", "moving_images"),
)
PARTS = (
    *("normalized", "swish", "noisy", "bag_of_words", "encoder", "tied", "multi_label", "smoothed", "routed"),
    "sorted_features",
    *("frozen", "half", "encoded", "brightened", "densities", "siamese_arrays", "bidirectional", "unrolled"),
    "halved",
)
CASES = (*IMAGES, *SEQUENCES, *TABLES, *GENERATIVE, *STYLES, *CONVOLUTIONS, *PARTS)
# Those of which it cannot be promised that a repetition gives the same, and what the reason speaks of.
INEXACT = {"eager_branches": "not examined", "python_batches": "Python", "generated": "Python"}
# What differs from `fit` by 2e-7, relative, in a loss.
LAST_BITS = {
    "swish": "oneDNN computes it as one operation in `fit` and not in a loop",
    "moving_images": "the validation loss differs in the local fleet and not under Ray, for an unknown reason",
}
SETTINGS = (
    *("seed=3", "train.epochs=2", "train.batch_size=32", "train.shuffle=false", "train.compile=graph"),
    *("search.metric=loss", "resources.num_cpus=1", "tracking.uri=sqlite:///mlflow.db"),
)


@dataclass(frozen=True)
class Gallery:
    """What came of every case.

    Args:
        fits: by case the history of plain `fit`; its weights are in `folder`.
        folders: by fleet the folder of the sweep.
        exports: by case the weights that plain Keras has of the `local` fleet's export.
        loaded: by case what plain Keras evaluates of the `local` fleet's export.
    """

    folder: Path
    fits: dict[str, Any]
    folders: dict[str, Path]
    exports: Path
    loaded: dict[str, Any]


each_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def asked_for(request: pytest.FixtureRequest) -> set[object]:
    """The cases and fleets of the tests that are selected."""
    items = [
        item for item in request.session.items if isinstance(item, pytest.Function) and item.path.samefile(__file__)
    ]
    return {value for item in items if hasattr(item, "callspec") for value in item.callspec.params.values()}


@pytest.fixture(scope="module")
def cases(asked_for: set[object]) -> tuple[str, ...]:
    return tuple(case for case in CASES if case in asked_for) or CASES[:1]


@pytest.fixture(scope="module")
def gallery(
    tmp_path_factory: pytest.TempPathFactory, asked_for: set[object], cases: tuple[str, ...], tables: None
) -> Gallery:
    """Trains the cases by `fit` and by each fleet, side by side, and loads the exports of the `local` one."""
    folder, exports = tmp_path_factory.mktemp("fit"), tmp_path_factory.mktemp("exports")
    kinds = ("local", "ray") if "ray" in asked_for else ("local",)
    places = {kind: Folder(tmp_path_factory.mktemp(kind), warm=True) for kind in kinds}
    with _python("fit.py", folder, *cases) as plain, ExitStack() as sweeping:
        try:
            running = [
                sweeping.enter_context(place.start("sweep", *_arguments(kind, cases))) for kind, place in places.items()
            ]
            for sweep in running:
                sweep.finish(0, timeout_s=600.0)
            assert plain.wait(600.0) == 0
        finally:
            plain.kill()
    sweeps = {kind: place.sweeps[-1] for kind, place in places.items()}
    review = open_review(sweeps["local"])
    for trial in review.trials:
        export_model(review, trial, exports / trial.settings["case"])
    with _python("load.py", exports) as plain:
        assert plain.wait(600.0) == 0
    return Gallery(folder, _read(folder / "fit.json"), sweeps, exports, _read(exports / "load.json"))


def _arguments(kind: str, cases: tuple[str, ...]) -> tuple[str, ...]:
    return str(GALLERY / "experiment.py"), f"fleet.kind={kind}", "params.case=" + ",".join(cases), *SETTINGS


def _python(script: str, folder: Path, *cases: str) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(REPOSITORY), str(GALLERY)])
    return subprocess.Popen([sys.executable, GALLERY / script, folder, *cases], env=environment(PYTHONPATH=path))


def _read(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def records(gallery: Gallery) -> dict[str, Record]:
    return {kind: read_journal(folder) for kind, folder in gallery.folders.items()}


def test_every_model_has_its_row(gallery: Gallery) -> None:
    assert _read(gallery.folder / "cases.json") == sorted(CASES)


@pytest.mark.parametrize("kind", ["local", pytest.param("ray", marks=pytest.mark.ray)])
@each_case
def test_a_sweep_gives_the_epochs_and_weights_of_fit(
    case: str, kind: str, gallery: Gallery, records: dict[str, Record], request: pytest.FixtureRequest
) -> None:
    if case in LAST_BITS:
        request.applymarker(pytest.mark.xfail(reason=LAST_BITS[case]))
    trial = _trial(records[kind], case)
    assert (trial.status, trial.reason) == ("complete", "")
    fit = gallery.fits[case]
    assert isinstance(fit, dict), fit
    expected = {row: value for name, values in fit.items() for row, value in _rows(name, values)}
    assert expected
    found = {(key, step): value for (id_, key, step), value in records[kind].rows.items() if id_ == trial.id}
    assert {row: found.get(row) for row in expected} == expected
    _compare_weights(gallery.folders[kind] / trial.weights, gallery.folder / f"{case}.npz")


@each_case
def test_an_export_evaluates_in_plain_keras_as_the_table_says(
    case: str, gallery: Gallery, records: dict[str, Record]
) -> None:
    loaded, trial = gallery.loaded[case], _trial(records["local"], case)
    assert isinstance(loaded, dict), loaded
    _compare_weights(gallery.folders["local"] / trial.weights, gallery.exports / f"{case}.npz")
    metrics = trial.metrics
    expected = {name: value for name, value in metrics.items() if name.startswith("val_") and "/" not in name}
    assert {name: float(np.mean(value)) for name, value in loaded.items()} == expected


@each_case
def test_what_may_not_come_again_is_tagged(case: str, records: dict[str, Record]) -> None:
    facts = _trial(records["local"], case).facts
    assert facts is not None
    assert INEXACT.get(case, "") in facts.inexact
    assert bool(facts.inexact) == (case in INEXACT)


def _trial(record: Record, case: str) -> Any:
    (found,) = [trial for trial in record.trials.values() if trial.settings["case"] == case]
    return found


def _compare_weights(one: Path, other: Path) -> None:
    with np.load(one) as ours, np.load(other) as theirs:
        assert len(ours.files) == len(theirs.files) > 0
        for mine, its in zip(ours.files, theirs.files, strict=True):
            np.testing.assert_array_equal(ours[mine], theirs[its])


def _rows(name: str, values: list[Any]) -> Iterator[tuple[tuple[str, int], float]]:
    """A metric's epochs as the journal has them: of a vector each component, and the mean under its own name."""
    for epoch, value in enumerate(values, start=1):
        if isinstance(value, list):
            yield (name, epoch), float(np.mean(value))
            for index, component in enumerate(value):
                yield (f"{name}/{index}", epoch), component
        else:
            yield (name, epoch), value

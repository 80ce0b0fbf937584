"""The gallery's kinds of models train in stacks as each does alone, or say why they do not."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from test_stacks import assert_is_refused, assert_trains_as_alone

pytestmark = [pytest.mark.usefixtures("tensorflow", "gallery_is_importable"), pytest.mark.slow]
EXPERIMENT = Path(__file__).parents[1] / "gallery" / "experiment.py"
STACKED = (
    *("grouped", "three_dimensions", "residual_cnn", "normalized", "noisy", "tied", "sorted_features", "half"),
    *("masked_recurrent", "adapted", "multi_output", "factorization", "own_loss", "quantiles"),
)
MORE_STACKED = (
    *("depthwise", "separable", "dilated", "upsampled", "resized", "transposed", "one_dimension", "grouped_volumes"),
    *("moving_images", "segmentation", "autoencoder", "vector_metric", "bag_of_words", "encoder", "multi_label"),
    *("smoothed", "routed", "frozen", "encoded", "brightened", "densities", "siamese_arrays", "bidirectional"),
    *("unrolled", "forecaster", "causal_convolutions", "data_frame", "dict_of_series", "variational_autoencoder"),
    *("adversaries", "distiller", "experts", "graph_network", "frozen_features", "undecayed_biases"),
)
TOLERANCE = {"adversaries": 1e-3}  # its loss is a difference of two means that are nearly equal


@pytest.fixture
def gallery_is_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgets the tests' own module `models`, as which the gallery has a package."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "models"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    "case", [*STACKED, *(pytest.param(case, marks=pytest.mark.exhaustive) for case in MORE_STACKED)]
)
def test_every_kind_of_model_trains_in_a_stack_as_alone(case: str, make_trial: Any) -> None:
    assert_trains_as_alone(partial(make_trial, case, path=EXPERIMENT), TOLERANCE.get(case, 1e-4))


def test_a_loop_whose_length_depends_on_the_model_is_refused(make_trial: Any) -> None:
    assert_is_refused(partial(make_trial, "halved", path=EXPERIMENT), "While whose length depends on the model")

"""Addresses of MLflow's pages that show one sweep, and the view of its trials that they open. Pure.

A shared view is a tag of the MLflow experiment, which the page reads: a filter, an order and columns. Its value is what
MLflow's own "Views" menu wrote before it gave views names, so that each sweep adds none to that menu.

Source: mlflow 3.17, the page's `viewStateShareKey`, and what it saves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

VIEW = "mlflow.sharedViewState."  # begins the key of a view's tag
_MOST_COLUMNS = 12


def view_of_trials(run_id: str, columns: Sequence[str], ascending: bool) -> str:
    """The view of a sweep's trials, best first, as the value of its tag.

    Args:
        run_id: of the sweep's own run.
        columns: metrics and params, as `metrics.loss` and `params.units`.
        ascending: whether a low score is better.
    """
    named = [f"{kind}.`{name}`" for kind, _, name in (column.partition(".") for column in columns[:_MOST_COLUMNS])]
    return json.dumps(
        {
            "searchFilter": f"tags.`mlflow.parentRunId` = '{run_id}'",
            "orderByKey": "metrics.`score`",
            "orderByAsc": ascending,
            "selectedColumns": named,
            "runsHiddenMode": "FIRST_20_RUNS",
        }
    )


def trials_page(base: str, experiment_id: str, sweep_id: str) -> str:
    """The address of a sweep's trials, best first; `base` is that of the server."""
    return f"{_experiment(base, experiment_id)}/runs?workflowType=machine_learning&viewStateShareKey={quote(sweep_id)}"


def run_page(base: str, experiment_id: str, run_id: str) -> str:
    """The address of one run."""
    return f"{_experiment(base, experiment_id)}/runs/{run_id}?workflowType=machine_learning"


def _experiment(base: str, experiment_id: str) -> str:
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}"

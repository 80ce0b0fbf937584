"""Addresses of MLflow's pages that show one sweep, and the view of its trials that they open. Pure.

A shared view is a tag of the MLflow experiment, which the page reads: a filter, an order, columns and charts. Its value
is what MLflow's own "Views" menu wrote before it gave views names, so that each sweep adds none to that menu.

Source: mlflow 3.17, the page's `viewStateShareKey`, and what it saves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import quote

VIEW = "mlflow.sharedViewState."  # begins the key of a view's tag
_COLUMNS = ("score", "best_epoch", "loss")
_RATE = "optimizer/learning_rate"
_MOST_PARAMS, _MOST_CHARTS = 8, 9  # a tag of an experiment holds 5,000 characters
_SECTION = "trials"
_SHOWN = 20  # trials in a chart


def view_of_trials(run_id: str, params: Sequence[str], metrics: Sequence[str], *, ascending: bool) -> str:
    """The view of a sweep's trials, best first, as the value of its tag.

    Args:
        run_id: of the sweep's own run.
        params: those that vary: columns, and axes of the parallel coordinates.
        metrics: those with a chart, the sweep's own first.
        ascending: whether a low score is better.
    """
    params = params[:_MOST_PARAMS]
    columns = [f"metrics.`{name}`" for name in _COLUMNS] + [f"params.`{name}`" for name in params]
    charted = [*dict.fromkeys(metrics)][: _MOST_CHARTS - 2]
    section = {"uuid": _SECTION, "name": "Trials", "display": True, "deleted": False, "isGenerated": False}
    view = {
        "searchFilter": f"tags.`mlflow.parentRunId` = '{run_id}'",
        "orderByKey": "metrics.`score`",
        "orderByAsc": ascending,
        "selectedColumns": columns,
        "columnOrder": columns,
        "runsHiddenMode": f"FIRST_{_SHOWN}_RUNS",
        "compareRunSections": [{**section, "isReordered": False}],
        "compareRunCharts": [*([_parallel(params)] if params else []), *map(_line, (*charted, _RATE))],
    }
    return json.dumps(view)


def _parallel(params: Sequence[str]) -> dict[str, object]:
    axes = {"selectedParams": list(params), "selectedMetrics": ["score"], "showAllRuns": False}
    return _chart("PARALLEL", "settings") | axes


def _line(metric: str) -> dict[str, object]:
    axes = {"xAxisKey": "step", "xAxisScaleType": "linear", "scaleType": "linear", "lineSmoothness": 0}
    return _chart("LINE", metric) | {"metricKey": metric, "selectedMetricKeys": [metric], **axes}


def _chart(kind: str, name: str) -> dict[str, object]:
    place = {"metricSectionId": _SECTION, "deleted": False, "isGenerated": False}
    return {"type": kind, "uuid": f"{kind}-{name}", "runsCountToCompare": _SHOWN, **place}


def trials_page(base: str, experiment_id: str, sweep_id: str) -> str:
    """The address of a sweep's trials, best first; `base` is that of the server."""
    return f"{_experiment(base, experiment_id)}/runs?workflowType=machine_learning&viewStateShareKey={quote(sweep_id)}"


def run_page(base: str, experiment_id: str, run_id: str) -> str:
    """The address of one run."""
    return f"{_experiment(base, experiment_id)}/runs/{run_id}?workflowType=machine_learning"


def _experiment(base: str, experiment_id: str) -> str:
    return f"{base.rstrip('/')}/#/experiments/{experiment_id}"

"""MLflow calls of an experiment, with the real MLflow: ignored where they write, and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.worker.ignored import Ignored

CALLS = """
import os, sys, threading
from runner.worker.mlflow_calls import WARNING, MlflowCalls

told = []
calls = MlflowCalls(told.append)
assert "mlflow" not in sys.modules, "nobody but the experiment imports it"
with calls.ignored("a"):
    import mlflow
    from mlflow import log_metric
    from mlflow.tracking import fluent

    for autolog in (mlflow.autolog, mlflow.keras.autolog, mlflow.sklearn.autolog):
        told.clear()
        autolog()
        assert told == [WARNING], autolog
    mlflow.set_experiment("x")
    with mlflow.start_run(run_name="a", nested=True) as run:
        mlflow.log_param("a", 1)
        mlflow.log_param("a", 2)
        mlflow.log_metrics({"a": 1})
        log_metric("x", 2)
        fluent.log_text("text", "a.txt")
        name = "runs:/" + run.info.run_id + f"/{run.info.run_id}"
        os.path.join("folder", mlflow.active_run().info.run_id)
    assert mlflow.keras.log_model(None, "m").model_uri
    assert len(mlflow.search_runs()) == len(list(mlflow.search_experiments())) == 0
    client = mlflow.MlflowClient()
    client.log_metric(client.create_run("0").info.run_id, "a", 1)
    assert list(client.search_runs(["0"])) == []

    @mlflow.trace
    def one(x):
        return x + 1

    @mlflow.trace(name="two")
    def two(x):
        return x + 1

    assert one(1) == two(1) == 2
    with mlflow.start_span("s") as span:
        span.set_inputs({})
    from sklearn.linear_model import LinearRegression

    LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])
assert set(told) == {WARNING}
assert os.listdir(".") == [], os.listdir(".")

# A store that the experiment names is its own, to be read; it is no other code's.
with calls.ignored("a"):
    mlflow.set_tracking_uri("sqlite:///theirs.db")
    mlflow.log_metric("b", 1)
    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:///theirs.db"
assert not mlflow.is_tracking_uri_set()
assert os.listdir(".") == []
with calls.ignored("a"):
    assert mlflow.get_tracking_uri() == "sqlite:///theirs.db"
    theirs = mlflow.MlflowClient("sqlite:///theirs.db")
    experiment = theirs.create_experiment("mine")
    run = theirs.create_run(experiment)
    theirs.log_metric(run.info.run_id, "a", 1.0)
    assert theirs.get_run(run.info.run_id).data.metrics == {"a": 1.0}
    unnamed = mlflow.MlflowClient()
    unnamed.create_experiment("ignored")
    assert {found.name for found in unnamed.search_experiments()} == {"Default", "mine"}
    assert len(mlflow.search_runs([experiment])) == 1
with calls.ignored("b"):
    assert not mlflow.is_tracking_uri_set(), "a store is of the experiment that names it"
    mlflow.set_tracking_uri("sqlite:///others.db")
with calls.ignored("a"):
    assert mlflow.get_tracking_uri() == "sqlite:///theirs.db"
assert not hasattr(mlflow.log_metric, "__wrapped__") and not hasattr(mlflow.MlflowClient.log_metric, "__wrapped__")

# The program's own client, which works in a thread of its own meanwhile.
def follow():
    own = mlflow.MlflowClient("sqlite:///own.db")
    run = own.create_run(own.create_experiment("sweep"))
    own.log_param(run.info.run_id, "units", 4)
    own.log_metric(run.info.run_id, "loss", 1.0)
    found.append(own.get_run(run.info.run_id).data)

found = []
with calls.ignored("a"):
    thread = threading.Thread(target=follow, name="mlflow-projection")
    thread.start()
    thread.join()
assert (found[0].params, found[0].metrics) == ({"units": "4"}, {"loss": 1.0})
"""


@pytest.mark.slow
def test_calls_that_write_are_ignored_and_those_of_a_named_store_are_not(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    ended = subprocess.run(
        [sys.executable, "-c", CALLS],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("use", "result"),
    [
        ("json.dumps({'run': run.info.run_id})", '{"run": "ignored"}'),
        ("json.dumps({'run': run.info.run_id}, indent=1, sort_keys=True)", '{\n "run": "ignored"\n}'),
        ("f'{run.info.start_time:.1f}'", "ignored"),
        ("'%s' % run.info.run_id + '%.1f %d' % (run.x, run.x) + '%d' % run.x", "ignored0.0 00"),
        ("'runs:/' + run.info.run_id + '/model'", "runs:/ignored/model"),
        ("os.path.join('a', run.info.run_id)", "a/ignored"),
        ("str(pathlib.Path('a') / run.info.run_id)", "a/ignored"),
        ("run.data.metrics.get('a', 0) > 0.5", False),
        ("run.info.status == 'FINISHED' or 'a' in run.data.tags or 1 in run.x", False),
        ("str(3.0 - run.info.start_time) + str(run.x / 1000 + 1)", "ignoredignored"),
        ("float(run.x) + int(run.x) + math.sqrt(run.x)", 0.0),
        ("[7, 8][run.x]", 7),
        ("min(run.x, 3) is run", True),
        ("round(sum([run.x, run.y]), 2) is run", True),
        ("run.__setitem__('k', 1)", None),
        ("setattr(run, 'a', 1) or run.a is run", True),
        ("run.iloc[0]['metrics.loss'].join(run).count().index[0] is run", True),
        ("len(run) + len(list(run)) + len({run: 1, run.x: 2})", 1),
        ("copy.deepcopy(run) + '/'", "ignored/"),
    ],
)
def test_whatever_is_done_with_an_ignored_calls_result_does_nothing(use: str, result: object) -> None:
    names = {"run": Ignored()} | {name: __import__(name) for name in ("copy", "json", "math", "os", "pathlib")}
    assert eval(use, names) == result


def test_an_item_may_be_set_and_removed() -> None:
    run = Ignored()
    run["k"] = run["a"] = 1
    del run["k"]
    run.a = 1
    run["n"] += 1

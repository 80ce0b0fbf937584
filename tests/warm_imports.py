"""What the fork server of `warm.py` imports: all that `python -m runner sweep` does, and nothing of it is used."""

# ruff: noqa: E402, F401

from __future__ import annotations

import gc
import os

from runner.records import Allocation
from runner.worker import startup

os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # as the command line sets it before it imports MLflow
startup.configure(Allocation(num_cpus=1))

import mlflow.pyfunc
import mlflow.store.tracking.sqlalchemy_store
import optuna.importance
import optuna.visualization
import plotly.offline
import sklearn.datasets  # of the digits
from mlflow_tables import TEMPLATE, copy_tables

import runner.api.contexts
import runner.api.result
import runner.api.runs
import runner.cli
import runner.driver.plan
import runner.driver.resume
import runner.driver.run
import runner.fleet.local
import runner.tracking.mlflow_sink
import runner.views.results
import runner.worker.worker

if TEMPLATE in os.environ:
    copy_tables()

gc.freeze()  # a command that visited these objects to collect garbage would copy the memory that it shares

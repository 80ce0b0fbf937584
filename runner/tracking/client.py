"""MLflow's client, sending only texts that every store takes: valid, without NUL, no longer than the strictest allows.

Sources: mlflow 3.17, `mlflow/utils/validation.py`, and the columns that it makes in PostgreSQL 15, which checks their
lengths as sqlite does not; some are shorter than `mlflow/store/tracking/dbmodels/models.py` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from mlflow import MlflowClient
from mlflow.entities import Experiment, LoggedModel, Metric, Param, Run, RunTag

from runner.texts.storable import shown
from runner.tracking.metric_keys import MAX_KEY

_PARAM = 6000  # characters
_TAG = 8000
_RUN_NAME = 250
_EXPERIMENT = 256
_USER = 256
_MODEL = 500
_OWN_TAGS = {"mlflow.runName": _RUN_NAME, "mlflow.user": _USER}  # they are columns of their own, too


class StrictClient(MlflowClient):  # type: ignore[misc]
    """`MlflowClient`, for the calls by which the projection sends texts."""

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        """As MLflow's, by the name under which `create_experiment` makes it."""
        return super().get_experiment_by_name(_name(name, _EXPERIMENT))

    def create_experiment(self, name: str, artifact_location: str | None = None) -> str:
        """As MLflow's."""
        return str(super().create_experiment(_name(name, _EXPERIMENT), artifact_location))

    def create_run(self, experiment_id: str, start_time: int, tags: Mapping[str, str], run_name: str) -> Run:
        """As MLflow's."""
        return super().create_run(experiment_id, start_time, _tags(tags), clipped(run_name, _RUN_NAME))

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[RunTag] = (),
        synchronous: bool = True,
    ) -> None:
        """As MLflow's; the names of metrics are as they are."""
        strict_params = [Param(key, value) for key, value in _params({item.key: item.value for item in params}).items()]
        strict_tags = [RunTag(key, value) for key, value in _tags({item.key: item.value for item in tags}).items()]
        super().log_batch(run_id, metrics, strict_params, strict_tags, synchronous)

    def create_logged_model(
        self, experiment_id: str, name: str, source_run_id: str, tags: Mapping[str, str], params: Mapping[str, str]
    ) -> LoggedModel:
        """As MLflow's."""
        return super().create_logged_model(
            experiment_id, clipped(name, _MODEL), source_run_id, _tags(tags), _params(params)
        )


def clipped(value: str, limit: int) -> str:
    """At most `limit` characters; says so where it cuts."""
    value = shown(value)
    note = f" ... [cut from {len(value)} characters]"
    return value if len(value) <= limit else value[: limit - len(note)] + note


def _tags(values: Mapping[str, str]) -> dict[str, str]:
    return {_name(name, MAX_KEY): clipped(value, _OWN_TAGS.get(name, _TAG)) for name, value in values.items()}


def _params(values: Mapping[str, str]) -> dict[str, str]:
    return {_name(name, MAX_KEY): clipped(value, _PARAM) for name, value in values.items()}


def _name(name: str, limit: int) -> str:
    """One that is too long ends in a hash: names that begin alike are different ones."""
    name = shown(name)
    return name if len(name) <= limit else f"{name[: limit - 9]}-{sha256(name.encode()).hexdigest()[:8]}"

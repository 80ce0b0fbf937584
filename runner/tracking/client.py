"""MLflow's client, limited to texts that every store takes: valid Unicode, no NUL, no longer than the strictest limit.

Sources: mlflow 3.17, `mlflow/utils/validation.py`, and the columns that it makes in PostgreSQL 15, which enforces their
lengths (sqlite does not). Some columns are shorter than `mlflow/store/tracking/dbmodels/models.py` says.
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
_OWN_TAGS = {"mlflow.runName": _RUN_NAME, "mlflow.user": _USER}  # these have columns of their own


class StrictClient(MlflowClient):  # type: ignore[misc]
    """`MlflowClient`, for the calls that send texts."""

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        """As MLflow's, by the name that `create_experiment` gives it."""
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
        """As MLflow's; does not change the names of metrics."""
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
    """The text in at most `limit` characters, with a note if it was cut."""
    value = shown(value)
    note = f" ... [cut from {len(value)} characters]"
    return value if len(value) <= limit else value[: limit - len(note)] + note


def _tags(values: Mapping[str, str]) -> dict[str, str]:
    return {_name(name, MAX_KEY): clipped(value, _OWN_TAGS.get(name, _TAG)) for name, value in values.items()}


def _params(values: Mapping[str, str]) -> dict[str, str]:
    return {_name(name, MAX_KEY): clipped(value, _PARAM) for name, value in values.items()}


def _name(name: str, limit: int) -> str:
    """The name; one that is too long ends in a hash, so that names with the same beginning stay distinct."""
    name = shown(name)
    return name if len(name) <= limit else f"{name[: limit - 9]}-{sha256(name.encode()).hexdigest()[:8]}"

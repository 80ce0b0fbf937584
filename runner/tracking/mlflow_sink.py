"""The calls to MLflow: explicit run ids, one thread, every foreign error mapped. Imported in that thread only (3 s).

Every call may be repeated after its answer was lost: MLflow then holds the same as after one. MLflow's client itself
must not repeat any: within one call nobody looks for the run that the lost answer was about.
"""

from __future__ import annotations

import shlex
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import mlflow.exceptions
import sqlalchemy.exc
from mlflow import MlflowClient
from mlflow.entities import LoggedModelOutput, Metric, Param, RunTag
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from runner.errors import RunnerError, TrackingError
from runner.journal import MetricRow
from runner.redaction import redact, without_credentials
from runner.tracking.artifact_files import MODEL_FILE, folder_of, link, renamed
from runner.tracking.failures import ExperimentDeletedError, StoreRefusedError, StoreUnavailableError
from runner.tracking.labels import Code
from runner.tracking.names import mlflow_key
from runner.tracking.packages import what_to_install
from runner.tracking.provenance import context_tags
from runner.tracking.sqlite_store import ARTIFACTS, merge_log, private_store
from runner.tracking.stores import sqlite_file, sqlite_uri

RUN_FILE = "model/model.keras"  # the logged model's file among its run's artifacts
_LABELS_PER_CALL = 100  # MLflow's own limit
_REFUSALS = {
    "ALREADY_EXISTS",
    "BAD_REQUEST",
    "INVALID_PARAMETER_VALUE",
    "INVALID_STATE",
    "MALFORMED_REQUEST",
    "NOT_FOUND",
    "RESOURCE_ALREADY_EXISTS",
    "RESOURCE_DOES_NOT_EXIST",
}


class MlflowSink:
    """One MLflow experiment to write into.

    Args:
        uri: the tracking store. A relative sqlite path is relative to the working directory.
        experiment: its name; it is created where it is missing. Beside a sqlite file, artifacts go to `mlartifacts/`.
        staging: where files are made that are sent; None for the system's folder of temporary files, which may be full.
    """

    def __init__(self, uri: str, experiment: str, staging: Path | None = None) -> None:
        self._uri = uri
        self.staging = staging
        self._experiment = experiment
        self._opened: tuple[MlflowClient, str] | None = None

    @property
    def where(self) -> str:
        """The store's address without credentials."""
        return without_credentials(self._uri)

    def open(self) -> None:
        """Connects, and creates what is missing: schema, write-ahead log, experiment. Repeatable."""
        if self._opened is not None:
            return
        MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)  # whatever it was; workers have their environment by now
        with mapped(), ExitStack() as opening:
            file = sqlite_file(self._uri)
            if file is not None:
                opening.enter_context(private_store(file))
            # A relative path must not follow a later change of the working directory.
            client = MlflowClient(self._uri if file is None else sqlite_uri(self._uri, file))
            found = client.get_experiment_by_name(self._experiment)
            if found is not None and found.lifecycle_stage != "active":
                raise self._experiment_deleted(found.experiment_id)
            location = None if file is None else (file.parent / ARTIFACTS).as_uri()
            experiment_id = found.experiment_id if found else client.create_experiment(self._experiment, location)
            self._opened = client, experiment_id

    def close(self) -> None:
        """Leaves the store so that a sqlite file has everything in it. Repeatable, also where it was never opened."""
        file = sqlite_file(self._uri)
        if self._opened is not None and file is not None:
            merge_log(file)

    def context_tags(self, codes: Sequence[Code]) -> dict[str, str]:
        """Who runs what: user, source and commit tags."""
        with mapped():
            return context_tags(codes)

    def find_run(self, sweep_id: str, trial_id: str | None) -> str | None:
        """The run of a trial, or of the sweep itself, that the store has from an attempt whose answer was lost."""
        client, experiment_id = self._client
        query = f"tags.`sweep.id` = '{sweep_id}'" + (f" AND tags.`trial.id` = '{trial_id}'" if trial_id else "")
        page: str | None = None
        with mapped():
            while True:
                runs = client.search_runs([experiment_id], query, page_token=page)
                for run in runs:
                    if (MLFLOW_PARENT_RUN_ID in run.data.tags) == (trial_id is not None):
                        return str(run.info.run_id)
                page = runs.token
                if not page:
                    return None

    def create_run(self, name: str, start_ms: int, tags: Mapping[str, str], parent: str | None) -> str:
        """Creates a run and answers its id; the tags are there from the first moment."""
        client, experiment_id = self._client
        link = {} if parent is None else {MLFLOW_PARENT_RUN_ID: parent}
        with self._writing(None):
            run = client.create_run(experiment_id, start_time=start_ms, tags={**tags, **link}, run_name=name)
        return str(run.info.run_id)

    def log_params(self, run_id: str, params: Mapping[str, str]) -> None:
        """Writes params; a param never changes its value."""
        client, _ = self._client
        items = [Param(name, value) for name, value in params.items()]
        with self._writing(run_id):
            for start in range(0, len(items), _LABELS_PER_CALL):
                client.log_batch(run_id, params=items[start : start + _LABELS_PER_CALL], synchronous=True)

    def set_tags(self, run_id: str, tags: Mapping[str, str]) -> None:
        """Writes tags."""
        client, _ = self._client
        items = [RunTag(name, value) for name, value in tags.items()]
        with self._writing(run_id):
            for start in range(0, len(items), _LABELS_PER_CALL):
                client.log_batch(run_id, tags=items[start : start + _LABELS_PER_CALL], synchronous=True)

    def log_metrics(self, run_id: str, rows: Sequence[MetricRow], model_id: str | None = None) -> None:
        """Writes at most 1,000 rows, or none. A repetition with the same timestamps adds nothing.

        Args:
            run_id: the run whose metrics they are.
            rows: its metrics.
            model_id: a model of the run that they are of, too.
        """
        client, _ = self._client
        metrics = [
            Metric(mlflow_key(row.key), row.value, row.timestamp_ms, row.step, model_id=model_id) for row in rows
        ]
        if metrics:
            with self._writing(run_id):
                client.log_batch(run_id, metrics=metrics, synchronous=True)

    def has_metric(self, run_id: str, key: str) -> bool:
        """Whether a run has values of a metric."""
        client, _ = self._client
        with mapped():
            return key in client.get_run(run_id).data.metrics

    def log_texts(self, run_id: str, files: Mapping[str, str]) -> None:
        """Writes text artifacts by path."""
        client, _ = self._client
        with self._writing(run_id), tempfile.TemporaryDirectory(dir=self.staging) as folder:
            for name, text in files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            client.log_artifacts(run_id, folder)

    def log_file(self, run_id: str, file: Path, path: str) -> None:
        """Gives the run one file as the artifact `path`; on the same file system without a copy."""
        client, _ = self._client
        folder, _, name = path.rpartition("/")
        with self._writing(run_id):
            place = folder_of(client.get_run(run_id).info.artifact_uri)
            if place is None or not link(file, place / path):
                with renamed(file, name, self.staging) as artifact:
                    client.log_artifact(run_id, str(artifact), folder or None)

    def log_model(self, run_id: str, name: str, folder: Path, file: Path, params: Mapping[str, str], step: int) -> str:
        """Writes an MLflow model folder as the run's logged model and answers its id; goes on with an earlier attempt.

        Args:
            run_id: the run that trained it.
            name: not unique.
            folder: the model, with its `MLmodel` file; but for
            file: its `.keras` file, which on the same file system is not copied.
            params: copied to the model, for searches.
            step: the epoch that the model is from.
        """
        client, experiment_id = self._client
        with self._writing(run_id):
            query, mark = f"source_run_id = '{run_id}'", {"epoch": str(step)}
            found = client.search_logged_models([experiment_id], filter_string=query)
            earlier = [model for model in found if model.tags.get("epoch") == mark["epoch"]]
            model = (
                earlier[0]
                if earlier
                else client.create_logged_model(experiment_id, name, run_id, tags=mark, params=params)
            )
            client.log_model_artifacts(model.model_id, str(folder))
            place = folder_of(model.artifact_location)
            if place is None or not link(file, place / MODEL_FILE):
                with renamed(file, Path(MODEL_FILE).name, self.staging) as artifact:
                    client.log_model_artifacts(model.model_id, str(artifact.parent), str(Path(MODEL_FILE).parent))
            client.finalize_logged_model(model.model_id, "READY")
            run = client.get_run(run_id)
            outputs = run.outputs.model_outputs
            if model.model_id not in {output.model_id for output in outputs}:  # a sweep that goes on may log another
                client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
            artifacts = folder_of(run.info.artifact_uri)
            if place is not None and artifacts is not None:  # elsewhere it would be a second copy
                link(place / MODEL_FILE, artifacts / RUN_FILE)
        return str(model.model_id)

    def end_run(self, run_id: str, status: str, end_ms: int) -> None:
        """Closes a run with FINISHED, FAILED or KILLED."""
        client, _ = self._client
        with self._writing(run_id):
            client.set_terminated(run_id, status, end_ms)

    def reopen_run(self, run_id: str, stale: Sequence[str] = ()) -> None:
        """Shows a run as running again, for a sweep that goes on; takes off the tags that told how it had ended."""
        client, _ = self._client
        with self._writing(run_id):
            for name in client.get_run(run_id).data.tags.keys() & set(stale):
                client.delete_tag(run_id, name)
            client.update_run(run_id, status="RUNNING")

    @contextmanager
    def _writing(self, run_id: str | None) -> Iterator[None]:
        """As `mapped`; a refusal since somebody has deleted the run or the experiment tells how to restore it."""
        try:
            with mapped():
                yield
        except StoreRefusedError as err:
            deleted = self._deleted(run_id)
            if deleted is None:
                raise
            raise deleted from err

    def _deleted(self, run_id: str | None) -> StoreRefusedError | None:
        client, experiment_id = self._client
        try:
            with mapped():
                if client.get_experiment(experiment_id).lifecycle_stage != "active":
                    return self._experiment_deleted(experiment_id)
                if run_id is not None and client.get_run(run_id).info.lifecycle_stage != "active":
                    command = self._command("runs restore --run-id", run_id)
                    return StoreRefusedError(f"its run was deleted; restore it with: {command}")
        except TrackingError:  # what was refused tells more
            return None
        return None

    def _experiment_deleted(self, experiment_id: str) -> ExperimentDeletedError:
        command = self._command("experiments restore --experiment-id", experiment_id)
        return ExperimentDeletedError(
            f"the MLflow experiment {self._experiment!r} was deleted; restore it with: {command}"
        )

    def _command(self, verb: str, of: str) -> str:
        return f"MLFLOW_TRACKING_URI={shlex.quote(self.where)} mlflow {verb} {of}"

    @property
    def _client(self) -> tuple[MlflowClient, str]:
        if self._opened is None:
            raise RuntimeError("open() comes first")
        return self._opened


@contextmanager
def mapped() -> Iterator[None]:
    """Foreign errors as one of the two answers a caller can act on.

    Whatever comes: an artifact store's client has errors of its own, and none of them may end the thread that follows.
    """
    try:
        yield
    except RunnerError:
        raise
    except mlflow.exceptions.MlflowException as err:
        kind = StoreRefusedError if err.error_code in _REFUSALS else StoreUnavailableError
        raise kind(_first_line(err)) from err
    except (sqlalchemy.exc.SQLAlchemyError, sqlite3.Error, OSError) as err:  # requests' errors are OSErrors
        raise StoreUnavailableError(_first_line(err)) from err
    except ModuleNotFoundError as err:  # this process will not find it later either
        raise StoreRefusedError(redact(what_to_install(err))) from err
    except Exception as err:
        raise StoreUnavailableError(f"{type(err).__name__}: {_first_line(err)}") from err


def _first_line(err: Exception) -> str:
    return redact((str(err).strip() or type(err).__name__).splitlines()[0])

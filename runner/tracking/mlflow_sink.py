"""The calls to MLflow: explicit run ids, one thread, every foreign error mapped. Imported in that thread only (3 s).

Every call may be repeated after its answer was lost: MLflow then holds the same as after one. MLflow's client itself
must not repeat any: it does not look for the run that the lost answer was about.
"""

from __future__ import annotations

import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mlflow.entities import LoggedModel, LoggedModelOutput, Metric, Param, RunTag
from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_MAX_RETRIES
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from runner.errors import TrackingError
from runner.journal import MetricRow
from runner.texts.redaction import without_credentials
from runner.tracking.addresses import ARTIFACTS, sqlite_file, sqlite_uri
from runner.tracking.artifact_files import MODEL_FILE, folder_of, link, renamed, write_texts
from runner.tracking.client import StrictClient
from runner.tracking.errors import ExperimentDeletedError, StoreRefusedError
from runner.tracking.foreign_errors import mapped
from runner.tracking.labels import Code
from runner.tracking.metric_keys import ENTITIES_PER_CALL, mlflow_key
from runner.tracking.moved_store import relocate_artifacts
from runner.tracking.provenance import context_tags
from runner.tracking.sqlite_store import merge_log, private_store

RUN_FILE = "model/model.keras"  # the logged model's file among its run's artifacts
_LABELS_PER_CALL = 100  # params, and as many tags; MLflow's own limit
_NONE: Mapping[str, str] = {}


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
        self._opened: tuple[StrictClient, str] | None = None
        self._places: dict[str, Path | None] = {}  # of runs' artifacts
        self._created: set[str] = set()
        self._without_models: set[str] = set()  # runs made here, for which no model was sent yet
        self._without_outputs: set[str] = set()

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
                relocate_artifacts(file)
            # A relative path must not follow a later change of the working directory.
            client = StrictClient(self._uri if file is None else sqlite_uri(self._uri, file))
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

    def find_runs(self, sweep_id: str) -> dict[str, str]:
        """A sweep's runs that the store has, by trial; the sweep's own by an empty id."""
        client, experiment_id = self._client
        found: dict[str, str] = {}
        page: str | None = None
        with mapped():
            while True:
                runs = client.search_runs([experiment_id], f"tags.`sweep.id` = '{sweep_id}'", page_token=page)
                for run in runs:
                    trial_id = run.data.tags.get("trial.id", "") if MLFLOW_PARENT_RUN_ID in run.data.tags else ""
                    found.setdefault(trial_id, str(run.info.run_id))
                page = runs.token
                if not page:
                    return found

    def has_run(self, run_id: str) -> bool:
        """Whether the store knows a run, be it deleted."""
        client, _ = self._client
        try:
            with mapped():
                client.get_run(run_id)
        except StoreRefusedError:
            return False
        return True

    def create_run(self, name: str, start_ms: int, tags: Mapping[str, str], parent: str | None) -> str:
        """Creates a run and answers its id; the tags are there from the first moment."""
        client, experiment_id = self._client
        link = {} if parent is None else {MLFLOW_PARENT_RUN_ID: parent}
        with self._writing(None):
            run = client.create_run(experiment_id, start_time=start_ms, tags={**tags, **link}, run_name=name)
            run_id = str(run.info.run_id)
            self._places[run_id] = folder_of(run.info.artifact_uri)
            self._without_models.add(run_id)
            self._created.add(run_id)
        return run_id

    def log(
        self,
        run_id: str,
        *,
        params: Mapping[str, str] = _NONE,
        tags: Mapping[str, str] = _NONE,
        rows: Sequence[MetricRow] = (),
        model_rows: Sequence[MetricRow] = (),
        model_id: str | None = None,
    ) -> None:
        """Writes params, which never change their value, tags, and metrics, in as few calls as MLflow takes.

        A repetition with the same timestamps adds no metric.

        Args:
            run_id: the run whose they are.
            params: at most one value each.
            tags: replace those of the same name.
            rows: its metrics.
            model_rows: metrics of the run and of `model_id`.
            model_id: the logged model that `model_rows` belong to.
        """
        client, _ = self._client
        left_params = [Param(name, value) for name, value in params.items()]
        left_tags = [RunTag(name, value) for name, value in tags.items()]
        left_rows = [_metric(row) for row in rows] + [_metric(row, model_id) for row in model_rows]
        with self._writing(run_id):
            while left_params or left_tags or left_rows:
                now_params, left_params = left_params[:_LABELS_PER_CALL], left_params[_LABELS_PER_CALL:]
                now_tags, left_tags = left_tags[:_LABELS_PER_CALL], left_tags[_LABELS_PER_CALL:]
                room = ENTITIES_PER_CALL - len(now_params) - len(now_tags)
                now_rows, left_rows = left_rows[:room], left_rows[room:]
                client.log_batch(run_id, now_rows, now_params, now_tags, synchronous=True)

    def has_metric(self, run_id: str, key: str) -> bool:
        """Whether a run has had values of a metric since before this sink was opened."""
        if run_id in self._created:
            return False
        client, _ = self._client
        with mapped():
            return key in client.get_run(run_id).data.metrics

    def log_texts(self, run_id: str, files: Mapping[str, str]) -> None:
        """Writes text artifacts by path."""
        with self._writing(run_id):
            place = self._place(run_id)
            if place is not None:
                write_texts(place, files)
                return
            with tempfile.TemporaryDirectory(dir=self.staging) as folder:
                write_texts(Path(folder), files)
                self._client[0].log_artifacts(run_id, folder)

    def log_file(self, run_id: str, file: Path, path: str) -> None:
        """Gives the run one file as the artifact `path`; on the same file system without a copy."""
        client, _ = self._client
        folder, _, name = path.rpartition("/")
        with self._writing(run_id):
            place = self._place(run_id)
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
        client, _ = self._client
        with self._writing(run_id):
            model = self._model(run_id, name, params, step)
            place = folder_of(model.artifact_location)
            if place is None:
                client.log_model_artifacts(model.model_id, str(folder))
            else:
                shutil.copytree(folder, place, dirs_exist_ok=True)
            if place is None or not link(file, place / MODEL_FILE):
                with renamed(file, Path(MODEL_FILE).name, self.staging) as artifact:
                    client.log_model_artifacts(model.model_id, str(artifact.parent), str(Path(MODEL_FILE).parent))
            client.finalize_logged_model(model.model_id, "READY")
            if not self._is_output(run_id, model.model_id):
                client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
            artifacts = self._place(run_id)
            if place is not None and artifacts is not None:  # elsewhere it would be a second copy
                link(place / MODEL_FILE, artifacts / RUN_FILE)
        return str(model.model_id)

    def _model(self, run_id: str, name: str, params: Mapping[str, str], step: int) -> LoggedModel:
        """The run's logged model of that epoch; that of an earlier attempt, where there may have been one."""
        client, experiment_id = self._client
        mark = {"epoch": str(step)}
        if run_id not in self._without_models:
            found = client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'")
            earlier = [model for model in found if model.tags.get("epoch") == mark["epoch"]]
            if earlier:
                return earlier[0]
        else:
            self._without_models.remove(run_id)  # should this attempt fail, the next one looks for it
            self._without_outputs.add(run_id)
        return client.create_logged_model(experiment_id, name, run_id, tags=mark, params=params)

    def _is_output(self, run_id: str, model_id: str) -> bool:
        if run_id in self._without_outputs:
            self._without_outputs.remove(run_id)
            return False
        outputs = self._client[0].get_run(run_id).outputs.model_outputs  # a sweep that goes on may log another
        return model_id in {output.model_id for output in outputs}

    def _place(self, run_id: str) -> Path | None:
        """The folder of a run's artifacts; None where they are not files of this machine."""
        if run_id not in self._places:
            self._places[run_id] = folder_of(self._client[0].get_run(run_id).info.artifact_uri)
        return self._places[run_id]

    def end_run(self, run_id: str, status: str, end_ms: int) -> None:
        """Closes a run with FINISHED, FAILED or KILLED."""
        client, _ = self._client
        with self._writing(run_id):
            client.set_terminated(run_id, status, end_ms)

    def reopen_run(self, run_id: str, stale: Sequence[str] = ()) -> None:
        """Shows a run as running again, for a sweep that goes on; removes the tags that say how it had ended."""
        client, _ = self._client
        with self._writing(run_id):
            for name in client.get_run(run_id).data.tags.keys() & set(stale):
                client.delete_tag(run_id, name)
            client.update_run(run_id, status="RUNNING")

    @contextmanager
    def _writing(self, run_id: str | None) -> Iterator[None]:
        """Like `mapped`; if the run or the experiment was deleted, the error names the command that restores it."""
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
    def _client(self) -> tuple[StrictClient, str]:
        if self._opened is None:
            raise RuntimeError("open() comes first")
        return self._opened


def _metric(row: MetricRow, model_id: str | None = None) -> Metric:
    return Metric(mlflow_key(row.key), row.value, row.timestamp_ms, row.step, model_id=model_id)

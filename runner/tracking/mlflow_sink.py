"""The calls to MLflow: explicit run ids, one thread, every foreign error mapped. Imported in that thread only (3 s).

Every call may be repeated after its answer was lost: MLflow then holds the same as after one call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mlflow.entities import DatasetInput, Metric, Param, RunTag
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from runner.journal import MetricRow
from runner.tracking.connection import StoreConnection
from runner.tracking.errors import StoreRefusedError
from runner.tracking.labels import Code
from runner.tracking.metric_keys import ENTITIES_PER_CALL, mlflow_key
from runner.tracking.pages import VIEW
from runner.tracking.provenance import context_tags
from runner.tracking.registration import register_champion
from runner.tracking.run_artifacts import RunArtifacts

_LABELS_PER_CALL = 100  # params, and as many tags; MLflow's own limit
_NONE: Mapping[str, str] = {}


class MlflowSink:
    """One MLflow experiment to write into.

    Args:
        uri: as for `StoreConnection`.
        experiment: as for `StoreConnection`.
        staging: as for `RunArtifacts`.
    """

    def __init__(self, uri: str, experiment: str, staging: Path | None = None) -> None:
        self.staging = staging
        self._store = StoreConnection(uri, experiment)
        self._artifacts = RunArtifacts(self._store, staging)
        self._created: set[str] = set()

    @property
    def where(self) -> str:
        """The store's address without credentials."""
        return self._store.where

    def open(self) -> None:
        """As `StoreConnection.open`."""
        self._store.open()

    def close(self) -> None:
        """As `StoreConnection.close`."""
        self._store.close()

    def context_tags(self, codes: Sequence[Code]) -> dict[str, str]:
        """Who runs what: user, source and commit tags."""
        with self._store.reading():
            return context_tags(codes)

    def find_runs(self, sweep_id: str) -> dict[str, str]:
        """A sweep's runs that the store has, by trial; the sweep's own by an empty id."""
        found: dict[str, str] = {}
        page: str | None = None
        where = f"tags.`sweep.id` = '{sweep_id}'"
        with self._store.reading():
            while True:
                runs = self._store.client.search_runs([self._store.experiment_id], where, page_token=page)
                for run in runs:
                    trial_id = run.data.tags.get("trial.id", "") if MLFLOW_PARENT_RUN_ID in run.data.tags else ""
                    found.setdefault(trial_id, str(run.info.run_id))
                page = runs.token
                if not page:
                    return found

    def has_run(self, run_id: str) -> bool:
        """Whether the store knows a run, even a deleted one."""
        try:
            with self._store.reading():
                self._store.client.get_run(run_id)
        except StoreRefusedError:
            return False
        return True

    def create_run(self, name: str, start_ms: int, tags: Mapping[str, str], parent: str | None) -> str:
        """Creates a run that has its tags from the first moment; returns its id."""
        nested = {} if parent is None else {MLFLOW_PARENT_RUN_ID: parent}
        with self._store.writing(None):
            client, experiment_id = self._store.client, self._store.experiment_id
            run = client.create_run(experiment_id, start_time=start_ms, tags={**tags, **nested}, run_name=name)
            self._artifacts.begin(run)
            run_id = str(run.info.run_id)
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
        """Writes params, tags and metrics in as few calls as MLflow takes.

        A repetition with the same timestamps adds no metric.

        Args:
            run_id: the run.
            params: they never change their value.
            tags: they replace those of the same name.
            rows: metrics of the run.
            model_rows: metrics of the run and of `model_id`.
            model_id: the logged model that `model_rows` belong to.
        """
        left_params = [Param(name, value) for name, value in params.items()]
        left_tags = [RunTag(name, value) for name, value in tags.items()]
        left_rows = [_metric(row) for row in rows] + [_metric(row, model_id) for row in model_rows]
        with self._store.writing(run_id):
            while left_params or left_tags or left_rows:
                now_params, left_params = left_params[:_LABELS_PER_CALL], left_params[_LABELS_PER_CALL:]
                now_tags, left_tags = left_tags[:_LABELS_PER_CALL], left_tags[_LABELS_PER_CALL:]
                room = ENTITIES_PER_CALL - len(now_params) - len(now_tags)
                now_rows, left_rows = left_rows[:room], left_rows[room:]
                self._store.client.log_batch(run_id, now_rows, now_params, now_tags, synchronous=True)

    def has_metric(self, run_id: str, key: str) -> bool:
        """Whether a run has had values of a metric since before this sink was opened."""
        if run_id in self._created:
            return False
        with self._store.reading():
            return key in self._store.client.get_run(run_id).data.metrics

    def log_texts(self, run_id: str, files: Mapping[str, str]) -> None:
        """Writes text artifacts by path."""
        self._artifacts.write_texts(run_id, files)

    def log_file(self, run_id: str, file: Path, path: str) -> None:
        """As `RunArtifacts.write_file`."""
        self._artifacts.write_file(run_id, file, path)

    def replace_files(self, run_id: str, folder: str, files: Sequence[tuple[str, Path]]) -> None:
        """Makes these files, by path, the only artifacts of a folder of the run."""
        if run_id not in self._created:
            self._artifacts.keep_only(run_id, folder, {path for path, _ in files})
        for path, file in files:
            self._artifacts.write_file(run_id, file, path)

    def share_view(self, name: str, value: str) -> None:
        """Gives the experiment a view of its runs, which an address may name."""
        with self._store.writing(None):
            self._store.client.set_experiment_tag(self._store.experiment_id, f"{VIEW}{name}", value)

    def log_inputs(self, run_id: str, inputs: Sequence[DatasetInput]) -> None:
        """Notes the data that a run was trained on."""
        if inputs:
            with self._store.writing(run_id):
                self._store.client.log_inputs(run_id, list(inputs))

    def register(self, name: str, run_id: str, tags: Mapping[str, str], note: str) -> str:
        """Registers the logged model of a run as the champion; returns its version.

        Raises:
            StoreRefusedError: the run has no logged model, or the registry does not take it.
        """
        with self._store.writing(run_id):
            uri = self._store.client.get_run(run_id).data.tags.get("model.uri")
            if uri is None:
                raise StoreRefusedError("it has no logged model: its file was not kept, or only its source rebuilds it")
            return register_champion(self._store.client, name, uri, run_id, dict(tags), note)

    @property
    def experiment_id(self) -> str:
        """The MLflow experiment's id; `open` comes first."""
        return self._store.experiment_id

    def log_model(self, run_id: str, name: str, folder: Path, file: Path, params: Mapping[str, str], epoch: int) -> str:
        """Writes an MLflow model folder as the run's logged model; continues an earlier attempt.

        Args:
            run_id: the run that trained it.
            name: not unique.
            folder: the model with its `MLmodel` file, but without its `.keras` file.
            file: the `.keras` file, which is not copied on the same file system.
            params: copied to the model, for searches.
            epoch: the epoch that the model is from.

        Returns:
            The logged model's id.
        """
        return self._artifacts.write_model(run_id, name, folder, file, params, epoch)

    def end_run(self, run_id: str, status: str, end_ms: int) -> None:
        """Closes a run with FINISHED, FAILED or KILLED."""
        with self._store.writing(run_id):
            self._store.client.set_terminated(run_id, status, end_ms)

    def reopen_run(self, run_id: str, name: str, stale: Sequence[str] = ()) -> None:
        """Shows a run of a resumed sweep as running again, by this name; removes tags that say how it had ended."""
        with self._store.writing(run_id):
            client = self._store.client
            for key in client.get_run(run_id).data.tags.keys() & set(stale):
                client.delete_tag(run_id, key)
            client.update_run(run_id, status="RUNNING", name=name)


def _metric(row: MetricRow, model_id: str | None = None) -> Metric:
    return Metric(mlflow_key(row.key), row.value, row.timestamp_ms, row.step, model_id=model_id)

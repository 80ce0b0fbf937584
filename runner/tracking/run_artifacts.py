"""Artifacts of runs and logged models: written in place if the store keeps them as files of this machine, else sent."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Set
from contextlib import suppress
from pathlib import Path

from mlflow.entities import LoggedModel, LoggedModelOutput, Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from runner.tracking.artifact_files import MODEL_FILE, folder_of, link, renamed, write_texts
from runner.tracking.connection import StoreConnection

RUN_FILE = "model/model.keras"  # the logged model's file among its run's artifacts


class RunArtifacts:
    """Writes the artifacts of one experiment's runs.

    Args:
        store: where they go.
        staging: folder for files that are made to be sent; None for the system's folder of temporary files, which may
            be full.
    """

    def __init__(self, store: StoreConnection, staging: Path | None) -> None:
        self._store, self._staging = store, staging
        self._folders: dict[str, Path | None] = {}  # by run
        self._without_models: set[str] = set()  # runs created here that no model was sent for yet
        self._without_outputs: set[str] = set()

    def begin(self, run: Run) -> None:
        """Notes that the run was just created, so that nothing of it needs to be looked for."""
        run_id = str(run.info.run_id)
        self._folders[run_id] = folder_of(run.info.artifact_uri)
        self._without_models.add(run_id)

    def write_texts(self, run_id: str, files: Mapping[str, str]) -> None:
        """Writes text artifacts by path."""
        with self._store.writing(run_id):
            folder = self._folder(run_id)
            if folder is not None:
                write_texts(folder, files)
                return
            with tempfile.TemporaryDirectory(dir=self._staging) as name:
                write_texts(Path(name), files)
                self._store.client.log_artifacts(run_id, name)

    def write_file(self, run_id: str, file: Path, path: str) -> None:
        """Gives the run one file as the artifact `path`; without a copy on the same file system."""
        parent, _, name = path.rpartition("/")
        with self._store.writing(run_id):
            folder = self._folder(run_id)
            if folder is None or not link(file, folder / path):
                with renamed(file, name, self._staging) as artifact:
                    self._store.client.log_artifact(run_id, str(artifact), parent or None)

    def keep_only(self, run_id: str, below: str, paths: Set[str]) -> None:
        """Removes the run's artifacts in a folder that are not among these paths.

        A store that cannot remove artifacts keeps them.
        """
        with self._store.writing(run_id), suppress(NotImplementedError):
            uri = self._store.client.get_run(run_id).info.artifact_uri
            repository = get_artifact_repository(uri, tracking_uri=self._store.client.tracking_uri)
            for path in [path for path in self._files(run_id, below) if path not in paths]:
                repository.delete_artifacts(path)

    def _files(self, run_id: str, below: str) -> Iterator[str]:
        for item in self._store.client.list_artifacts(run_id, below):
            if item.is_dir:
                yield from self._files(run_id, item.path)
            else:
                yield item.path

    def write_model(
        self, run_id: str, name: str, folder: Path, file: Path, params: Mapping[str, str], epoch: int
    ) -> str:
        """As `MlflowSink.log_model`."""
        client = self._store.client
        with self._store.writing(run_id):
            model = self._found_or_created(run_id, name, params, epoch)
            place = folder_of(model.artifact_location)
            if place is None:
                client.log_model_artifacts(model.model_id, str(folder))
            else:
                shutil.copytree(folder, place, dirs_exist_ok=True)
            if place is None or not link(file, place / MODEL_FILE):
                with renamed(file, Path(MODEL_FILE).name, self._staging) as artifact:
                    client.log_model_artifacts(model.model_id, str(artifact.parent), str(Path(MODEL_FILE).parent))
            client.finalize_logged_model(model.model_id, "READY")
            if not self._is_output(run_id, model.model_id):
                client.log_outputs(run_id, [LoggedModelOutput(model.model_id, epoch)])
            artifacts = self._folder(run_id)
            if place is not None and artifacts is not None:  # elsewhere it would be a second copy
                link(place / MODEL_FILE, artifacts / RUN_FILE)
        return str(model.model_id)

    def _found_or_created(self, run_id: str, name: str, params: Mapping[str, str], epoch: int) -> LoggedModel:
        """The run's logged model of this epoch: that of an earlier attempt if there may have been one."""
        client, experiment_id, mark = self._store.client, self._store.experiment_id, {"epoch": str(epoch)}
        if run_id not in self._without_models:
            found = client.search_logged_models([experiment_id], filter_string=f"source_run_id = '{run_id}'")
            earlier = [model for model in found if model.tags.get("epoch") == mark["epoch"]]
            if earlier:
                return earlier[0]
        else:
            self._without_models.remove(run_id)  # if this attempt fails, the next one looks for its model
            self._without_outputs.add(run_id)
        return client.create_logged_model(experiment_id, name, run_id, tags=mark, params=params)

    def _is_output(self, run_id: str, model_id: str) -> bool:
        if run_id in self._without_outputs:
            self._without_outputs.remove(run_id)
            return False
        outputs = self._store.client.get_run(run_id).outputs.model_outputs  # a resumed sweep may log another model
        return model_id in {output.model_id for output in outputs}

    def _folder(self, run_id: str) -> Path | None:
        """The folder of a run's artifacts; None if they are not files of this machine."""
        if run_id not in self._folders:
            self._folders[run_id] = folder_of(self._store.client.get_run(run_id).info.artifact_uri)
        return self._folders[run_id]

"""The connection to one MLflow experiment: opened with all that is missing, its errors mapped. MLflow's thread only.

MLflow's client itself must not repeat any call, because it does not look for the run that a lost answer was about.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from mlflow.environment_variables import (
    MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
    MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT,
)

from runner.errors import TrackingError
from runner.texts.redaction import without_credentials
from runner.tracking.addresses import ARTIFACTS, sqlite_file, sqlite_uri
from runner.tracking.client import StrictClient
from runner.tracking.errors import ExperimentDeletedError, StoreRefusedError
from runner.tracking.foreign_errors import mapped
from runner.tracking.moved_store import relocate_artifacts
from runner.tracking.sqlite_store import merge_log, private_store


class StoreConnection:
    """One experiment of one store.

    Args:
        uri: the tracking store. A relative sqlite path is relative to the working directory.
        experiment: its name; it is created if it is missing. Beside a sqlite file, artifacts go to `mlartifacts/`.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self._uri, self._experiment = uri, experiment
        self._opened: tuple[StrictClient, str] | None = None

    @property
    def where(self) -> str:
        """The store's address without credentials."""
        return without_credentials(self._uri)

    @property
    def client(self) -> StrictClient:
        """MLflow's client; `open` comes first."""
        return self._connected[0]

    @property
    def experiment_id(self) -> str:
        """The experiment by MLflow's id; `open` comes first."""
        return self._connected[1]

    def open(self) -> None:
        """Connects, and creates what is missing: schema, write-ahead log, experiment. Repeatable."""
        if self._opened is not None:
            return
        MLFLOW_HTTP_REQUEST_MAX_RETRIES.set(0)  # workers have their own environment by now
        # At each end of a run of a server MLflow would print its address, with a request more, into the sweep's table.
        MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT.set(True)
        MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.set(False)
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
        """Leaves the store so that a sqlite file holds everything. Repeatable, even if it was never opened."""
        file = sqlite_file(self._uri)
        if self._opened is not None and file is not None:
            merge_log(file)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Maps foreign errors, for calls that change nothing."""
        with mapped():
            yield

    @contextmanager
    def writing(self, run_id: str | None) -> Iterator[None]:
        """Like `reading`; if the run or the experiment was deleted, the error names the command that restores it."""
        try:
            with mapped():
                yield
        except StoreRefusedError as err:
            deleted = self._deleted(run_id)
            if deleted is None:
                raise
            raise deleted from err

    def _deleted(self, run_id: str | None) -> StoreRefusedError | None:
        try:
            with mapped():
                if self.client.get_experiment(self.experiment_id).lifecycle_stage != "active":
                    return self._experiment_deleted(self.experiment_id)
                if run_id is not None and self.client.get_run(run_id).info.lifecycle_stage != "active":
                    command = self._command("runs restore --run-id", run_id)
                    return StoreRefusedError(f"its run was deleted; restore it with: {command}")
        except TrackingError:  # the refusal itself says more
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
    def _connected(self) -> tuple[StrictClient, str]:
        if self._opened is None:
            raise RuntimeError("open() comes first")
        return self._opened

"""The best trial's model in MLflow's model registry, as a version with the alias `champion`. MLflow's thread only."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from runner.tracking.client import StrictClient

ALIAS = "champion"


def register_champion(
    client: StrictClient, name: str, model_uri: str, run_id: str, tags: dict[str, str], note: str
) -> str:
    """Makes a logged model a version of a registered model, and gives it the alias; may be repeated.

    Args:
        client: of the store.
        name: of the registered model; it is created if it is missing.
        model_uri: of the logged model, as `models:/m-1`.
        run_id: the trial's run.
        tags: of the version.
        note: the version's description.

    Returns:
        The version's number, which is that of an earlier attempt if there was one.
    """
    if not client.search_registered_models(f"name = '{name}'"):
        try:
            client.create_registered_model(name)
        except MlflowException as err:  # another sweep has made it now
            if err.error_code != ErrorCode.Name(RESOURCE_ALREADY_EXISTS):
                raise
    found = _version_of(client, name, model_uri, run_id)
    if found is None:
        model_id = model_uri.removeprefix("models:/")
        found = client.create_model_version(
            name, model_uri, run_id, tags=tags, description=note, model_id=model_id, await_creation_for=0
        )
    version = str(found.version)
    client.set_registered_model_alias(name, ALIAS, version)
    return version


def _version_of(client: StrictClient, name: str, model_uri: str, run_id: str) -> ModelVersion | None:
    """The version that an earlier attempt has made of this model."""
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    model_id = model_uri.removeprefix("models:/")
    return next((one for one in versions if model_id in (one.model_id, str(one.source).removeprefix("models:/"))), None)

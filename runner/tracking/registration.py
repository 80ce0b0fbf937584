"""The best trial's model in MLflow's model registry, as a version with the alias `champion`. MLflow's thread only."""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_ALREADY_EXISTS, ErrorCode

from runner.tracking.client import StrictClient

ALIAS = "champion"
_MODEL = "model.id"  # tag of a version; not all stores keep its `model_id`


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
    model_id = model_uri.removeprefix("models:/")
    found = _version_of(client, name, model_id, run_id)
    if found is None:
        source = model_uri
        if not client.tracking_uri.startswith(("http://", "https://")):
            # In a database MLflow would look for the model in the process' own store, not in this one.
            source = client.get_logged_model(model_id).artifact_location
        found = client.create_model_version(
            name, source, run_id, tags={**tags, _MODEL: model_id}, description=note, model_id=model_id,
            await_creation_for=0,
        )  # fmt: skip
    version = str(found.version)
    client.set_registered_model_alias(name, ALIAS, version)
    return version


def _version_of(client: StrictClient, name: str, model_id: str, run_id: str) -> ModelVersion | None:
    """The version that an earlier attempt has made of this model."""
    versions = client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'")
    return next((one for one in versions if one.tags.get(_MODEL) == model_id), None)

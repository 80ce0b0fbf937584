"""MLflow's environment variables, which the config overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.texts.redaction import without_credentials

AUTO = "auto"
DEFAULT_URI = "sqlite:///mlflow.db"
_URI, _EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
_UNUSED = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")


def resolve_tracking(values: dict[str, object], environment: Mapping[str, str]) -> None:
    """Replaces `auto` by what the environment says, or else by the defaults. Changes `values` in place."""
    tracking = values.get("tracking")
    if isinstance(tracking, dict):
        defaults = {"uri": (_URI, DEFAULT_URI), "mlflow_experiment": (_EXPERIMENT, values.get("name"))}
        for key, (variable, default) in defaults.items():
            if tracking.get(key) == AUTO:
                tracking[key] = environment.get(variable) or default


def with_credentials(uri: str, environment: Mapping[str, str]) -> str:
    """A recorded address with the credentials that MLFLOW_TRACKING_URI has for the same store.

    Args:
        uri: as recorded, without credentials.
        environment: the program's.
    """
    given = environment.get(_URI, "")
    try:
        return given if given and without_credentials(given) == uri else uri
    except ValueError:  # the variable holds no address
        return uri


def notes(uri: str, experiment: str, environment: Mapping[str, str]) -> Iterator[str]:
    """Says which of the variables that are set are used, and which are not.

    Args:
        uri: `tracking.uri`, resolved.
        experiment: `tracking.mlflow_experiment`, resolved.
        environment: the program's.
    """
    used = {_URI: ("tracking.uri", uri), _EXPERIMENT: ("tracking.mlflow_experiment", experiment)}
    for variable, (key, value) in used.items():
        given, shown = environment.get(variable), without_credentials(value)
        if given and given == value:
            yield f"{key} is {shown}, from {variable}"
        elif given:
            yield f"{variable} is not used: the config sets {key}={shown}"
    for variable in _UNUSED:
        if environment.get(variable):
            yield f"{variable} is not used: each trial has a run of its own, in the MLflow experiment {experiment!r}"

"""MLflow's environment variables, which count below the config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from runner.texts.redaction import without_credentials

AUTO = "auto"
DEFAULT_URI = "sqlite:///mlflow.db"
_URI, _EXPERIMENT = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
_UNUSED = ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID")


def settle_tracking(values: dict[str, object], environment: Mapping[str, str]) -> None:
    """Puts in place of `auto` what the environment says, or else the defaults. Changes `values` in place."""
    tracking = values.get("tracking")
    if isinstance(tracking, dict):
        defaults = {"uri": (_URI, DEFAULT_URI), "mlflow_experiment": (_EXPERIMENT, values.get("name"))}
        for key, (variable, default) in defaults.items():
            if tracking.get(key) == AUTO:
                tracking[key] = environment.get(variable) or default


def with_credentials(uri: str, environment: Mapping[str, str]) -> str:
    """A recorded address with the credentials that MLFLOW_TRACKING_URI gives for the same store.

    Args:
        uri: as it is recorded, without credentials.
        environment: the program's.
    """
    given = environment.get(_URI, "")
    try:
        return given if given and without_credentials(given) == uri else uri
    except ValueError:  # what is given is no address
        return uri


def notes(uri: str, experiment: str, environment: Mapping[str, str]) -> Iterator[str]:
    """What a person should know of the variables that are set: where they are used, and where they are not.

    Args:
        uri: `tracking.uri`, settled.
        experiment: `tracking.mlflow_experiment`, settled.
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

"""What is recorded of a sweep before its first round: its folder, its config without secrets, its versions."""

from __future__ import annotations

import os
import secrets as randomness
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from runner.config import Config, config_to_yaml
from runner.errors import ConfigError, JournalError
from runner.journal import SweepRecord, sync_folder, write_durably
from runner.records import Goal
from runner.texts.redaction import secret_shape, without_credentials

_PACKAGES = ("lockstep-runner", "tensorflow", "keras", "ray", "mlflow", "numpy")


def sweep_record(config: Config, sweep_id: str, metric: str, goal: Goal, command: str, began_s: float) -> SweepRecord:
    """What the journal knows of a sweep from its first moment; `began_s` is seconds since the epoch."""
    tracking = config.tracking
    return SweepRecord(
        id=sweep_id,
        name=config.name,
        created_ms=int(began_s * 1000),
        metric=metric,
        goal=goal,
        config=recorded_config(config),
        command=command,
        tracking_uri=without_credentials(tracking.uri),
        mlflow_experiment=tracking.mlflow_experiment,
        versions=versions(),
    )


def recorded_config(config: Config) -> str:
    """The config as YAML, without credentials."""
    uri = without_credentials(config.tracking.uri)
    return config_to_yaml(config.model_copy(update={"tracking": config.tracking.model_copy(update={"uri": uri})}))


def write_config(folder: Path, config: Config) -> None:
    """Writes the config beside the journal, for a person and for `--config-dir`.

    Raises:
        JournalError: the disk is full, say.
    """
    file = folder / "config.yaml"
    try:
        write_durably(file, recorded_config(config).encode())
    except OSError as err:
        raise JournalError(f"{file}: cannot be written: {err.strerror}") from err


def versions() -> dict[str, str]:
    """Packages whose versions may change results."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def refuse_secrets(config: Config, secrets: Mapping[str, str]) -> None:
    """A config is recorded as it is, since results depend on it.

    Raises:
        ConfigError: a secret of the environment is in it, or what has the form of one.
    """
    text = recorded_config(config)
    found = [f"the value of {name}" for name, value in secrets.items() if value in text]
    if (shape := secret_shape(text)) is not None:
        found.append(f"what looks like {shape}")
    if found:
        raise ConfigError(
            f"the config has {', '.join(found)} in it, and is recorded in {config.name}'s journal and in "
            "MLflow; let the experiment read it from the environment"
        )


def check_writable(root: Path) -> None:
    """Before workers start: afterwards it would be a disappointment.

    Raises:
        ConfigError: no sweep can be recorded here.
    """
    folder = root if root.exists() else root.absolute().parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder}: not writable, and sweeps are recorded in {root}/; start in a folder of your own")


def new_folder(root: Path, name: str) -> Path:
    """A new folder for a sweep, private to the user; its name sorts by time and is unique."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = root / f"{name}-{stamp}-{randomness.token_hex(2)}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        os.mkdir(folder, mode=0o700)
        sync_folder(root)
    except OSError as err:
        raise ConfigError(f"{folder}: no folder can be made for the sweep: {err.strerror}") from err
    return folder

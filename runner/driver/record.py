"""Records a sweep: its folder, its config without secrets, its versions, its journal, and MLflow behind it."""

from __future__ import annotations

import os
import secrets as randomness
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from runner.config import Config, config_to_yaml
from runner.driver.context import Context, SweepWatcher
from runner.errors import ConfigError, JournalError
from runner.host.usage import UsageSampler
from runner.journal import SqliteJournal, SweepRecord, TrialLogs, staging_folder, sync_folder, write_durably
from runner.records import Goal, Slot, Source, encode_python
from runner.texts.redaction import secret_shape, without_credentials
from runner.tracking import Projection

_REACHED_S = 120.0  # most seconds to wait at the end for a store that accepts nothing
_UNREACHED_S = 10.0
_CODE = "code"
COLLECTED = ".code"  # in the folder of all sweeps: modules that were made of functions
_PACKAGES = ("lockstep-runner", "tensorflow", "keras", "ray", "mlflow", "numpy", "optuna")


def sweep_record(config: Config, sweep_id: str, metric: str, goal: Goal, command: str, began_s: float) -> SweepRecord:
    """The record with which a sweep begins in the journal; `began_s` is seconds since the epoch."""
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
        register=tracking.register,
    )


def own_tags(config: Config) -> dict[str, str]:
    """The user's own tags, as texts."""
    return {key: str(value) for key, value in config.tracking.tags.items()}


def recorded_config(config: Config) -> str:
    """The config as YAML, without credentials."""
    uri = without_credentials(config.tracking.uri)
    return config_to_yaml(config.model_copy(update={"tracking": config.tracking.model_copy(update={"uri": uri})}))


def write_config(folder: Path, config: Config) -> None:
    """Writes the config beside the journal, for the user and for `--config-dir`.

    Raises:
        JournalError: it cannot be written, for example because the disk is full.
    """
    file = folder / "config.yaml"
    try:
        write_durably(file, recorded_config(config).encode())
    except OSError as err:
        raise JournalError(f"{file}: cannot be written: {err.strerror}") from err


def with_code(config: Config, folder: Path, sources: Mapping[str, Source]) -> Config:
    """Writes the code of a sweep of functions into its folder; returns the config that names it there.

    Args:
        config: of the sweep.
        folder: the sweep's own.
        sources: the code that was made of functions, by member; nothing is written if it is empty.

    Raises:
        JournalError: it cannot be written, for example because the disk is full.
    """
    source = sources.get(config.name)
    if source is None:
        return config
    write_code(folder / _CODE, source)
    # Relative to the folder of all sweeps, in which `--config-dir` looks, so that they can be moved together.
    return config.model_copy(update={"experiment": f"{folder.name}/{_CODE}/{source.module}"})


def write_code(folder: Path, source: Source) -> None:
    """Writes the files of an experiment, to be read by the user and by workers.

    Raises:
        JournalError: one cannot be written, for example because the disk is full.
    """
    for name, text in source.files:
        file = folder / name
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_durably(file, encode_python(text))
        except OSError as err:
            raise JournalError(f"{file}: cannot be written: {err.strerror}") from err


def versions() -> dict[str, str]:
    """Versions of packages that may change results."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def refuse_secrets(config: Config, secrets: Mapping[str, str]) -> None:
    """Refuses a config with secrets, because it is recorded unchanged.

    Raises:
        ConfigError: it has a secret of the environment, or text with the form of a secret.
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
    """Checks before workers start that sweeps can be recorded.

    Raises:
        ConfigError: the folder is not writable.
    """
    folder = root if root.exists() else root.absolute().parent
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{folder}: not writable, and sweeps are recorded in {root}/; start in a folder of your own")


def new_folder(root: Path, name: str) -> Path:
    """Creates a folder for a sweep, private to the user; its name sorts by time and is unique."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    folder = root / f"{name}-{stamp}-{randomness.token_hex(2)}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        os.mkdir(folder, mode=0o700)
        sync_folder(root)
    except OSError as err:
        raise ConfigError(f"{folder}: no folder can be made for the sweep: {err.strerror}") from err
    return folder


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """The records of a sweep, open for writing.

    Args:
        folder: the sweep's own.
        journal: of the sweep.
        projection: follows the journal into MLflow.
    """

    folder: Path
    journal: SqliteJournal
    projection: Projection


@contextmanager
def recorded(
    folder: Path,
    config: Config,
    slots: Iterable[Slot],
    logs: TrialLogs,
    begin: Callable[[SqliteJournal], None],
    context: Context,
    *,
    uri: str | None = None,
    reached: bool = True,
) -> Iterator[Records]:
    """Opens the records of a sweep whose folder is locked; MLflow follows the journal once `begin` has been called.

    Args:
        folder: the sweep's own.
        config: of the sweep.
        slots: in which its trials train.
        logs: of its trials; opened here.
        begin: creates the sweep in the journal, or reopens its trials.
        context: of the sweep.
        uri: of the store, with credentials; None for the config's.
        reached: the store answered. If it did not, the end waits for it only briefly.
    """
    allocations = {slot.index: slot.allocation for slot in slots}
    logs.open(folder)
    staging_folder(folder)  # is emptied before MLflow's thread uses it
    stay = config.keep.models == "all"
    with (
        UsageSampler(config.tracking.system_metrics_every_s) as usage,
        SqliteJournal(folder, allocations, models_stay=stay, samples=usage.taken) as journal,
    ):
        begin(journal)
        timeout_s = _REACHED_S if reached else _UNREACHED_S
        with followed_by_mlflow(folder, uri or config.tracking.uri, context.watcher, timeout_s) as projection:
            yield Records(folder=folder, journal=journal, projection=projection)


@contextmanager
def followed_by_mlflow(folder: Path, uri: str, watcher: SweepWatcher, timeout_s: float) -> Iterator[Projection]:
    """Lets MLflow follow the journal; if an error or a request to stop ends the sweep, says what MLflow lacks.

    Args:
        folder: the sweep's own.
        uri: of the store, with credentials.
        watcher: is shown warnings and, at the end, what is left to send.
        timeout_s: most seconds to wait at the end for a store that accepts nothing.
    """
    with watcher.waiting() as show:
        projection = Projection(folder, uri, timeout_s=timeout_s, on_warning=watcher.warn, on_backlog=show)
        try:
            with projection:
                yield projection
        except BaseException:
            if projection.problem is not None:
                watcher.warn(projection.problem)
            raise

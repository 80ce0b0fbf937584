"""Files of trials' models in a sweep's folder, on the disk before rows name them and gone after."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeGuard

from runner.journal.durable_files import move_durably, own_file, sync_folder, write_durably
from runner.records import Export, Failure


def has_model(export: Export | Failure) -> TypeGuard[Export]:
    """Whether the trial has ended with a model."""
    return isinstance(export, Export) and export.weights != b""


def put_model(folder: Path, export: Export) -> tuple[str | None, str]:
    """Puts a model's files in their places; returns the names of the model, if Keras can load it, and its weights.

    Raises:
        OSError: the disk is full or read-only.
    """
    (folder / "models").mkdir(exist_ok=True)
    sync_folder(folder)
    model, weights = f"models/{export.trial_id}.keras", f"models/{export.trial_id}.weights.npz"
    _put(folder, weights, export.weights)
    if not export.model:
        return None, weights
    _put(folder, model, export.model)
    return model, weights


def remove_models(folder: Path, names: Iterable[str]) -> None:
    """Removes files that no row names any more; those that cannot be removed stay."""
    for name in names:
        with suppress(OSError):
            own_file(folder, name).unlink(missing_ok=True)


def _put(folder: Path, name: str, content: bytes | Path) -> None:
    path = own_file(folder, name)
    if isinstance(content, Path):
        move_durably(content, path)
    else:
        write_durably(path, content)

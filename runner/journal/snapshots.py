"""Snapshots on disk: complete or absent, and every byte is verified before it is used.

`sweeps/ID/snapshots/TRIAL/ROUND/` holds `state.npz` and `manifest.json`. The manifest names the trial and the hash of
the state, and ends with a hash of itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from runner.journal import own_file, put_durably, sync_folder, write_durably
from runner.records import Clone, Snapshot, Trial

FOLDER = "snapshots"
GENERATIONS = 2  # snapshots kept per trial
_STATE, _MANIFEST = "state.npz", "manifest.json"
_PARTIAL = ".partial"
_FORMAT = 1


class SnapshotStore:
    """A sweep's snapshots; keeps two of each trial that has not ended.

    Args:
        folder: the sweep's folder; its name is the sweep's id.
        versions: of the packages that a state depends on; recorded.
        on_warning: called with each snapshot that cannot be written, or that is damaged or foreign.
    """

    def __init__(self, folder: Path, versions: Mapping[str, str], on_warning: Callable[[str], None]) -> None:
        self._folder = folder
        self._versions, self._on_warning = dict(versions), on_warning

    def write(self, trial: Trial, snapshot: Snapshot) -> None:
        """As `Snapshots.write`; if the disk does not take it, the previous snapshot stays."""
        folder = self._of(trial.id)
        partial, final = folder / f".{snapshot.round}{_PARTIAL}", folder / _name(snapshot.round)
        for leftover in (*folder.glob(f".*{_PARTIAL}"), final):
            shutil.rmtree(leftover, ignore_errors=True)
        try:
            partial.mkdir(parents=True, mode=0o700)
            put_durably(partial / _STATE, snapshot.state)
            write_durably(partial / _MANIFEST, self._manifest(trial, snapshot, partial / _STATE))
            sync_folder(partial)
            partial.rename(final)
            sync_folder(folder)
        except OSError as err:
            shutil.rmtree(partial, ignore_errors=True)  # the journal may need the space
            if isinstance(snapshot.state, Path):
                with suppress(OSError):  # the disk may have become read-only
                    snapshot.state.unlink(missing_ok=True)
            self._on_warning(f"{folder}: the snapshot of round {snapshot.round} could not be written: {err}")
            return
        for old in _generations(folder)[GENERATIONS:]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self, trial: Trial, at_most: int, at_least: int = 0) -> Snapshot | None:
        """As `Snapshots.newest`; warns about damaged or foreign snapshots and falls back to the previous one."""
        for folder in _generations(self._of(trial.id)):
            if not at_least <= int(folder.name) <= at_most:
                continue
            try:
                return self._read(folder, trial)
            except _UnusableError as err:
                self._on_warning(f"{folder}: this snapshot is not used: {err}")
        return None

    def inherit(self, trial: Trial, clone: Clone, turns: int) -> bool:
        """As `Snapshots.inherit`; both trials then share one file on the disk."""
        source = self._of(clone.parent) / _name(clone.round)
        try:
            found = self._read(source, None, clone.parent)
        except _UnusableError:
            return False
        if found.step != clone.step or found.inherited:  # within a turn, or not built yet
            return False
        with tempfile.TemporaryDirectory(dir=source.parent, prefix=".", suffix=_PARTIAL) as folder:
            state = Path(folder) / _STATE
            try:
                _linked(source / _STATE, state)
            except OSError:
                return False
            snapshot = Snapshot(trial_id=trial.id, round=turns, step=clone.step, state=state, inherited=True)
            self.write(trial, snapshot)
        return (self._of(trial.id) / _name(turns)).is_dir()

    def has_any(self, trial_id: str) -> bool:
        """Whether there is a snapshot of the trial, whole or not."""
        return bool(_generations(self._of(trial_id)))

    def drop(self, trial_id: str) -> None:
        """As `Snapshots.drop`; a snapshot that cannot be removed stays, which does no harm."""
        shutil.rmtree(self._of(trial_id), ignore_errors=True)

    def _of(self, trial_id: str) -> Path:
        """The folder of a trial's snapshots.

        Raises:
            JournalError: it is a link, or lies outside the sweep's folder.
        """
        return own_file(self._folder, f"{FOLDER}/{trial_id}")

    def _manifest(self, trial: Trial, snapshot: Snapshot, state: Path) -> bytes:
        return _signed(
            {
                "format": _FORMAT,
                "sweep": self._folder.name,
                "trial": trial.id,
                "record": trial.digest,
                "round": snapshot.round,
                "step": snapshot.step,
                "inherited": snapshot.inherited,
                "size": state.stat().st_size,
                "sha256": _sha256(state),
                "versions": self._versions,
            }
        )

    def _read(self, folder: Path, trial: Trial | None, trial_id: str = "") -> Snapshot:
        """The snapshot in a folder; of a trial as it is, or of `trial_id` however it was then."""
        trial_id = trial.id if trial is not None else trial_id
        try:
            manifest, state = (folder / _MANIFEST).read_bytes(), folder / _STATE
            size, digest = state.stat().st_size, _sha256(state)
        except OSError as err:
            what = Path(err.filename).name if err.filename else folder.name  # a failed read names no file
            raise _UnusableError(f"{err.strerror}: {what}") from err
        values = _verified(manifest)
        for key, expected in (("format", _FORMAT), ("sweep", self._folder.name), ("trial", trial_id)):
            if values.get(key) != expected:
                raise _UnusableError(f"its {key} is {values.get(key)!r}, not {expected!r}")
        if trial is not None and values.get("record") != trial.digest:
            raise _UnusableError("its trial had other settings or other code")
        if folder.name != _name(values["round"]):
            raise _UnusableError(f"its round is {values['round']}")
        if values["size"] != size or values["sha256"] != digest:
            raise _UnusableError(f"{_STATE} is not what was written")
        return Snapshot(
            trial_id=trial_id,
            round=values["round"],
            step=values["step"],
            state=state.absolute(),
            inherited=values.get("inherited", False),
        )


class _UnusableError(Exception):
    """A snapshot is damaged, or belongs to another trial; the message says which."""


def _signed(values: Mapping[str, object]) -> bytes:
    text = json.dumps(values, sort_keys=True)
    return json.dumps({**values, "digest": hashlib.sha256(text.encode()).hexdigest()}, sort_keys=True).encode()


def _verified(manifest: bytes) -> dict[str, Any]:
    """The manifest's values, if its bytes are exactly those that `_signed` made."""
    try:
        values: dict[str, Any] = json.loads(manifest)
        values.pop("digest")
    except (ValueError, KeyError, AttributeError, TypeError) as err:
        raise _UnusableError(f"{_MANIFEST} is damaged") from err
    if _signed(values) != manifest:
        raise _UnusableError(f"{_MANIFEST} is not what was written")
    return values


def _name(number: object) -> str:
    return f"{number:08}" if isinstance(number, int) else ""


def _generations(folder: Path) -> list[Path]:
    """A trial's snapshots, newest first, without those that were never completed."""
    names = sorted((path.name for path in folder.glob("[0-9]*")), reverse=True) if folder.is_dir() else []
    return [folder / name for name in names]


def _linked(source: Path, target: Path) -> None:
    """Gives a file a second name, or copies it if the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _sha256(path: Path) -> str:
    """The hash of a file, read in pieces because it may be larger than the free memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""Takes what a trial's callbacks record: metrics of the present epoch, and files in the trial's folder."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from contextlib import AbstractContextManager
from pathlib import Path

from runner.recording import recording
from runner.records import Files


class TrialRecorder:
    """Takes what the callbacks of a trial record from its beginning on.

    Args:
        folder: for its files; emptied now, because a trial with callbacks begins again when it gets a seat. None for a
            temporary one.
    """

    def __init__(self, folder: Path | None) -> None:
        self._given, self._temporary = folder, None if folder else _Temporary()
        self._metrics: dict[str, float] = {}
        if folder is not None and folder.is_symlink():
            folder.unlink()
        elif folder is not None and folder.exists():
            shutil.rmtree(folder)

    @property
    def folder(self) -> Path:
        """As `recording.Recorder.folder`."""
        path = self._given if self._temporary is None else self._temporary.folder
        assert path is not None, "one of them is there"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def log_metric(self, name: str, value: float) -> None:
        """As `recording.Recorder.log_metric`."""
        self._metrics[name] = value

    def active(self) -> AbstractContextManager[None]:
        """Takes what is recorded inside."""
        return recording(self)

    def taken(self) -> dict[str, float]:
        """The metrics since the last call."""
        found, self._metrics = self._metrics, {}
        return found

    def files(self) -> Files | None:
        """The files by value if their folder is a temporary one; else None, because they are where they belong."""
        return None if self._temporary is None else self._temporary.files()

    def close(self) -> None:
        """Removes a temporary folder."""
        if self._temporary is not None:
            self._temporary.remove()


class _Temporary:
    """A temporary folder, made when it is first asked for."""

    def __init__(self) -> None:
        self._path: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder."""
        if self._path is None:
            self._path = Path(tempfile.mkdtemp(prefix="lockstep-runner-"))
            weakref.finalize(self, shutil.rmtree, self._path, ignore_errors=True)  # at the end of the process too
        return self._path

    def files(self) -> Files:
        """What is in it, without links."""
        found = [] if self._path is None else sorted(self._path.rglob("*"))
        regular = [path for path in found if path.is_file() and not path.is_symlink()]
        return tuple((path.relative_to(self.folder).as_posix(), path.read_bytes()) for path in regular if path.exists())

    def remove(self) -> None:
        """Removes it."""
        if self._path is not None:
            shutil.rmtree(self._path, ignore_errors=True)

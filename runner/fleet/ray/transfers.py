"""Transfers files between the driver's machine and a worker's in pieces, so that no process holds a whole file."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from runner.fleet.ray.calls import Lost
from runner.records import Replay

A = TypeVar("A")
Ask = Callable[..., Any]
"""Calls a method of a worker by name; returns its answer, `Lost`, or None if a stop ended the wait."""
PIECE = 16 * 1024 * 1024  # bytes


class Transfers:
    """The worker's side of transfers: a temporary folder on its machine, which exists while it has files."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    @property
    def folder(self) -> Path:
        """The folder for files that the driver will fetch; made if it does not exist."""
        if self._folder is None or not self._folder.is_dir():
            self._folder = Path(tempfile.mkdtemp(prefix="lsr-worker-"))
        return self._folder

    def give(self, path: Path, offset: int) -> bytes:
        """Reads a piece of the file; removes the file after the last piece, which is shorter than `PIECE`."""
        with path.open("rb") as file:
            file.seek(offset)
            piece = file.read(PIECE)
        if len(piece) < PIECE:
            self.remove(path)
        return piece

    def take(self, name: str, piece: bytes, offset: int) -> Path:
        """Appends a piece to a file of the folder; offset 0 starts a new file."""
        path = self.folder / name
        with path.open("ab" if offset else "wb") as file:
            file.write(piece)
        return path

    def remove(self, path: object) -> None:
        """Removes a file of the folder, and the folder after its last file; ignores paths outside of it."""
        if isinstance(path, Path) and path.parent == self._folder:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # the folder has other files
                path.parent.rmdir()


def fetched(answer: A, ask: Ask, folder: Path | None) -> A | Lost | None:
    """Fetches the files of a worker's answer to this machine.

    Args:
        answer: an `Export`, a `Snapshot`, or the reason why there is none.
        ask: calls a method of the worker.
        folder: destination of the files; None for their content in the answer instead of paths.

    Returns:
        The answer with the files' new paths or content; `Lost` if the worker was lost; None if a stop ended the
        transfer.
    """
    for name in ("weights", "model", "state"):
        if isinstance(path := getattr(answer, name, None), Path):
            content = _fetch(path, ask, folder)
            if content is None or isinstance(content, Lost):
                return content
            answer = replace(answer, **{name: content})  # type: ignore[type-var]
    return answer


def sent(replay: Replay, ask: Ask) -> Replay | Lost | None:
    """Sends the replay's snapshot to the worker's machine; returns the replay with its new path.

    Returns `Lost` if the worker was lost; None if a stop ended the transfer.
    """
    snapshot = replay.snapshot
    if snapshot is None or not isinstance(snapshot.state, Path):
        return replay
    remote = snapshot.state
    with snapshot.state.open("rb") as file:
        while piece := file.read(PIECE):
            answer: Path | Lost | None = ask("take", snapshot.state.name, piece, file.tell() - len(piece))
            if not isinstance(answer, Path):
                return answer
            remote = answer
    return replace(replay, snapshot=replace(snapshot, state=remote))


def _fetch(path: Path, ask: Ask, folder: Path | None) -> bytes | Path | Lost | None:
    target = None if folder is None else folder / path.name
    with io.BytesIO() if target is None else target.open("wb") as file:
        piece = bytes(PIECE)
        while len(piece) == PIECE:
            answer: bytes | Lost | None = ask("give", path, file.tell())
            if not isinstance(answer, bytes):
                return answer
            piece = answer
            file.write(piece)
        return target or file.getvalue()  # type: ignore[union-attr]

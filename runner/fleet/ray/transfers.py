"""Files between the driver's machine and another one, a piece at a time: no process holds a whole one in memory."""

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
"""Calls a method of a worker; its answer, `Lost`, or None where a stop has ended the waiting."""
PIECE = 16 * 1024 * 1024  # bytes


class Transfers:
    """A worker's end: a folder on its machine, which is there as long as it has files in it."""

    def __init__(self) -> None:
        self._folder: Path | None = None

    @property
    def folder(self) -> Path:
        """Where the worker writes what the driver is to fetch."""
        if self._folder is None or not self._folder.is_dir():
            self._folder = Path(tempfile.mkdtemp(prefix="lsr-worker-"))
        return self._folder

    def give(self, path: Path, offset: int) -> bytes:
        """The file's next piece; the file is removed with the last one, which is shorter than `PIECE`."""
        with path.open("rb") as file:
            file.seek(offset)
            piece = file.read(PIECE)
        if len(piece) < PIECE:
            self.remove(path)
        return piece

    def take(self, name: str, piece: bytes, offset: int) -> Path:
        """Adds a piece to a file of the folder; the first one begins it."""
        path = self.folder / name
        with path.open("ab" if offset else "wb") as file:
            file.write(piece)
        return path

    def remove(self, path: object) -> None:
        """Removes one of the folder's files, and the folder with the last of them; other paths stay."""
        if isinstance(path, Path) and path.parent == self._folder:
            path.unlink(missing_ok=True)
            with suppress(OSError):  # it has other files
                path.parent.rmdir()


def fetched(answer: A, ask: Ask, folder: Path | None) -> A | Lost | None:
    """The worker's answer with its files brought to this machine; by value where there is no folder for them.

    Args:
        answer: an `Export`, a `Snapshot`, or why there is none.
        ask: calls a method of the worker.
        folder: where they go.

    Returns:
        None where a stop has ended the transfer.
    """
    for name in ("weights", "model", "state"):
        if isinstance(path := getattr(answer, name, None), Path):
            content = _fetch(path, ask, folder)
            if content is None or isinstance(content, Lost):
                return content
            answer = replace(answer, **{name: content})  # type: ignore[type-var]
    return answer


def sent(replay: Replay, ask: Ask) -> Replay | Lost | None:
    """The replay with its snapshot as a file of the worker's machine; None where a stop has ended the transfer."""
    snapshot = replay.snapshot
    if snapshot is None or not isinstance(snapshot.state, Path):
        return replay
    there = snapshot.state
    with snapshot.state.open("rb") as file:
        while piece := file.read(PIECE):
            answer: Path | Lost | None = ask("take", snapshot.state.name, piece, file.tell() - len(piece))
            if not isinstance(answer, Path):
                return answer
            there = answer
    return replace(replay, snapshot=replace(snapshot, state=there))


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

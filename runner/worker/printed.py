"""Captures what an experiment's code prints in this process."""

from __future__ import annotations

import ctypes
import fcntl
import io
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

from runner.texts.excerpt import LIMIT, beginning_and_end, excerpt

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Source(Protocol):
    """A place at which output is captured."""

    def begin(self) -> None:
        """Begins to capture."""

    def end(self) -> bytes:
        """Ends it; returns what has been printed since `begin`, shortened if it is long."""


class Output:
    """The output of trials that run one after another in this process.

    Args:
        source: where output is captured.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: dict[str, bytes] = {}

    @contextmanager
    def of(self, trial_id: str) -> Iterator[None]:
        """Captures what is printed inside as this trial's."""
        self._source.begin()
        try:
            yield
        finally:
            if printed := self._source.end():
                self._kept[trial_id] = excerpt(self._kept.get(trial_id, b"") + printed)

    def take(self, trial_id: str) -> str:
        """Returns the trial's output since the last call."""
        return self._kept.pop(trial_id, b"").decode(errors="backslashreplace")


class Streams:
    """Python's own streams, in a process that prints other things too, such as a table.

    Replaces `sys.stdout` and `sys.stderr` while it captures. Code that keeps a replacement, such as a logging handler,
    writes to the surrounding stream later. If a debugger runs, the surrounding stream shows everything as well.
    """

    def __init__(self) -> None:
        self._printed = bytearray()
        self._is_capturing = False
        self._own = {name: _Stream(_Raw(self, name)) for name in ("stdout", "stderr")}
        self._outside: dict[str, TextIO] = {}

    def begin(self) -> None:
        """As `Source.begin`."""
        self._outside = {name: getattr(sys, name) for name in self._own}
        for name, stream in self._own.items():
            setattr(sys, name, stream)
        self._is_capturing = True

    def end(self) -> bytes:
        """As `Source.end`."""
        self._is_capturing = False
        for name, stream in self._outside.items():
            setattr(sys, name, stream)
        printed, self._printed = excerpt(bytes(self._printed)), bytearray()
        return printed

    def write(self, name: str, content: bytes) -> None:
        """Captures what is written to one of the two, or passes it on."""
        if self._is_capturing:
            self._printed += content
            if len(self._printed) > 2 * LIMIT:
                self._printed = bytearray(excerpt(bytes(self._printed)))
        if not self._is_capturing or sys.gettrace() is not None:
            with suppress(ValueError):  # the stream is closed
                self.outside(name).write(content.decode(errors="backslashreplace"))

    def outside(self, name: str) -> TextIO:
        """The surrounding stream of that name."""
        stream: TextIO = self._outside[name] if self._is_capturing else getattr(sys, name)
        original: TextIO = getattr(sys, f"__{name}__")
        return original if isinstance(stream, _Stream) else stream


class _Stream(io.TextIOWrapper):
    """One of Python's two streams while output is captured."""

    def __init__(self, raw: _Raw) -> None:
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", write_through=True)  # type: ignore[arg-type]
        self._raw = raw

    @property
    def rich_proxied_file(self) -> TextIO:
        """The stream to which rich writes the program's own tables and lines."""
        outside = self._raw.outside()
        proxied: TextIO = getattr(outside, "rich_proxied_file", outside)
        return proxied

    def fileno(self) -> int:
        """The surrounding stream's, for programs that the code starts; what they print is not captured."""
        return int(self._raw.outside().fileno())


class _Raw(io.RawIOBase):
    def __init__(self, streams: Streams, name: str) -> None:
        super().__init__()
        self._streams, self._name = streams, name

    def writable(self) -> bool:
        return True

    def write(self, content: Buffer) -> int:
        written = bytes(content)
        self._streams.write(self._name, written)
        return len(written)

    def outside(self) -> TextIO:
        return self._streams.outside(self._name)


class Descriptors:
    """Standard output and standard error of a process that prints nothing else, with what C code prints.

    From now on both go to the file of standard error, in their order. The file holds what was printed since the last
    `end`, so that the output of a process that dies is found there.
    """

    def __init__(self) -> None:
        _flush()
        if not stat.S_ISREG(os.fstat(2).st_mode):
            with tempfile.TemporaryFile() as file:
                os.dup2(file.fileno(), 2)
        fcntl.fcntl(
            2, fcntl.F_SETFL, fcntl.fcntl(2, fcntl.F_GETFL) | os.O_APPEND
        )  # otherwise a truncated file gets a hole
        os.dup2(2, 1)
        os.ftruncate(2, 0)

    def begin(self) -> None:
        """As `Source.begin`."""

    def end(self) -> bytes:
        """As `Source.end`, with what threads have printed since the last one."""
        _flush()
        content = beginning_and_end(Path("/proc/self/fd/2"))
        if content:
            os.ftruncate(2, 0)
        return content


def _flush() -> None:
    """Writes what waits in the buffers of Python and of C's library."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):
            stream.flush()
    ctypes.CDLL(None).fflush(None)

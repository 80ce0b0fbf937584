"""What an experiment's code prints in this process: taken from where it goes, and kept until it is asked for."""

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
from typing import Any, Protocol

from runner.texts.excerpt import LIMIT, beginning_and_end, excerpt


class Source(Protocol):
    """Where output goes while it is taken."""

    def begin(self) -> None:
        """Output is taken from now on."""

    def end(self) -> bytes:
        """What has been printed since `begin`, shortened where it is long."""


class Output:
    """The output of trials that run one after another in this process.

    Args:
        source: where it goes.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: dict[str, bytes] = {}

    @contextmanager
    def of(self, trial_id: str) -> Iterator[None]:
        """What is printed inside is this trial's."""
        self._source.begin()
        try:
            yield
        finally:
            if printed := self._source.end():
                self._kept[trial_id] = excerpt(self._kept.get(trial_id, b"") + printed)

    def take(self, trial_id: str) -> str:
        """The trial's output since it was last taken."""
        return self._kept.pop(trial_id, b"").decode(errors="backslashreplace")


class Streams:
    """Python's own streams of a process that prints other things too: its table, say.

    `sys.stdout` and `sys.stderr` are others meanwhile. Whoever has kept one of them, such as a logging handler, writes
    to the surrounding one later on. Where a debugger runs, that one shows everything as well.
    """

    def __init__(self) -> None:
        self._printed = bytearray()
        self._taking = False
        self._own = {name: _Stream(_Raw(self, name)) for name in ("stdout", "stderr")}
        self._outside: dict[str, Any] = {}

    def begin(self) -> None:
        """As `Source.begin`."""
        self._outside = {name: getattr(sys, name) for name in self._own}
        for name, stream in self._own.items():
            setattr(sys, name, stream)
        self._taking = True

    def end(self) -> bytes:
        """As `Source.end`."""
        self._taking = False
        for name, stream in self._outside.items():
            setattr(sys, name, stream)
        printed, self._printed = excerpt(bytes(self._printed)), bytearray()
        return printed

    def write(self, name: str, content: bytes) -> None:
        """Takes what is written to one of the two, or passes it on."""
        if self._taking:
            self._printed += content
            if len(self._printed) > 2 * LIMIT:
                self._printed = bytearray(excerpt(bytes(self._printed)))
        if not self._taking or sys.gettrace() is not None:
            with suppress(ValueError):  # it has been closed
                self.outside(name).write(content.decode(errors="backslashreplace"))

    def outside(self, name: str) -> Any:
        """The surrounding stream of that name."""
        stream = self._outside[name] if self._taking else getattr(sys, name)
        return getattr(sys, f"__{name}__") if isinstance(stream, _Stream) else stream


class _Stream(io.TextIOWrapper):
    """One of Python's two streams while output is taken."""

    def __init__(self, raw: _Raw) -> None:
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", write_through=True)  # type: ignore[arg-type]
        self._raw = raw

    @property
    def rich_proxied_file(self) -> Any:
        """Where rich writes the program's own tables and lines."""
        outside = self._raw.outside()
        return getattr(outside, "rich_proxied_file", outside)

    def fileno(self) -> int:
        """The surrounding stream's, to be given to programs that are started; what they print is not taken."""
        return int(self._raw.outside().fileno())


class _Raw(io.RawIOBase):
    def __init__(self, streams: Streams, name: str) -> None:
        super().__init__()
        self._streams, self._name = streams, name

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._streams.write(self._name, bytes(content))
        return len(content)

    def outside(self) -> Any:
        return self._streams.outside(self._name)


class Descriptors:
    """Standard output and standard error of a process that has nothing else to say: what C code prints is among it.

    Both go to the file of standard error from now on, in their order. It holds what was printed since it was last
    taken: what a process that dies has printed is found there.
    """

    def __init__(self) -> None:
        _flush()
        if not stat.S_ISREG(os.fstat(2).st_mode):
            with tempfile.TemporaryFile() as file:
                os.dup2(file.fileno(), 2)
        fcntl.fcntl(2, fcntl.F_SETFL, fcntl.fcntl(2, fcntl.F_GETFL) | os.O_APPEND)  # or a file that was cut has a hole
        os.dup2(2, 1)
        os.ftruncate(2, 0)

    def begin(self) -> None:
        """As `Source.begin`."""

    def end(self) -> bytes:
        """As `Source.end`; what threads have printed since the last one is among it."""
        _flush()
        content = beginning_and_end(Path("/proc/self/fd/2"))
        if content:
            os.ftruncate(2, 0)
        return content


def _flush() -> None:
    """Nothing that was printed waits in this process, neither in Python nor in C's library."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):
            stream.flush()
    ctypes.CDLL(None).fflush(None)

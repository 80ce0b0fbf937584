"""Standard output and error: their readers may go away, and libraries' own lines may go to a file."""

from __future__ import annotations

import errno
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Self, TextIO

LIBRARIES = "libraries.log"  # in a sweep's folder
_GONE = (errno.EPIPE, errno.EIO)  # a pipe whose reader has ended (`| head`), a terminal that was closed


def survive_lost_readers() -> None:
    """Lets the program survive the loss of the reader of its standard output or error.

    Call it first in a program. A descriptor that is closed then (`>&-`) is opened on /dev/null, so that no file gets
    its number.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = _surviving(sys.stdout, 1)
    sys.stderr = _surviving(sys.stderr, 2)


def silence(descriptor: int) -> None:
    """Redirects a descriptor to /dev/null, for this process and those that it starts."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


class Diverted:
    """While open, what C code writes to standard error goes to a file, and Python's `sys.stderr` stays as it is.

    TensorFlow writes lines of its own there, and it has no setting that silences all of them.
    """

    def __enter__(self) -> Self:
        sys.stderr.flush()
        self._stream, self._file = sys.stderr, tempfile.TemporaryFile()
        self._copy = os.dup(2)
        if not _is_elsewhere(self._stream):
            sys.stderr = _surviving(self._stream, self._copy)
        os.dup2(self._file.fileno(), 2)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.stderr.flush()
        os.dup2(self._copy, 2)
        sys.stderr = self._stream
        os.close(self._copy)
        self._file.close()

    def keep(self, file: Path) -> None:
        """Writes to this file from here on, and copies to it what there was so far."""
        with file.open("ab", buffering=0) as target:
            self._file.seek(0)
            target.write(self._file.read())
            os.dup2(target.fileno(), 2)


def _is_elsewhere(stream: TextIO) -> bool:
    """Whether a stream does not write to the descriptor of standard error."""
    try:
        return stream.fileno() != 2
    except (OSError, ValueError):  # it has no descriptor
        return True


class _Surviving(io.FileIO):
    """The file of a descriptor. When its reader is gone, the descriptor goes to /dev/null, for C libraries too."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as err:
            if err.errno not in _GONE:
                raise
            silence(self.fileno())
            return memoryview(data).nbytes


def _surviving(stream: TextIO | None, descriptor: int) -> TextIO:
    """A stream like the given one."""
    file = _Surviving(descriptor, "wb", closefd=False)
    plain = isinstance(stream, io.TextIOWrapper)
    unbuffered = plain and isinstance(getattr(stream, "buffer", None), io.RawIOBase)
    if stream is not None:
        stream.flush()
    return io.TextIOWrapper(
        file if unbuffered else io.BufferedWriter(file),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="backslashreplace" if descriptor == 2 or stream is None else stream.errors,
        line_buffering=descriptor == 2 or file.isatty(),
        write_through=unbuffered,
    )

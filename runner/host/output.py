"""Keeps the program running when its standard output or error has lost its reader: only that output is lost."""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO

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

"""The output of trials: one file of bounded size for each, beside the journal."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from runner.errors import JournalError
from runner.journal.durable_files import own_file
from runner.texts.excerpt import LIMIT, excerpt

_SLACK = LIMIT // 4  # bytes beyond the limit before a file is shortened, so that not every line shortens it
_LINE = 8192  # bytes of the last line that are masked together with what follows: longer than any secret


def log_name(trial_id: str) -> str:
    """The file of a trial's output, relative to the sweep's folder."""
    return f"logs/{trial_id}.log"


class TrialLogs:
    """Appends to the files of trials; keeps their output in memory until the sweep has a folder.

    Args:
        redact: masks secrets in what the experiments' code has printed.
    """

    def __init__(self, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self._folder: Path | None = None
        self._early: dict[str, str] = defaultdict(str)

    def open(self, folder: Path) -> None:
        """Writes the output so far, now that the sweep has a folder.

        Raises:
            JournalError: a file cannot be written.
        """
        self._folder = folder
        for trial_id, output in self._early.items():
            self.write(trial_id, output)
        self._early.clear()

    def write(self, trial_id: str, output: str) -> str:
        """Adds to a trial's output.

        Returns:
            Its file, relative to the folder; empty if there is no folder yet.

        Raises:
            JournalError: the file is a link, or cannot be written.
        """
        if self._folder is None:
            self._early[trial_id] += output
            return ""
        file = own_file(self._folder, log_name(trial_id))
        try:
            file.parent.mkdir(mode=0o700, exist_ok=True)
            _append(file, output, self._redact)
        except OSError as err:
            raise JournalError(f"{file}: a trial's output cannot be written: {err.strerror}") from err
        return log_name(trial_id)


def _append(file: Path, output: str, redact: Callable[[str], str]) -> None:
    """Adds the output. Masks it together with the file's last line, because two turns may print parts of one secret."""
    with open(os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b") as log:
        begin, line = _last_line(log)
        added = redact(line.decode(errors="backslashreplace") + output).encode(errors="backslashreplace")
        if begin + len(added) > LIMIT + _SLACK:
            log.seek(0)
            begin, added = 0, excerpt(log.read(begin) + added)
        log.seek(begin)
        log.write(added)
        log.truncate()


def _last_line(log: BinaryIO) -> tuple[int, bytes]:
    """The offset and the text after the last newline; of a long line only its end, from a whole character on."""
    end = log.seek(0, os.SEEK_END)
    log.seek(max(0, end - _LINE))
    tail = log.read()
    begin = tail.rfind(b"\n") + 1
    while begin < len(tail) and tail[begin] & 0xC0 == 0x80:
        begin += 1
    return end - len(tail) + begin, tail[begin:]

"""Sends MLflow's own messages to a file."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path

from runner.journal import own_file
from runner.texts.redaction import redact

LOG = "logs/mlflow.log"


@contextmanager
def logging_to(folder: Path) -> Iterator[None]:
    """Writes MLflow's own messages, such as tracebacks of a locked store, to the sweep's folder, not the terminal.

    So too tracebacks of errors of this program in calls to MLflow.

    Raises:
        JournalError: the file is a link.
    """
    file = own_file(folder, LOG)
    file.parent.mkdir(parents=True, exist_ok=True)
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic", "sqlalchemy.engine", "runner.tracking")]
    before = [(logger, logger.handlers, logger.propagate, logger.level) for logger in loggers]
    handler = _OwnFile(file, delay=True, encoding="utf-8")
    handler.setFormatter(_RedactingFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for logger in loggers:
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        handler.close()
        for logger, handlers, propagate, level in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(level)


class _OwnFile(logging.FileHandler):
    """A log file that is not followed if it is replaced by a link."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        return open(os.open(self.baseFilename, flags, 0o600), "a", encoding=self.encoding)


class _RedactingFormatter(logging.Formatter):
    """Masks secrets in messages and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))

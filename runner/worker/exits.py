"""Ends of a worker's process that nobody else can tell: they are written to its standard error before they happen."""

from __future__ import annotations

import os

EXIT = "runner: this process ends by os._exit with exit code "


def tell_exits() -> None:
    """From now on `os._exit` writes a line first: Ray does not say with which code a process has ended.

    Not in processes that are forked from this one, which end by it as a rule.
    """
    end, own = os._exit, os.getpid()

    def told(status: int) -> None:
        if os.getpid() == own:
            os.write(2, f"\n{EXIT}{status}\n".encode())
        end(status)

    os._exit = told  # type: ignore[assignment]

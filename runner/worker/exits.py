"""Reports the exit code of a worker that ends by `os._exit`, which nothing else reports."""

from __future__ import annotations

import os

EXIT = "runner: this process ends by os._exit with exit code "


def report_exits() -> None:
    """Makes `os._exit` write a line to standard error first, because Ray does not report a process' exit code.

    Processes that are forked from this one write none, because they normally end by `os._exit`.
    """
    end, own = os._exit, os.getpid()

    def report_and_end(status: int) -> None:
        if os.getpid() == own:
            os.write(2, f"\n{EXIT}{status}\n".encode())
        end(status)

    os._exit = report_and_end  # type: ignore[assignment]

"""What an experiment's exceptions say, whatever their classes do."""

from __future__ import annotations

import re

from runner.redaction import shortened


def text_of(err: BaseException) -> str:
    """The error's own message."""
    if isinstance(err, SystemExit) and (err.code is None or isinstance(err.code, int)):
        return f"its code asks to end the program with exit code {int(err.code or 0)}"
    try:
        return str(err)
    except Exception as failed:
        return f"its message cannot be made: {type(failed).__name__}"


def in_one_line(err: BaseException) -> str:
    """The error without colours, line breaks and the list of arguments that Keras adds; the traceback has it all.

    Secrets are in it: those to take out are the driver's, which does that in a shortened text as well.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", text_of(err)).split("Arguments received by")[0]
    return f"{type(err).__name__}: {shortened(' '.join(text.split()))}"

"""What an experiment's exceptions say, whatever their classes do."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from runner.records import Source
from runner.texts.redaction import shortened


def text_of(err: BaseException) -> str:
    """The error's own message."""
    if isinstance(err, SystemExit) and (err.code is None or isinstance(err.code, int)):
        return f"its code asks to end the program with exit code {int(err.code or 0)}"
    try:
        return str(err)
    except Exception as failed:
        return f"its message cannot be made: {type(failed).__name__}"


def place_of(err: BaseException, source: Source, root: Path) -> str:
    """File and line of the innermost frame that is the experiment's own, as the user named it; empty for none.

    Of a syntax error the place that it is about.

    Args:
        err: as it was caught.
        source: the experiment's code.
        root: the folder that it ran in on this machine.
    """
    places = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(err.__traceback__)]
    if isinstance(err, SyntaxError) and err.filename:
        places.append((err.filename, err.lineno or 1))
    names = {str(folder / name): name for folder in (root, Path(source.root)) for name, _ in source.files}
    for file, line in reversed(places):
        if name := names.get(file):
            return f"{source.path if name == source.module else Path(source.path).parent / name}:{line}"
    return ""


def in_one_line(err: BaseException) -> str:
    """The error without colours, line breaks and the list of arguments that Keras adds; the traceback has it all.

    Secrets are in it: those to take out are the driver's, which does that in a shortened text as well.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", text_of(err)).split("Arguments received by")[0]
    return f"{type(err).__name__}: {shortened(' '.join(text.split()))}"

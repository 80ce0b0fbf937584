"""Text and place of an experiment's exceptions, whatever their classes do."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from runner.records import Source
from runner.texts.redaction import shortened

_KNOWN = ("<module>", "load_data", "build_model", "callbacks")  # which part of the experiment has failed is said anyway


def text_of(err: BaseException) -> str:
    """The error's own message."""
    if isinstance(err, SystemExit) and (err.code is None or isinstance(err.code, int)):
        return f"its code asks to end the program with exit code {int(err.code or 0)}"
    try:
        return str(err)
    except Exception as failed:
        return f"its message cannot be made: {type(failed).__name__}"


def place_of(err: BaseException, source: Source, root: Path) -> str:
    """File and line of the innermost frame in the experiment's own code, named as by the user; empty if there is none.

    A function that it calls is named too. For a syntax error it is the place of the error.

    Args:
        err: the caught exception.
        source: the experiment's code.
        root: the folder of the code on this machine.
    """
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(err.__traceback__)]
    places = [(code.co_filename, line, code.co_name) for code, line in frames]
    if isinstance(err, SyntaxError) and err.filename:
        places.append((err.filename, err.lineno or 1, "<module>"))
    names = {str(folder / name): name for folder in (root, Path(source.root)) for name, _ in source.files}
    names[str(Path(source.path).absolute())] = source.module
    for file, line, function in reversed(places):
        if name := names.get(file):
            within = "" if function in _KNOWN else f", in {function}"
            return f"{source.path if name == source.module else Path(source.path).parent / name}:{line}{within}"
    return ""


def in_one_line(err: BaseException) -> str:
    """The error without colours, line breaks and the list of arguments that Keras adds; the traceback has them.

    It may contain secrets, which the driver masks later, also in a shortened text.
    """
    text = re.sub(r"\x1b\[[0-9;]*m", "", text_of(err)).split("Arguments received by")[0]
    return f"{type(err).__name__}: {shortened(' '.join(text.split()))}"

"""Long output made short: whole lines of its beginning and its end, and how much is left out between them."""

from __future__ import annotations

import re
from pathlib import Path

from runner.texts.redaction import CUT

LIMIT = 1024 * 1024
# It begins as a text that `redaction.shortened` has cut, so that half a secret before it is taken out too.
_NOTE = CUT + " [{} bytes left out] …\n"
_NOTES = re.compile(re.escape(_NOTE).replace(r"\{\}", r"(\d+)").encode())
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def excerpt(content: bytes, limit: int = LIMIT) -> bytes:
    """The content where it has at most `limit` bytes; else its beginning and its end, about `limit` bytes together.

    Counts all that was ever left out of one that has been made short before, and has grown since.
    """
    if len(content) <= limit:
        return content
    begin, end = _end_of_head(content, limit // 2), _begin_of_tail(content, len(content) - limit // 2)
    middle = content[begin:end]
    notes = list(_NOTES.finditer(middle))
    left_out = len(middle) + sum(int(note[1]) - len(note[0]) for note in notes)
    return content[:begin] + _note(left_out) + content[end:]


def beginning_and_end(file: Path, limit: int = LIMIT) -> bytes:
    """The `excerpt` of a file, of which it reads no more than that."""
    size = file.stat().st_size
    if size == 0:
        return b""
    with file.open("rb") as opened:
        content = opened.read(2 * limit)
        if size > 2 * limit:
            opened.seek(max(2 * limit, size - limit))
            content += _note(opened.tell() - 2 * limit) + opened.read(limit)
    return excerpt(content, limit)


def last_lines(text: str, count: int) -> list[str]:
    """The last lines that say something, as a terminal would show them: of a line that was written over the last state.

    Colours are left out.
    """
    text = _COLOURS.sub("", text)
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return [line for line in lines if line][-count:]


def _note(left_out: int) -> bytes:
    return _NOTE.format(left_out).encode()


def _end_of_head(content: bytes, at_most: int) -> int:
    first = _NOTES.search(content)
    if first is not None and first.start() <= at_most:
        return first.start()
    return content.rfind(b"\n", 0, at_most) + 1 or at_most


def _begin_of_tail(content: bytes, at_least: int) -> int:
    """Leaves out a line that is cut, because the end of a secret cannot be recognised."""
    return content.find(b"\n", at_least) + 1 or len(content)

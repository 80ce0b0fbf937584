"""Excerpts of long output: whole lines from its beginning and its end, with a note of how much is omitted."""

from __future__ import annotations

import re
from pathlib import Path

from runner.texts.redaction import CUT

LIMIT = 1024 * 1024  # bytes
# Begins like a text that `redaction.shortened` cut, so that `redact` also removes half a secret before the note.
_NOTE = CUT + " [{} bytes left out] …\n"
_NOTES = re.compile(re.escape(_NOTE).replace(r"\{\}", r"(\d+)").encode())
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def excerpt(content: bytes, limit: int = LIMIT) -> bytes:
    """Content of at most `limit` bytes as it is; else its beginning and end, about `limit` bytes together.

    If the content is an excerpt that has grown since, the note counts the bytes that earlier excerpts omitted too.
    """
    if len(content) <= limit:
        return content
    begin, end = _end_of_head(content, limit // 2), _begin_of_tail(content, len(content) - limit // 2)
    middle = content[begin:end]
    notes = list(_NOTES.finditer(middle))
    omitted = len(middle) + sum(int(note[1]) - len(note[0]) for note in notes)
    return content[:begin] + _note(omitted) + content[end:]


def beginning_and_end(file: Path, limit: int = LIMIT) -> bytes:
    """The `excerpt` of a file; reads at most `3 * limit` bytes of it."""
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
    """The last lines that are not blank, as a terminal shows them: a line that was overwritten in its last state.

    Removes colours.
    """
    text = _COLOURS.sub("", text)
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return [line for line in lines if line][-count:]


def _note(omitted: int) -> bytes:
    return _NOTE.format(omitted).encode()


def _end_of_head(content: bytes, latest: int) -> int:
    first = _NOTES.search(content)
    if first is not None and first.start() <= latest:
        return first.start()
    return content.rfind(b"\n", 0, latest) + 1 or latest


def _begin_of_tail(content: bytes, earliest: int) -> int:
    """Start of the first whole line, because the end of a secret in a cut line cannot be recognised."""
    return content.find(b"\n", earliest) + 1 or len(content)

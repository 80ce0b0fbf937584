"""Texts from outside, in forms that a store, a file or a terminal takes: valid Unicode without NUL.

File names and messages may hold lone surrogates, by which Python stands for bytes that it cannot decode, and NUL, which
PostgreSQL refuses.
"""

from __future__ import annotations

import re

_CODES = {"\0": "\\x00"}  # beside surrogates: `\ud800` to `\udfff`
_STRANGE = re.compile("[\0\ud800-\udfff]")
_TO_ESCAPE = re.compile(r"(?P<before>\\*)(?:(?P<strange>[\0\ud800-\udfff])|(?=x00|ud[89a-f][0-9a-f]{2}))")
_ESCAPED = re.compile(r"(?P<before>\\+)(?P<code>x00|ud[89a-f][0-9a-f]{2})")


def storable(text: str) -> str:
    r"""The text with `\x00` for NUL and `\udce9` for a lone surrogate; `original` gives it back exactly.

    Backslashes before such a character, and before what looks like its code, are doubled. All others stay.
    """
    return _TO_ESCAPE.sub(lambda found: found["before"] * 2 + shown(found["strange"] or ""), text)


def original(text: str) -> str:
    """The text that `storable` was given."""
    return _ESCAPED.sub(_unescape, text)


def shown(text: str) -> str:
    """The text with the same codes, for those who only read it: nothing else changes, nor anything the second time."""
    return _STRANGE.sub(lambda found: _CODES.get(found[0]) or f"\\u{ord(found[0]):04x}", text)


def _unescape(found: re.Match[str]) -> str:
    pairs, odd = divmod(len(found["before"]), 2)
    return "\\" * pairs + (chr(int(found["code"][1:], 16)) if odd else found["code"])

"""Escapes foreign text for stores, files and terminals: valid Unicode without NUL.

File names and messages may have lone surrogates, which Python decodes undecodable bytes to, and NUL, which PostgreSQL
refuses.
"""

from __future__ import annotations

import re

_CODES = {"\0": "\\x00"}  # surrogates are `\ud800` to `\udfff`
_STRANGE = re.compile("[\0\ud800-\udfff]")
_TO_ESCAPE = re.compile(r"(?P<before>\\*)(?:(?P<strange>[\0\ud800-\udfff])|(?=x00|ud[89a-f][0-9a-f]{2}))")
_ESCAPED = re.compile(r"(?P<before>\\+)(?P<code>x00|ud[89a-f][0-9a-f]{2})")


def storable(text: str) -> str:
    r"""The text with `\x00` for NUL and codes such as `\udce9` for lone surrogates; `original` reverses it exactly.

    Doubles backslashes before such a character and before what looks like its code, and no others.
    """
    return _TO_ESCAPE.sub(lambda found: found["before"] * 2 + shown(found["strange"] or ""), text)


def original(text: str) -> str:
    """The text that `storable` escaped."""
    return _ESCAPED.sub(_unescape, text)


def shown(text: str) -> str:
    """The text with the same codes, only for display: changes nothing else, and is idempotent."""
    return _STRANGE.sub(lambda found: _CODES.get(found[0]) or f"\\u{ord(found[0]):04x}", text)


def _unescape(found: re.Match[str]) -> str:
    pairs, odd = divmod(len(found["before"]), 2)
    return "\\" * pairs + (chr(int(found["code"][1:], 16)) if odd else found["code"])

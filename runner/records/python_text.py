"""Python files as text and back: in the encoding that a file declares, by a cookie or a byte-order mark."""

from __future__ import annotations

import io
import tokenize
from pathlib import Path


def decode_python(content: bytes) -> str:
    """A Python file's text, without byte-order mark and with line feeds at the ends of lines.

    Raises:
        SyntaxError: the encoding is unknown, or cookie and mark disagree.
        UnicodeDecodeError: the file is not in its encoding.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    return content.decode(encoding).replace("\r\n", "\n")


def encode_python(text: str) -> bytes:
    """The text in the encoding that its cookie declares, so that Python reads it as it was; else in UTF-8."""
    plain = text.encode()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(plain).readline)
        return text.encode(encoding)
    except (SyntaxError, UnicodeEncodeError, LookupError):
        return plain


def has_python_text(path: Path, text: str) -> bool:
    """Whether a file can be read and has this text, whatever its encoding."""
    try:
        return decode_python(path.read_bytes()) == text
    except (OSError, SyntaxError, UnicodeDecodeError, LookupError):
        return False

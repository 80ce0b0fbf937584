"""Decodes and encodes Python files by the encoding that they declare, with a cookie or a byte-order mark."""

from __future__ import annotations

import io
import tokenize
from pathlib import Path


def decode_python(content: bytes) -> str:
    """A Python file's text, without its byte-order mark and with line feeds as line ends.

    Raises:
        SyntaxError: the encoding is unknown, or the cookie contradicts the byte-order mark.
        UnicodeDecodeError: the file is not in the encoding that it declares.
    """
    encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
    return content.decode(encoding).replace("\r\n", "\n")


def encode_python(text: str) -> bytes:
    """The text in the encoding that its cookie declares; in UTF-8 if that is impossible."""
    plain = text.encode()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(plain).readline)
        return text.encode(encoding)
    except (SyntaxError, UnicodeEncodeError, LookupError):
        return plain


def has_python_text(path: Path, text: str) -> bool:
    """Whether a file can be read and has this text, in any encoding."""
    try:
        return decode_python(path.read_bytes()) == text
    except (OSError, SyntaxError, UnicodeDecodeError, LookupError):
        return False

"""Long output is made short without half a line, half a secret, or a wrong count of what is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from runner.texts.excerpt import beginning_and_end, excerpt, last_lines
from runner.texts.redaction import redact

NOTE = re.compile(rb" \xe2\x80\xa6 \[(\d+) bytes left out\] \xe2\x80\xa6\n")
LINES = [f"line {number:05}\n".encode() for number in range(10_000)]


def left_out(content: bytes) -> int:
    return sum(map(int, NOTE.findall(content)))


def test_what_is_short_stays() -> None:
    assert excerpt(b"a\nb", 3) == b"a\nb"


def test_beginning_and_end_are_whole_lines_and_the_rest_is_counted() -> None:
    short = excerpt(b"".join(LINES), 1000)
    assert len(short) < 1100
    kept = NOTE.sub(b"", short)
    assert kept.splitlines(keepends=True) == [*LINES[:45], *LINES[-45:]]
    assert left_out(short) + len(kept) == len(b"".join(LINES))


@pytest.mark.parametrize("piece", [1, 7, 100, 3000])
def test_what_grows_is_counted_whole(piece: int) -> None:
    short = b""
    for start in range(0, 9000, piece):
        short = excerpt(short + b"".join(LINES[start : start + piece]), 2000)
    everything = b"".join(LINES[: -(-9000 // piece) * piece])
    assert len(short) < 2100
    assert left_out(short) + len(NOTE.sub(b"", short)) == len(everything)
    assert everything.startswith(short[:500])
    assert everything.endswith(short[-500:])


def test_a_secret_at_a_cut_is_taken_out(tmp_path: Path) -> None:
    secret = "s3cr3t-value-0123456789"
    short = excerpt((secret * 100).encode(), 1000).decode(errors="replace")
    assert secret[:4] not in redact(short, [secret])


def test_of_a_file_no_more_is_read_than_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "output"
    for count in (0, 10, 150, 10_000):
        content = b"".join(LINES[:count])
        file.write_bytes(content)
        short = beginning_and_end(file, 1000)
        assert left_out(short) + len(NOTE.sub(b"", short)) == len(content)
        assert len(short) < 1100


def test_last_lines_are_as_a_terminal_shows_them() -> None:
    assert last_lines("a\n1/3\r2/3\r3/3\n\n  \nb\r\n", 2) == ["3/3", "b"]
    assert last_lines("", 2) == []

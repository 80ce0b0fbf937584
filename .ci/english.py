#!/usr/bin/env python3
"""Reports phrases that read as if translated, with what to write instead: python .ci/english.py [PATH ...]."""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

RULES = [
    (r"\b(is|are|was|were|be|been|being) told\b|\btold of\b|\btells? of\b", "warns, reports, says"),
    (r"\banew\b|\bafresh\b", "again; new"),
    (r"\bfor want of\b|\bwant of\b", "because it lacks; for lack of"),
    (r"\bhung(er|ers|ry)\b", "short of memory; out of memory"),
    (r"\bsomebody\b|\banybody\b|\bnobody\b", "name who: the user, a process"),
    (r"\bso (many|much|large|long a)\b(?! (as|that))", "this many; `count`"),
    (r"\bas it was\b", "unchanged; as before"),
    (r"\bwhoever\b|\bwhosoever\b", "name who"),
    (r"\bof one's own accord\b|\bby its own\b", "itself"),
    (r"\bin good order\b", "cleanly"),
    (r"\bfor good\b", "permanently"),
    (r"\bNone where\b|\bTrue where\b|\bFalse where\b|\bempty where\b", "if"),
    (
        r"(?<![,;:] )\bWhere (?!(time|trials|a sweep's time|snapshots|models|workers|to|it goes|files|data)\b)",
        "If, When",
    ),
    (r", where (that|there|it|one|none|the|a|an) ", "if, when (or a full stop and a new sentence)"),
]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a file that people read: all of a page; comments, docstrings and texts of Python."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING) or tokenize.tok_name[token.type].startswith("FSTRING"):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def main(paths: list[str]) -> int:
    """Prints what was found; returns 1 if there is any."""
    roots = [
        Path(path)
        for path in paths or ["runner", "docs", "README.md", "CONTRIBUTING.md", "Makefile", "conf", "experiments"]
    ]
    files = [file for root in roots for file in (sorted(root.rglob("*")) if root.is_dir() else [root])]
    found = 0
    for file in (file for file in files if file.suffix in (".py", ".md", ".yaml", "") and file.is_file()):
        for number, line in prose(file):
            for pattern, instead in RULES:
                if match := re.search(pattern, line):
                    print(f"{file}:{number}: {match[0]!r}; write: {instead}")
                    found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

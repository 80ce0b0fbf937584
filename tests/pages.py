"""Reads the project's pages: their tables, their code, and the files that readers are asked to write."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
_NAMED = re.compile(r"(?:# @package _global_\n)?# (\S+\.(?:py|yaml))\n")


def page(name: str) -> str:
    """The text of a page, by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def prose(text: str) -> str:
    """A page without its code."""
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)


def blocks(text: str, language: str) -> list[str]:
    """A page's code in a language, block by block."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in found]


def rows(text: str, columns: int) -> Iterator[list[str]]:
    """The cells of all tables with this number of columns."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(" | ")]
        if line.startswith("| ") and len(cells) == columns:
            yield [cells[0].removeprefix("| ").strip(), *cells[1:-1], cells[-1].removesuffix("|").strip()]


def write_files(folder: Path) -> None:
    """Writes the files that pages show: the README's `my_model.py`, and each block that begins with its name."""
    found = {"my_model.py": blocks(page("README.md"), "python")[0]}
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        named = [(_NAMED.match(block), block) for language in ("python", "yaml") for block in blocks(text, language)]
        found |= {match[1]: block for match, block in named if match}
    for name, block in found.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(block, encoding="utf-8")

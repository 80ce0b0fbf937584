"""An experiment's code by value: its file, and the files beside it that it imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from runner.errors import ConfigError, did_you_mean
from runner.experiment.signature import parse_python
from runner.records import Source, decode_python

MAX_FILES = 200
MAX_BYTES = 4 * 1024 * 1024


def read_source(path: str) -> Source:
    """Reads an experiment file and, by their import statements, the Python files of its folder that it needs.

    Raises:
        ConfigError: a file is missing or is not Python, or there are too many of them.
    """
    file = Path(path)
    if not path.endswith(".py"):
        raise ConfigError(f"{path}: not a Python file; an experiment is a file that ends in .py")
    if not file.is_file():
        beside = [str(found) for found in sorted(file.parent.glob("*.py"))[:MAX_FILES]]
        hint = did_you_mean(str(file), beside) if file.parent.is_dir() else "; the folder does not exist either"
        raise ConfigError(f"{path}: no such file{hint}")
    return with_neighbours(path, _read(file, path), file.absolute().parent)


def with_neighbours(path: str, text: str, root: Path) -> Source:
    """An experiment's text, with the Python files of a folder that it needs by its import statements.

    Args:
        path: the experiment file's, whether it exists or not.
        text: its content.
        root: the folder.

    Raises:
        ConfigError: a file is not Python, or there are too many of them.
    """
    file = Path(path)
    texts: dict[str, str] = {}
    waiting = [file.name]
    size = 0
    while waiting:
        name = waiting.pop(0)
        if name in texts:
            continue
        shown = path if name == file.name else str(file.parent / name)
        texts[name] = text if name == file.name else _read(root / name, shown)
        size += len(texts[name])
        if len(texts) > MAX_FILES or size > MAX_BYTES:
            raise ConfigError(f"{path}: imports more than {MAX_FILES} files or {MAX_BYTES} bytes from its own folder")
        waiting += _imported(parse_python(texts[name], shown), root, name)
    first = (file.name, texts.pop(file.name))
    return Source(path=path, root=str(root), files=(first, *sorted(texts.items())))


def _read(file: Path, shown: str) -> str:
    """Reads Python text in the encoding that it declares."""
    try:
        return decode_python(file.read_bytes())
    except OSError as err:
        raise ConfigError(f"{shown}: cannot be read: {err.strerror}") from err
    except (SyntaxError, UnicodeDecodeError, LookupError) as err:
        raise ConfigError(f"{shown}:1: not Python text: {err}") from err


def _imported(tree: ast.Module, root: Path, name: str) -> Iterator[str]:
    package = Path(name).parent.parts
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files(root, tuple(alias.name.split(".")))
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = (*base, *(node.module.split(".") if node.module else ()))
            yield from _files(root, module)
            for alias in node.names:
                yield from _files(root, (*module, alias.name))


def _files(root: Path, module: tuple[str, ...]) -> Iterator[str]:
    """The files that importing a module runs: every package on the way, then the module."""
    for length in range(1, len(module) + 1):
        part = Path(*module[:length])
        for candidate in (part / "__init__.py", part.with_name(part.name + ".py")):
            if (root / candidate).is_file():
                yield candidate.as_posix()

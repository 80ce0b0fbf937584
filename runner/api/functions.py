"""Functions of a notebook or a script as an experiment: a module with what they name, kept beside the sweeps."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from runner.driver.record import COLLECTED, write_code
from runner.errors import ConfigError
from runner.experiment.collect import collect
from runner.experiment.source import with_neighbours
from runner.records import Source, has_python_text

Function = Callable[..., object]
_NEEDED = ("load_data", "build_model")


def source_of(functions: Mapping[str, Function | None], *, with_file: bool, root: Path) -> Source | None:
    """Collects an experiment's functions into a module in a folder of all sweeps, and reads it as an experiment's file.

    The folder is named by the code, so that the same functions give the same file.

    Args:
        functions: as the caller gives them, None for what is not given; the first two are needed.
        with_file: the caller names an experiment's file too.
        root: the folder of all sweeps.

    Returns:
        The code; None if no function is given.

    Raises:
        ConfigError: a function is missing, an experiment's file is given too, or something cannot be carried.
    """
    given = {name: function for name, function in functions.items() if function is not None}
    if not given:
        return None
    if with_file:
        raise ConfigError(f"argument: an experiment's file and functions ({', '.join(given)}) are given; give one")
    if missing := [name for name in _NEEDED if name not in given]:
        raise ConfigError(f"argument: {', '.join(given)} is given without {missing[0]}; give both functions")
    collected = collect(given)
    source = with_neighbours(collected.name, collected.text, collected.root)
    folder = root / COLLECTED / source.digest[:16]
    _write(folder, source)
    return replace(source, path=_shown(folder / source.module))


def _write(folder: Path, source: Source) -> None:
    """Writes a module and those beside it, all or nothing, because another sweep may write the same."""
    if all(has_python_text(folder / name, text) for name, text in source.files):
        with suppress(OSError):  # not this user's: then `clean` of this user cannot remove it either
            os.utime(folder)  # `clean` lets it stay as one that was used lately
        return
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=folder.parent))
    except OSError as err:
        raise ConfigError(f"{folder}: no folder can be made for the functions' code: {err.strerror}") from err
    try:
        write_code(made, source)
        if folder.exists():  # someone has changed it
            shutil.rmtree(folder)
        made.rename(folder)
    except OSError as err:
        if not all(has_python_text(folder / name, text) for name, text in source.files):
            raise ConfigError(f"{folder}: the functions' code cannot be written: {err.strerror}") from err
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _shown(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative

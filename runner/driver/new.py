"""Writes an experiment file to begin with."""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from importlib import resources
from pathlib import Path

from runner.errors import ConfigError

_COMMENTED = re.compile(r"^(python -m runner .*?) +# ", re.MULTILINE)
_TEMPLATE, _ITS_NAME = "new_experiment.py.txt", "my_model.py"
_FOLDER = "experiments"
_LIBRARIES = frozenset({"keras", "mlflow", "numpy", "ray", "runner", "sklearn", "tensorflow"})


def new_experiment(name: str) -> Path:
    """Writes a commented experiment that trains as it is.

    Args:
        name: of the experiment, whose file is put into `experiments/` if the current folder has that; or the path of a
            file that ends in `.py`.

    Returns:
        The file.

    Raises:
        ConfigError: the name does not do, the file exists, or it cannot be written.
    """
    file = _file(name)
    _check(name, file)
    text = resources.files("runner.driver").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(_with_name(text, shlex.quote(str(file))))
    except FileExistsError:
        raise ConfigError(f"{file}: exists; give another name") from None
    except OSError as err:
        raise ConfigError(f"{file}: cannot be written: {err.strerror}") from err
    return file


def _with_name(text: str, name: str) -> str:
    """The template for a file of that name, with the comments of its commands under each other."""
    text = text.replace(_ITS_NAME, name)
    commands = [found[1] for found in _COMMENTED.finditer(text)]
    return _COMMENTED.sub(lambda found: f"{found[1]:<{max(map(len, commands))}}   # ", text)


def _file(name: str) -> Path:
    if name.endswith(".py"):
        return Path(name)
    folder = Path(_FOLDER) if Path(_FOLDER).is_dir() and "/" not in name else Path()
    return folder / f"{name}.py"


def _check(name: str, file: Path) -> None:
    """Refuses a name that no command could use, or that hides a module which the experiment needs."""
    if not file.stem.isidentifier() or keyword.iskeyword(file.stem):
        raise ConfigError(f"{name!r}: not a name for a Python file; allowed are letters, digits and _, as in my_model")
    if file.stem in sys.stdlib_module_names or file.stem in _LIBRARIES:
        raise ConfigError(f"{name!r}: {file.stem} is a module of Python or a library; give another name")
    if not file.parent.is_dir():
        raise ConfigError(f"{file}: no such folder: {file.parent}; create it, or give the path of another one")

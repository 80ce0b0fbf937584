"""What callbacks record of their own: metrics, files and figures of the trial in whose training they take part.

Outside of a sweep nothing is recorded, so that the same callbacks run under plain `fit`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

_FORMATS = frozenset({".png", ".svg", ".pdf", ".jpg", ".jpeg", ".webp", ".eps", ".ps", ".tif", ".tiff", ".html"})


class Recorder(Protocol):
    """Takes what the callbacks of one trial record.

    Attributes:
        folder: the trial's own, which exists.
    """

    @property
    def folder(self) -> Path:
        """The trial's own folder, which exists."""

    def log_metric(self, name: str, value: float) -> None:
        """Takes a value of the present epoch."""


class _Present:
    """The recorder of the trial whose callbacks run; None outside of them.

    One for the process and not for each thread, because Keras may call callbacks in threads of its own.
    """

    recorder: Recorder | None = None


@contextmanager
def recording(recorder: Recorder) -> Iterator[None]:
    """Lets this recorder take what is recorded inside."""
    before, _Present.recorder = _Present.recorder, recorder
    try:
        yield
    finally:
        _Present.recorder = before


def log_metric(name: str, value: float) -> None:
    """Records a metric of the present epoch, as if it stood in Keras' `logs`; of several values the last one counts.

    A value that is logged at the beginning of training belongs to the first epoch, and one that is logged at its end to
    the finished model. Does nothing outside of a sweep's callbacks.

    Args:
        name: of the metric, such as "val_f1"; it can rank trials (`search.metric`).
        value: a number.

    Raises:
        TypeError: the name is no text, or the value no number.
    """
    if not isinstance(name, str) or not name:
        raise TypeError(f"log_metric: the name must be a text; got {name!r}")
    try:
        number = float(value)
    except (TypeError, ValueError) as err:
        raise TypeError(f"log_metric: the value of {name!r} must be a number; got {value!r}") from err
    if _Present.recorder is not None:
        _Present.recorder.log_metric(name, number)


def log_artifact(path: str | os.PathLike[str], name: str | None = None) -> None:
    """Copies a file or a folder to the files of the trial, which MLflow gets when it ends.

    Does nothing outside of a sweep's callbacks.

    Args:
        path: what is copied.
        name: relative path among the trial's files; None for the file's own name. An equal one is replaced.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the name leads out of the trial's folder.
    """
    source = Path(path)
    if not source.exists():
        raise FileNotFoundError(f"log_artifact: no such file: {source}")
    if _Present.recorder is None:
        return
    target = _place(_Present.recorder.folder, name or source.resolve().name, "log_artifact")
    if source.resolve() == target.resolve():
        return
    if source.is_dir() and target.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"log_artifact: {source} has the trial's own folder in it; name what is to be copied")
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)


def log_figure(name: str, figure: object) -> None:
    """Writes a figure to the files of the trial, which MLflow gets when it ends.

    Does nothing outside of a sweep's callbacks.

    Args:
        name: relative path among the trial's files, such as "confusion/epoch_3.png"; without a suffix it gets `.png`,
            or `.html` for plotly. An equal one is replaced.
        figure: of matplotlib, or of plotly, which is written as a page that needs no network.

    Raises:
        TypeError: it is no such figure.
        ValueError: the name leads out of the trial's folder.
    """
    is_plotly = hasattr(figure, "write_html")
    if not is_plotly and not hasattr(figure, "savefig"):
        raise TypeError(f"log_figure: {name!r} must be a figure of matplotlib or plotly; got {type(figure).__name__}")
    if _Present.recorder is None:
        return
    has_format = PurePosixPath(name).suffix.lower() in _FORMATS  # "lr0.001" has none
    named = name if has_format else name + (".html" if is_plotly else ".png")
    target = _place(_Present.recorder.folder, named, "log_figure")
    if not is_plotly:
        figure.savefig(target)  # type: ignore[attr-defined]
    elif target.suffix == ".html":
        figure.write_html(target, include_plotlyjs=True)  # type: ignore[attr-defined]
    else:
        figure.write_image(target)  # type: ignore[attr-defined]


def trial_folder() -> Path:
    """The folder for the files of the trial whose callbacks run; MLflow gets what is in it when the trial ends.

    It is empty when training begins, also if a trial is repeated from its beginning because its worker was lost.
    Outside of a sweep's callbacks it is the current folder.
    """
    return Path.cwd() if _Present.recorder is None else _Present.recorder.folder


def _place(folder: Path, name: str, function: str) -> Path:
    """The path of this name within the folder; makes the folder that the file is in."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise ValueError(f"{function}: the name must be a relative path without `..`; got {name!r}")
    target = folder / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    return target

"""Finds recorded sweeps, running or ended."""

from __future__ import annotations

import os
from pathlib import Path

from runner.api.result import Result
from runner.review.catalog import SWEEPS, Review, find_sweep, list_sweeps, sweep_folders
from runner.review.summaries import sweep_summary


def load(sweep: str = "latest", *, root: str | os.PathLike[str] = SWEEPS) -> Result:
    """A recorded sweep, running or ended.

    Args:
        sweep: its id, an unambiguous beginning of it, or "latest".
        root: the folder of all sweeps.

    Raises:
        SweepNotFoundError: there is no such sweep.

    Example:
        >>> runner.load("latest").status
        'complete'
    """
    return Result(find_sweep(sweep, Path(root)))


def sweeps(*, root: str | os.PathLike[str] = SWEEPS) -> list[Result]:
    """All sweeps of a folder, newest first.

    Args:
        root: the folder of all sweeps.

    Example:
        >>> runner.sweeps()[0].id == runner.load("latest").id
        True
    """
    return [Result(folder) for folder in sweep_folders(Path(root))]


def summaries(*, root: str | os.PathLike[str] = SWEEPS) -> list[dict[str, object]]:
    """All sweeps of a folder that can be read as plain data, newest first, as `python -m runner list --json`."""
    return [sweep_summary(review) for review in reviews(root=root)]


def reviews(*, root: str | os.PathLike[str] = SWEEPS) -> list[Review]:
    """All sweeps of a folder that can be read, newest first, each with its trials as they are now."""
    return list_sweeps(Path(root))

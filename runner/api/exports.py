"""A trial's model outside of its sweep, and files of a sweep that are no longer needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runner.errors import ConfigError
from runner.journal import TrialRecord
from runner.review.catalog import Review


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """A trial's model in a folder of its own.

    Args:
        folder: where it is.
        files: what was written there.
        how_to_load: the Python that gives the model.
        warning: names code that the model was built with and the folder lacks; None if there is none.
    """

    folder: Path
    files: tuple[Path, ...]
    how_to_load: str
    warning: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaned:
    """Files that were removed, or would be.

    Args:
        sweep: the sweep's id.
        removed: what, and how large.
        repeated: trials that `resume` trains from the beginning, because their snapshots are gone.
        dry_run: nothing was removed.
    """

    sweep: str
    removed: tuple[tuple[str, int, int], ...]
    repeated: int
    dry_run: bool

    @property
    def freed_bytes(self) -> int:
        """Disk space that is freed; MLflow's copies of models may be the same files, which stay."""
        return sum(size - shared for _, size, shared in self.removed)

    def lines(self) -> Iterator[str]:
        """The result for a person."""
        from runner.driver.clean import mib

        for what, size, shared in self.removed:
            note = f", of which MLflow has {mib(shared)} as the same files" if shared else ""
            yield f"{what}: {mib(size)}{note}"
        if self.repeated:
            will = "would train" if self.dry_run else "will train"
            trials = f"{self.repeated} trial{'s' * (self.repeated > 1)}"
            yield f"`resume` {will} {trials} from the beginning, with the same results"
        yield f"{self.sweep}: {'would free' if self.dry_run else 'freed'} {mib(self.freed_bytes)}"


def export(review: Review, trial: TrialRecord, folder: Path) -> Exported:
    """Writes a trial's model into a new folder, for plain Keras.

    Raises:
        SweepNotFoundError: the trial has no model.
        ConfigError: the folder cannot be written, or is not empty.
    """
    from runner.review.export import code_outside, export_model, how_to_load

    try:
        files = export_model(review, trial, folder)
    except OSError as err:
        where = "" if err.filename in (None, str(folder)) else f"{err.filename}: "
        raise ConfigError(f"{folder}: {where}{err.strerror or err}") from err
    return Exported(folder=folder, files=tuple(files), how_to_load=how_to_load(folder), warning=code_outside(trial))


def clean(folder: Path, models: int | None, files: int | None, dry_run: bool) -> Cleaned:
    """Removes an ended sweep's snapshots, what an interrupted one has left, and models of all but the best trials.

    Args:
        folder: the sweep's.
        models: number of best trials of each member that keep their models; None for all.
        files: number of best trials of each member that keep what their callbacks have written; None for all.
        dry_run: removes nothing.

    Raises:
        SweepBusyError: the sweep is running.
        StorageError: a file cannot be removed.
    """
    from runner.driver import clean as cleaning

    repeated = cleaning.replayed(folder)
    removed = cleaning.clean(folder, models, dry_run, files)
    sizes = tuple((each.what, each.size_bytes, each.shared_bytes) for each in removed)
    return Cleaned(sweep=folder.name, removed=sizes, repeated=repeated, dry_run=dry_run)

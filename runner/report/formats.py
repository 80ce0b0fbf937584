"""A sweep's results for other programs: CSV, Parquet, and a study for Optuna."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from runner.errors import ConfigError
from runner.report.data import read_sweep
from runner.report.study import add_to_study
from runner.review.catalog import open_review
from runner.review.tables import Table, history_table, trial_table
from runner.search.optuna_space import quiet

_MOST = 2**63 - 1  # of whole numbers


def write_results(sweep: Path, kind: str, folder: Path) -> list[Path]:
    """Writes a sweep's results into a folder, which is made if it is not there; returns the files.

    Args:
        sweep: the sweep's folder.
        kind: `csv` or `parquet`: `trials` with one row for each trial and `epochs` with one for each epoch; `optuna`:
            `optuna.db` with one study for each member, which optuna-dashboard opens.
        folder: where they go.

    Raises:
        ConfigError: there is no such format, a file is there already, or cannot be written.
        SweepNotFoundError: there is no such sweep.
    """
    if kind not in _WRITERS:
        raise ConfigError(f"format {kind!r}: there is none of this name; there are {', '.join(_WRITERS)}")
    names = ["optuna.db"] if kind == "optuna" else [f"trials.{kind}", f"epochs.{kind}"]
    files = [folder / name for name in names]
    for file in files:
        if file.exists():
            raise ConfigError(f"{file}: is there already; remove it, or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _WRITERS[kind](sweep, files)
    except OSError as err:
        raise ConfigError(f"{folder}: cannot be written: {err.strerror or err}") from err
    return files


def _tables(sweep: Path) -> list[Table]:
    review = open_review(sweep)
    return [trial_table(review), history_table(sweep, [trial.id for trial in review.trials])]


def _write_csv(sweep: Path, files: Sequence[Path]) -> None:
    for file, table in zip(files, _tables(sweep), strict=True):
        with file.open("w", encoding="utf-8", newline="") as out:
            csv.writer(out).writerows([table.header, *table.rows])


def _write_parquet(sweep: Path, files: Sequence[Path]) -> None:
    import pandas

    for file, table in zip(files, _tables(sweep), strict=True):
        columns = {name: [row[place] for row in table.rows] for place, name in enumerate(table.header)}
        pandas.DataFrame({name: _of_one_type(values) for name, values in columns.items()}).to_parquet(file, index=False)


def _of_one_type(values: Sequence[object]) -> list[object]:
    """A column as Parquet has it: numbers, truth values or texts; mixed values and larger numbers become texts."""
    known = [value for value in values if value is not None]
    if any(isinstance(value, int) and abs(value) > _MOST for value in known):
        return [None if value is None else str(value) for value in values]
    for kinds in ((bool,), (int,), (int, float), (str,)):
        if all(isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)) for value in known):
            return list(values)
    return [None if value is None else str(value) for value in values]


def _write_study(sweep: Path, files: Sequence[Path]) -> None:
    import optuna

    data = read_sweep(sweep)
    with quiet():
        storage = optuna.storages.RDBStorage(f"sqlite:///{files[0].absolute()}")
        for member in data.members:
            name = data.review.sweep.id if len(data.members) == 1 else f"{data.review.sweep.id} {member}"
            direction = "maximize" if data.maximizes else "minimize"
            study = optuna.create_study(storage=storage, study_name=name, direction=direction)
            study.set_metric_names([data.metric])
            add_to_study(data, member, study)
        storage.engine.dispose()


_WRITERS: Mapping[str, Callable[[Path, Sequence[Path]], None]] = {
    "csv": _write_csv,
    "parquet": _write_parquet,
    "optuna": _write_study,
}
FORMATS = tuple(_WRITERS)

"""Journals of benchmark runs."""

from __future__ import annotations

from pathlib import Path

from runner.config import config_to_yaml
from runner.driver.prepare import Prepared
from runner.journal import JournalReader, SqliteJournal, SweepRecord


def open_journal(prepared: Prepared, folder: Path, tracking_uri: str = "sqlite:///mlflow.db") -> SqliteJournal:
    """Creates the journal of a sweep in an existing folder; the caller enters it."""
    journal = SqliteJournal(folder, {slot.index: slot.allocation for slot in prepared.slots})
    record = SweepRecord(
        id=folder.name,
        name=prepared.config.name,
        created_ms=0,
        metric="loss",
        goal="minimize",
        config=config_to_yaml(prepared.config),
        command="make bench",
        tracking_uri=tracking_uri,
        mlflow_experiment="bench",
        versions={},
    )
    with journal:
        journal.create(record, prepared.trials)
    return journal


def epoch_losses(reader: JournalReader) -> list[list[float]]:
    """Returns each trial's training loss after every epoch."""
    rows = reader.metrics()
    return [[row.value for row in rows if row.trial == trial.id and row.key == "loss"] for trial in reader.trials()]

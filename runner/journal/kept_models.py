"""Which models of ended trials are kept: all, none, or those of the best trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from runner.journal import JournalReader, SqliteJournal, TrialRecord, beyond
from runner.records import Allocation, Decision, Export, Failure, Incident, Report, Trial, Verdict, Work

Models = Literal["all", "none"] | int
"""`keep.models` of the config."""


class KeptModels:
    """A journal that also removes the models that are not to be kept. An `interfaces.Journal`.

    It removes a model only after the journal has the better ones. So a driver that dies in between leaves one model too
    many and never one too few, and the next driver removes it.

    Args:
        journal: open, with the sweep in it.
        folder: the sweep's.
        models: which models are kept; a number n keeps the n best of each member.
    """

    def __init__(self, journal: SqliteJournal, folder: Path, models: Models) -> None:
        self._journal, self._folder, self._models = journal, folder, models
        self._kept: dict[str, TrialRecord] = {}
        with JournalReader(folder) as reader:
            self._sweep = reader.sweep()
            if models != "all":
                self._kept = {trial.id: trial for trial in reader.trials() if trial.weights is not None}
        self._remove_surplus()

    def assign(self, work: Mapping[int, tuple[Work, ...]]) -> None:
        """As `Journal.assign`."""
        self._journal.assign(work)

    def commit(
        self,
        reports: Mapping[str, Report | Failure],
        verdicts: Mapping[str, Verdict],
        exports: Mapping[str, Export | Failure],
        added: Sequence[Trial] = (),
        decisions: Sequence[Decision] = (),
    ) -> None:
        """As `Journal.commit`; then removes models."""
        if self._models == "none":
            exports = {trial_id: _without_model(export) for trial_id, export in exports.items()}
        self._journal.commit(reports, verdicts, exports, added, decisions)
        if isinstance(self._models, int) and exports:
            with JournalReader(self._folder) as reader:
                ended = [reader.trial(trial_id) for trial_id in exports]
            self._kept |= {trial.id: trial for trial in ended if trial.weights is not None}
            self._remove_surplus()

    def add(self, trials: Sequence[Trial], decisions: Sequence[Decision]) -> None:
        """As `Journal.add`."""
        self._journal.add(trials, decisions)

    def note(self, incident: Incident) -> None:
        """As `Journal.note`."""
        self._journal.note(incident)

    def resize(self, slot: int, allocation: Allocation) -> None:
        """As `Journal.resize`."""
        self._journal.resize(slot, allocation)

    def _remove_surplus(self) -> None:
        most = 0 if self._models == "none" else self._models
        if most != "all":
            surplus = [trial.id for trial in beyond(most, self._kept.values(), self._sweep)]
            self._journal.drop_models(surplus)
            for trial_id in surplus:
                del self._kept[trial_id]


def _without_model(export: Export | Failure) -> Export | Failure:
    """The export with its metrics alone; removes its files."""
    if isinstance(export, Failure):
        return export
    for content in (export.model, export.weights):
        if isinstance(content, Path):
            with suppress(OSError):  # the folder is emptied later
                content.unlink()
    return replace(export, model=b"", weights=b"")

"""Reviewing sweeps from their journals, without MLflow: find, rank, export."""

from __future__ import annotations

import contextlib
import json
import math
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.errors import JournalError, SweepNotFoundError
from runner.journal import FILE, JournalReader, SweepRecord, TrialRecord, epoch_key, own_file, ranked
from runner.records import encode_python
from runner.review.rebuild import rebuild_script
from runner.review.timeline import Overheads, summarize, timeline

SWEEPS = Path("sweeps")


@dataclass(frozen=True, kw_only=True, slots=True)
class Review:
    """A sweep with its trials, best first; those of each member of a mixed sweep together.

    Args:
        trials: of each member those with a score, best first, then the others in order.
    """

    folder: Path
    sweep: SweepRecord
    trials: tuple[TrialRecord, ...]

    @property
    def leaders(self) -> tuple[TrialRecord, ...]:
        """As `best`; of members without such a trial the best one that has not ended well."""
        with_score = [trial for trial in self.trials if trial.score(self.sweep.metric) is not None]
        return self._first_of_members(sorted(with_score, key=lambda trial: not trial.ended_well))

    @property
    def best(self) -> tuple[TrialRecord, ...]:
        """Each member's best trial that has ended well; values of members, whose data differ, do not compare."""
        ended = (trial for trial in self.trials if trial.ended_well)
        return self._first_of_members(trial for trial in ended if trial.score(self.sweep.metric) is not None)

    @staticmethod
    def _first_of_members(ranked: Iterable[TrialRecord]) -> tuple[TrialRecord, ...]:
        found: dict[str, TrialRecord] = {}
        for trial in ranked:
            found.setdefault(trial.member, trial)
        return tuple(found.values())

    def chosen(self, trial_id: str | None) -> tuple[TrialRecord, ...]:
        """The named trial, or the best.

        Raises:
            SweepNotFoundError: there is no such trial.
        """
        trials = self.best if trial_id is None else tuple(trial for trial in self.trials if trial.id == trial_id)
        if not trials and trial_id is not None:
            known = ", ".join(trial.id for trial in self.trials[:10])
            raise SweepNotFoundError(f"{self.sweep.id} has no trial {trial_id!r}; best first it has {known}")
        if not trials:
            raise SweepNotFoundError(f"{self.sweep.id}: no trial has a value of {self.sweep.metric} and has ended")
        return trials


def open_review(folder: Path) -> Review:
    """Reads a sweep's journal and ranks its trials.

    Raises:
        SweepNotFoundError: there is no journal in the folder.
    """
    with JournalReader(folder) as reader:
        sweep, trials = reader.sweep(), reader.trials()
    members = list(dict.fromkeys(trial.member for trial in trials))
    together = sorted(ranked(trials, sweep), key=lambda trial: members.index(trial.member))
    return Review(folder=folder, sweep=sweep, trials=tuple(together))


def find_sweep(name: str, root: Path = SWEEPS) -> Path:
    """The folder of a sweep by its id, by an unambiguous beginning of it, or "latest".

    Raises:
        SweepNotFoundError: none or several fit, with those there are.
    """
    folders = sweep_folders(root)
    fitting = folders[:1] if name == "latest" else [folder for folder in folders if folder.name.startswith(name)]
    exact = [folder for folder in fitting if folder.name == name]
    if len(exact or fitting) == 1:
        return (exact or fitting)[0]
    known = (
        ", ".join(folder.name for folder in (fitting or folders)[:5]) or "none yet; `python -m runner sweep` makes one"
    )
    problem = "is ambiguous" if fitting else "not found"
    raise SweepNotFoundError(f"sweep {name!r} {problem} in {root}/; there: {known}")


def sweep_folders(root: Path = SWEEPS) -> list[Path]:
    """The folders of all sweeps, newest first."""
    if not root.is_dir():
        return []
    folders = [path for path in root.iterdir() if (path / FILE).is_file()]
    return sorted(folders, key=lambda path: (path / FILE).stat().st_ctime, reverse=True)


def list_sweeps(root: Path = SWEEPS) -> list[Review]:
    """All sweeps, newest first."""
    reviews = []
    for folder in sweep_folders(root):
        # It is just being made, or its making was interrupted, or another version's: `results` names it.
        with contextlib.suppress(SweepNotFoundError, JournalError):
            reviews.append(open_review(folder))
    return sorted(reviews, key=lambda review: review.sweep.created_ms, reverse=True)


def overheads_of(folder: Path) -> Overheads | None:
    """Where the sweep's time went; None for one without a turn."""
    with JournalReader(folder) as reader:
        return summarize(reader.sweep().created_ms / 1000, reader.turns(), reader.barriers())


def write_timeline(folder: Path) -> Path:
    """Writes the sweep's timeline for chrome://tracing or Perfetto; returns the file."""
    with JournalReader(folder) as reader:
        trace = timeline(reader.turns(), reader.barriers())
    return _write(folder / "timeline.json", json.dumps(trace))


def export_model(review: Review, trial: TrialRecord, target: Path) -> list[Path]:
    """Writes a trial's model for use without this program.

    `model.keras` where plain Keras can load it; weights, source and a script that rebuilds the model in every case.

    Raises:
        SweepNotFoundError: the trial has no model.
        FileExistsError: the target holds something already.
        JournalError: a file of the model is a link.
    """
    if trial.weights is None:
        kept = ", ".join(other.id for other in review.trials if other.weights is not None) or "no trial"
        gone = f"it was not kept (keep.models, or `clean`); models are there of {kept}"
        reason = gone if trial.ended_well else f"it is {trial.status}"
        raise SweepNotFoundError(f"trial {trial.id} of {review.sweep.id} has no model: {reason}")
    if target.exists() and any(target.iterdir()):
        raise FileExistsError(f"{target}: not empty; name a new folder")
    target.mkdir(parents=True, exist_ok=True)
    written = [_copy(own_file(review.folder, trial.weights), target / "weights.npz")]
    if trial.model is not None and trial.facts is not None and trial.facts.loadable:
        written.append(_copy(own_file(review.folder, trial.model), target / "model.keras"))
    for name, text in trial.trial.source.files:
        path = target / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_python(text))
        written.append(path)
    batch = trial.facts.batch if trial.facts is not None else ""
    written.append(_write(target / "rebuild.py", rebuild_script(trial.trial, batch)))
    written.append(_write(target / "trial.json", json.dumps(summary(review.sweep, trial), indent=2) + "\n"))
    return written


def in_one_line(sweep: SweepRecord, trial: TrialRecord) -> str:
    """A trial with its value and its searched settings."""
    value = trial.score(sweep.metric)
    settings = " ".join(f"{name}={trial.settings[name]}" for name in trial.trial.searched)
    shown = f"{sweep.metric} {value:.6g}" if value is not None else trial.status
    return f"{sweep.id} trial {trial.id}: {shown} {settings}".rstrip()


def what_is_missing(trial: TrialRecord) -> Iterator[str]:
    """Code that the trial's model was built with and that no export holds."""
    if trial.facts is not None and trial.facts.outside:
        outside = ", ".join(trial.facts.outside)
        yield (
            f"not in source/, since it lies outside the experiment's folder: {outside}; keep a copy of it "
            "as it was when the sweep ran"
        )


def how_to_load(target: Path) -> str:
    """The Python that gives the exported model."""
    if (target / "model.keras").exists():
        return f"load it in plain Keras:  keras.models.load_model({str(target / 'model.keras')!r})"
    return f"it has code of its own; rebuild it with:  python {target / 'rebuild.py'}"


def table(review: Review) -> tuple[list[str], list[list[object]]]:
    """Header and rows for a person: rank, trial, status, the metric, other epoch metrics, searched settings."""
    names = _metric_names(review.sweep, review.trials)
    searched = list(dict.fromkeys(name for trial in review.trials for name in trial.trial.searched))
    members = len({trial.member for trial in review.trials}) > 1
    header = ["rank", "trial", *(["member"] if members else []), "status", *names, *searched, "reason"]
    rows: list[list[object]] = []
    for place, trial in zip(_ranks(review), review.trials, strict=True):
        identity = [place, trial.id, *([trial.member] if members else []), trial.status]
        values = [trial.metrics.get(name) for name in names]
        rows.append([*identity, *values, *(trial.settings.get(name) for name in searched), trial.reason])
    return header, rows


def full_table(review: Review) -> tuple[list[str], list[list[object]]]:
    """Header and rows with all that is known of each trial, for other programs; every column has a name of its own."""
    names = _metric_names(review.sweep, review.trials)
    settings = list(dict.fromkeys(name for trial in review.trials for name in trial.used_settings if name != "seed"))
    own = ["rank", "trial", "member", "status", "score", "best_epoch", "epochs", "seed"]
    taken = {*own, *names, "reason"}
    header = [*own, *names, *(f"params.{name}" if name in taken else name for name in settings), "reason"]
    rows: list[list[object]] = []
    for place, trial in zip(_ranks(review), review.trials, strict=True):
        identity = [place, trial.id, trial.member, trial.status, trial.score(review.sweep.metric)]
        trained = [trial.kept_epoch, trial.epochs, trial.trial.seed]
        values = [trial.metrics.get(name) for name in names]
        used = trial.used_settings
        rows.append([*identity, *trained, *values, *(used.get(name) for name in settings), trial.reason])
    return header, rows


def _ranks(review: Review) -> list[int | None]:
    """Each trial's place among its member's; None for one without a score."""
    counts: Counter[str] = Counter()
    ranks: list[int | None] = []
    for trial in review.trials:
        counts[trial.member] += 1
        ranks.append(counts[trial.member] if trial.score(review.sweep.metric) is not None else None)
    return ranks


def as_json(review: Review) -> dict[str, object]:
    """The review as plain data."""
    sweep = review.sweep
    trials = [summary(sweep, trial) for trial in review.trials]
    facts = {"id": sweep.id, "name": sweep.name, "status": sweep.status, "metric": sweep.metric, "goal": sweep.goal}
    return {**facts, "created_ms": sweep.created_ms, "ended_ms": sweep.ended_ms, "trials": trials}


def _metric_names(sweep: SweepRecord, trials: Sequence[TrialRecord]) -> list[str]:
    names = dict.fromkeys(name for trial in trials for name in sorted(trial.metrics))
    first = epoch_key(sweep.metric)
    return [first, *(name for name in names if name != first)]


def summary(sweep: SweepRecord, trial: TrialRecord) -> dict[str, object]:
    """One trial as plain data."""
    return {
        "sweep": sweep.id,
        "trial": trial.id,
        "member": trial.member,
        "status": trial.status,
        "reason": trial.reason,
        "metric": sweep.metric,
        "score": trial.score(sweep.metric),
        "metrics": {name: value if math.isfinite(value) else str(value) for name, value in trial.metrics.items()},
        "settings": trial.used_settings,
        "best_epoch": trial.kept_epoch,
        "epochs": trial.epochs,
        "seed": trial.trial.seed,
        "mlflow_run_id": trial.run_id,
    }


def _copy(source: Path, target: Path) -> Path:
    shutil.copyfile(source, target)
    return target


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path

"""What a sweep has found out, as its journal and MLflow have it, and how two of the kind differ."""

from __future__ import annotations

import hashlib
import math
import re
import sqlite3
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from runner.journal import JournalReader

Row = tuple[str, str, int]  # trial, key, step
# Tags whose values may differ from run to run, and those that tell of a fault.
_VOLATILE = re.compile(r"time\..*|share\..*|sweep\.id|model\.uri|best\.run_id|mlflow\..*")
_OF_FAULTS = {"failures"}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that must be the same, whatever happened in between.

    Args:
        journal: values of the journal's rows, as bits.
        mlflow: of each row all values that MLflow has; the sweep's own run is trial "".
        ends: of each trial the journal's status, reason and best epoch, and its turns; `""` is the sweep.
        runs: of each trial the status and the tags of its runs in MLflow, without what may differ.
        weights: of each ended trial a hash of its final weights.
        damaged: databases that sqlite finds damaged.
        own: of the sweep's own metrics, which differ from run to run, those that MLflow lacks, has twice, or with
            another value than the journal.
    """

    journal: dict[Row, bytes]
    mlflow: dict[Row, list[bytes]]
    ends: dict[str, tuple[object, ...]]
    runs: dict[str, list[tuple[str, tuple[tuple[str, str], ...]]]]
    weights: dict[str, str]
    damaged: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    @property
    def trials(self) -> set[str]:
        return set(self.ends) - {""}

    def of_trial(self, trial: str) -> tuple[object, ...]:
        """All of one trial."""
        journal = {row: value for row, value in self.journal.items() if row[0] == trial}
        mlflow = {row: values for row, values in self.mlflow.items() if row[0] == trial}
        return journal, mlflow, self.ends.get(trial), self.runs.get(trial), self.weights.get(trial)

    def with_trial(self, trial: str, other: Outcome) -> Outcome:
        """The same, one trial of it taken from another outcome."""
        return replace(
            self,
            journal={r: v for r, v in self.journal.items() if r[0] != trial}
            | {r: v for r, v in other.journal.items() if r[0] == trial},
            mlflow={r: v for r, v in self.mlflow.items() if r[0] != trial}
            | {r: v for r, v in other.mlflow.items() if r[0] == trial},
            ends=self.ends | {trial: other.ends[trial]},
            runs=self.runs | {trial: other.runs[trial]},
            weights={t: w for t, w in self.weights.items() if t != trial}
            | {t: w for t, w in other.weights.items() if t == trial},
        )


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a try has come to.

    Args:
        lost: rows that the undisturbed sweep has and the journal or MLflow lacks.
        doubled: rows that are there more than once, or that nobody has computed.
        siblings: trials that differ though the fault was not theirs.
        differences: everything that differs, in words; none where the sweep went on exactly.
    """

    lost: int
    doubled: int
    siblings: tuple[str, ...]
    differences: tuple[str, ...]


def read_outcome(sweep: Path, store: Path) -> Outcome:
    """What is there now; nothing may be writing any more."""
    with JournalReader(sweep) as reader:
        rows, trials, turns, record = reader.metrics(), reader.trials(), reader.turns(), reader.sweep()
        own = {("", row.key, row.step): [_bits(row.value)] for row in reader.sweep_metrics()}
    turns_of = {t.id: tuple(sorted((x.round, x.step, x.epoch) for x in turns if x.trial == t.id)) for t in trials}
    ends: dict[str, tuple[object, ...]] = {t.id: (t.status, t.reason, t.best_epoch, turns_of[t.id]) for t in trials}
    files = {trial.id: sweep / (trial.weights or "-") for trial in trials}
    mlflow, runs = _read_store(store, record.id)
    sent = {row: values for row, values in mlflow.items() if not row[0]}
    return Outcome(
        journal={(row.trial, row.key, row.step): _bits(row.value) for row in rows},
        # How a sweep stands at a barrier differs with the barriers, so that of its own rows only doubled ones matter.
        mlflow={row: values for row, values in mlflow.items() if row[0] or len(values) > 1},
        ends={**ends, "": (record.status,)},
        runs=runs,
        weights={t: hashlib.sha256(file.read_bytes()).hexdigest() for t, file in files.items() if file.is_file()},
        damaged=tuple(str(file) for file in (sweep / "journal.db", store) if not _is_whole(file)),
        own=tuple(f"{key} at {step}" for _, key, step in sorted(own.keys() | sent.keys(), key=str)
                  if own.get(("", key, step)) != sent.get(("", key, step))),
    )  # fmt: skip


def compare(wanted: Outcome, got: Outcome, victims: Collection[str]) -> Finding:
    """How a disturbed sweep differs from an undisturbed one; the fault was these trials' own."""
    in_mlflow = {row: len(values) for row, values in got.mlflow.items()}
    # MLflow does not get running metrics of whole epochs.
    lost = sum((row not in got.journal) + (row in wanted.mlflow and row not in in_mlflow) for row in wanted.journal)
    doubled = sum(count - 1 for count in in_mlflow.values()) + len(got.journal.keys() - wanted.journal.keys())
    changed = [trial for trial in sorted(wanted.trials) if wanted.of_trial(trial) != got.of_trial(trial)]
    siblings = tuple(trial for trial in changed if trial not in victims)
    return Finding(lost=lost, doubled=doubled, siblings=siblings, differences=tuple(_differences(wanted, got)))


def _differences(wanted: Outcome, got: Outcome) -> Iterator[str]:
    yield from (f"{file} is damaged" for file in got.damaged)
    yield from (f"{row} of the sweep differs between the journal and MLflow" for row in got.own)
    for name in ("journal", "mlflow", "ends", "runs", "weights"):
        before, after = getattr(wanted, name), getattr(got, name)
        for key in sorted(before.keys() | after.keys(), key=str):
            if before.get(key) != after.get(key):
                yield f"{name} {key}: {_shown(after.get(key))}, undisturbed {_shown(before.get(key))}"


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) < 300 else text[:300] + " …"


def _read_store(
    store: Path, sweep_id: str
) -> tuple[dict[Row, list[bytes]], dict[str, list[tuple[str, tuple[tuple[str, str], ...]]]]]:
    with closing(sqlite3.connect(store)) as db:
        tags: dict[str, dict[str, str]] = {}
        for run, key, value in db.execute("SELECT run_uuid, key, value FROM tags"):
            tags.setdefault(run, {})[key] = value
        ours = {run: found for run, found in tags.items() if found.get("sweep.id") == sweep_id}
        rows: dict[Row, list[bytes]] = {}
        for run, key, step, value, is_nan in db.execute("SELECT run_uuid, key, step, value, is_nan FROM metrics"):
            if run in ours:
                row = (ours[run].get("trial.id", ""), key, step)
                rows.setdefault(row, []).append(_bits(math.nan if is_nan else value))
        params = Counter(run for (run,) in db.execute("SELECT run_uuid FROM params"))
        models = Counter(run for (run,) in db.execute("SELECT source_run_id FROM logged_models"))
        runs: dict[str, list[tuple[str, tuple[tuple[str, str], ...]]]] = {}
        for run, status in db.execute("SELECT run_uuid, status FROM runs"):
            if run in ours:
                shown = (*_stable(ours[run]), ("params", str(params[run])), ("models", str(models[run])))
                runs.setdefault(ours[run].get("trial.id", ""), []).append((status, shown))
    return rows, runs


def _stable(tags: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The tags that must be there, and of those that may not differ the values."""
    kept = {key: "…" if _VOLATILE.fullmatch(key) else value for key, value in tags.items() if key not in _OF_FAULTS}
    return tuple(sorted(kept.items()))


def _is_whole(file: Path) -> bool:
    with closing(sqlite3.connect(file)) as db:
        return db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _bits(value: float) -> bytes:
    """The value's bits, of which NaN has some too."""
    return struct.pack("<d", value)

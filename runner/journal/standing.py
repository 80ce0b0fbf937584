"""How a sweep stands at a barrier, as metrics of the sweep itself: the best score, and how many trials are where."""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from runner.journal.tables import BEST_PREFIX, TRIALS_PREFIX, epoch_key
from runner.records import DIVERGED

_STATES = ("queued", "running", "complete", "stopped", "diverged", "failed")
_EVERY_S = 1.0
_TRIAL = """
SELECT id, member, status, reason, best_epoch,
    coalesce((SELECT epoch FROM turn WHERE turn.trial = trial.id ORDER BY round DESC LIMIT 1), 0) AS epochs FROM trial
"""


@dataclass(frozen=True, slots=True)
class _Place:
    """The place of one trial; `score` is as `TrialRecord.score` reads it, `peak` its best value until now."""

    member: str
    epochs: int
    state: str
    score: float | None
    peak: float | None


class Standing:
    """Follows the trials of a sweep in memory, because a count at each barrier would read all their records again."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._metric, self._maximizes = "", False
        self._told: dict[str, float] = {}
        self._told_s = -math.inf

    def metrics(self, db: sqlite3.Connection, changed: Iterable[str], now_s: float) -> dict[str, float]:
        """The metrics of the sweep now; empty if they have not changed within a second, as rounds may last less.

        Args:
            db: the journal, in the transaction of the barrier.
            changed: the trials that may have changed since the last call; the first call reads all.
            now_s: the time.
        """
        found = self._now(db, changed)
        if found == self._told and now_s - self._told_s < _EVERY_S:
            return {}
        self._told, self._told_s = found, now_s
        return found

    def _now(self, db: sqlite3.Connection, changed: Iterable[str]) -> dict[str, float]:
        if not self._places:
            self._metric, goal = db.execute("SELECT metric, goal FROM sweep").fetchone()
            self._maximizes = goal == "maximize"
            rows = db.execute(_TRIAL).fetchall()
        else:
            rows = [db.execute(f"{_TRIAL} WHERE id = ?", (trial_id,)).fetchone() for trial_id in set(changed)]
        for row in rows:
            peak = self._peak(db, row["id"], self._places.get(row["id"]))
            self._places[row["id"]] = _Place(row["member"], row["epochs"], _state(row), self._score(db, row), peak)
        counts = Counter(place.state for place in self._places.values())
        return {f"{TRIALS_PREFIX}{state}": float(counts[state]) for state in _STATES} | self._best()

    def _best(self) -> dict[str, float]:
        """The best score of each member now, and the best value so far; those of different members do not compare."""
        best = max if self._maximizes else min
        members = dict.fromkeys(place.member for place in self._places.values())
        found: dict[str, float] = {}
        for member in members:
            places = [place for place in self._places.values() if place.member == member]
            of_member = f"/{member}" if len(members) > 1 else ""
            scores = [place.score for place in places if place.score is not None]
            peaks = [place.peak for place in places if place.peak is not None]
            found |= {f"{BEST_PREFIX}score{of_member}": best(scores)} if scores else {}
            found |= {f"{BEST_PREFIX}so_far{of_member}": best(peaks)} if peaks else {}
        return found

    def _peak(self, db: sqlite3.Connection, trial_id: str, known: _Place | None) -> float | None:
        """Reads only the epochs since the last call: a barrier must not cost more after thousands of epochs."""
        best = "max" if self._maximizes else "min"
        query = f"SELECT {best}(value) FROM metric WHERE trial = ? AND key = ? AND step > ? AND abs(value) < 9e999"
        after, peak = (0, None) if known is None else (known.epochs, known.peak)
        (value,) = db.execute(query, (trial_id, epoch_key(self._metric), after)).fetchone()
        found: list[float] = [one for one in (value, peak) if one is not None]
        return (max if self._maximizes else min)(found, default=None)

    def _score(self, db: sqlite3.Connection, row: sqlite3.Row) -> float | None:
        diverged = _state(row) == "diverged"
        epoch = row["best_epoch"] or row["epochs"]
        if row["status"] == "failed" or (diverged and row["best_epoch"] is None) or not epoch:
            return None
        # If not every epoch validates, a running trial has its latest value, and an ended one that of its model alone.
        compared = "=" if row["status"] in ("complete", "stopped") else "<="
        found = db.execute(
            f"SELECT value FROM metric WHERE trial = ? AND key = ? AND step {compared} ? ORDER BY step DESC LIMIT 1",
            (row["id"], epoch_key(self._metric), epoch),
        ).fetchone()
        value = None if found is None else found["value"]
        return value if value is not None and math.isfinite(value) else None


def _state(row: sqlite3.Row) -> str:
    is_diverged = row["status"] == "stopped" and row["reason"].startswith(DIVERGED)
    return "diverged" if is_diverged else str(row["status"])

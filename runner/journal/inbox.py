"""What users ask of a sweep from other processes. The driver obeys at a barrier, and its journal says what it obeyed.

Other processes write here and never to the journal, which has one writer. A request is removed once the journal has the
decisions that obey it; a driver that died in between finds its number in them and does not obey it twice.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from runner.journal.database import connect
from runner.journal.durable_files import own_file

FILE = "inbox.db"
RequestKind = Literal["stop", "pause", "continue", "add", "clone", "tag"]
_SCHEMA = """CREATE TABLE IF NOT EXISTS request (
    number INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, trial TEXT, arguments TEXT NOT NULL,
    asked_s REAL NOT NULL
)"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """One request.

    Args:
        kind: `stop` a trial or the sweep; `pause` or `continue` a trial; `add` trials; `clone` a trial; `tag` a trial
            or the sweep.
        trial_id: the trial that it is about; None for the sweep, and empty for tags of the sweep.
        arguments: for `add` the member, and either its new `max_trials` or the `point` of a setting; for `clone` the
            changed values as `point`, and the `epoch` whose state it is, None for the newest; for `tag` the tags.
        number: in the order in which they were made; 0 before it is.
    """

    kind: RequestKind
    trial_id: str | None = None
    arguments: Mapping[str, object] = field(default_factory=dict)
    number: int = 0


def ask(folder: Path, requests: Iterable[Request]) -> None:
    """Adds requests to a sweep's inbox, all or none.

    Raises:
        JournalError: the inbox is a link.
    """
    with closing(_open(folder)) as inbox:
        inbox.execute("BEGIN IMMEDIATE")
        inbox.executemany(
            "INSERT INTO request (kind, trial, arguments, asked_s) VALUES (?, ?, ?, ?)",
            [(one.kind, one.trial_id, json.dumps(dict(one.arguments)), time.time()) for one in requests],
        )
        inbox.execute("COMMIT")


def asked(folder: Path) -> tuple[Request, ...]:
    """The requests that wait, in order; none if there are none yet."""
    if not own_file(folder, FILE).exists():
        return ()
    with closing(_open(folder)) as inbox:
        rows = inbox.execute("SELECT number, kind, trial, arguments FROM request ORDER BY number").fetchall()
    return tuple(
        Request(number=row["number"], kind=row["kind"], trial_id=row["trial"], arguments=json.loads(row["arguments"]))
        for row in rows
    )


def remove(folder: Path, numbers: Iterable[int]) -> None:
    """Removes requests that were obeyed, or that cannot be."""
    with closing(_open(folder)) as inbox:
        inbox.executemany("DELETE FROM request WHERE number = ?", [(number,) for number in numbers])


def _open(folder: Path) -> sqlite3.Connection:
    inbox = connect(folder / FILE)
    inbox.execute(_SCHEMA)
    return inbox

"""Tags of the user's own on a sweep and its trials: recorded in the journal, and sent to MLflow from there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from runner.errors import ConfigError, TrackingError
from runner.journal import SqliteJournal, inbox, is_locked, locked
from runner.journal.inbox import Request
from runner.records import tag_problem
from runner.review.catalog import open_review
from runner.texts.redaction import secret_shape


def tag(folder: Path, tags: Mapping[str, object], trial_id: str | None) -> str:
    """Tags a trial, or a sweep with all its trials; a tag of the same name is replaced.

    Args:
        folder: the sweep's.
        tags: texts or numbers by name.
        trial_id: the trial; None for the sweep.

    Returns:
        What was done, in words.

    Raises:
        SweepNotFoundError: there is no such trial.
        ConfigError: a name is no name of a tag, or this program's own, or a value looks like a secret.
    """
    texts = {str(key): str(value) for key, value in tags.items()}
    problems = list(filter(None, (tag_problem(key, value) for key, value in texts.items())))
    problems += [
        f"{key!r}: its value looks like {shape}; tags are recorded and shown"
        for key, value in texts.items()
        if (shape := secret_shape(f"{key}={value}")) is not None
    ]
    if problems or not texts:
        raise ConfigError(problems or "no tag is given")
    review = open_review(folder)
    tagged = "" if trial_id is None else review.chosen(trial_id)[0].id
    whom = f"{review.sweep.id}{f' trial {tagged}' if tagged else ''}"
    shown = ", ".join(f"{key}={value}" for key, value in texts.items())
    if is_locked(folder):
        inbox.ask(folder, [Request(kind="tag", trial_id=tagged, arguments=texts)])
        return f"{whom}: {shown}: the sweep runs, and records it at its next barrier"
    with locked(folder), SqliteJournal(folder, {}) as journal:
        journal.tag(tagged, texts)
    return f"{whom}: {shown}: {_sent(folder, review.sweep.id)}"


def _sent(folder: Path, sweep_id: str) -> str:
    """Sends what MLflow lacks, the tags among it; says what came of that."""
    from runner.api.machine import sync

    try:
        return f"in {sync(folder, None, lambda _: None)}"
    except TrackingError as err:
        return f"in the journal; MLflow lacks it ({err}), and `python -m runner sync {sweep_id}` sends it"

"""Exports a trial's model for use without this program."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from runner.errors import SweepNotFoundError
from runner.journal import TrialRecord, own_file
from runner.records import encode_python
from runner.review.catalog import Review
from runner.review.rebuild import rebuild_script
from runner.review.summaries import trial_summary


def export_model(review: Review, trial: TrialRecord, target: Path) -> list[Path]:
    """Writes a trial's model into a new folder.

    `model.keras` if plain Keras can load it; in every case the weights, the source, and a script that rebuilds the
    model from them.

    Returns:
        The files.

    Raises:
        SweepNotFoundError: the trial has no model.
        FileExistsError: the target is not empty.
        JournalError: a file of the model is a link.
    """
    if trial.weights is None:
        raise SweepNotFoundError(f"trial {trial.id} of {review.sweep.id} has no model: {_why_not(review, trial)}")
    if target.exists() and any(target.iterdir()):
        raise FileExistsError("the folder is not empty; name a new one")
    target.mkdir(parents=True, exist_ok=True)
    written = [_copy(own_file(review.folder, trial.weights), target / "weights.npz")]
    facts = trial.facts
    if trial.model is not None and facts is not None and facts.loadable:
        written.append(_copy(own_file(review.folder, trial.model), target / "model.keras"))
    for name, text in trial.trial.source.files:
        path = target / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_python(text))
        written.append(path)
    script = rebuild_script(trial.trial, facts.batch if facts is not None else "")
    written.append(_write(target / "rebuild.py", script))
    written.append(_write(target / "trial.json", json.dumps(trial_summary(review.sweep, trial), indent=2) + "\n"))
    return written


def code_outside(trial: TrialRecord) -> str | None:
    """A warning about code that the model was built with and that no export holds; None if there is none."""
    if trial.facts is None or not trial.facts.outside:
        return None
    files = ", ".join(trial.facts.outside)
    return (
        f"source/ lacks {files}, because the experiment imports it from outside its own folder; keep a copy of the "
        "version that the sweep used"
    )


def how_to_load(target: Path) -> str:
    """The Python that gives the exported model."""
    if (target / "model.keras").exists():
        return f"load it in plain Keras:  keras.models.load_model({str(target / 'model.keras')!r})"
    return f"it has code of its own; rebuild it with:  python {target / 'rebuild.py'}"


def _why_not(review: Review, trial: TrialRecord) -> str:
    if not trial.ended_well:
        return f"it is {trial.status}"
    kept = ", ".join(other.id for other in review.trials if other.weights is not None) or "none"
    return f"it was not kept (keep.models, or `clean`); trials with a model: {kept}"


def _copy(source: Path, target: Path) -> Path:
    shutil.copyfile(source, target)
    return target


def _write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path

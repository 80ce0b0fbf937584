"""Names of trials' runs, short enough for MLflow's table and legends. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from runner.journal import TrialRecord
from runner.records import json_text

# Words that are as well known in their short form; a name that two settings would share stays long.
_SHORT = {
    "learning_rate": "lr", "accuracy": "acc", "batch_size": "batch", "weight_decay": "wd", "optimizer": "opt",
    "activation": "act", "validation": "val", "momentum": "mom",
}  # fmt: skip
_SECTIONS = ("train.", "params.")
_LONGEST_TEXT = 20


def run_name(trial: TrialRecord, metric: str) -> str:
    """A trial's id, its score once it has ended with one, and the settings that vary: `003 val_acc 0.972 lr=3e-3`.

    The settings are those that it began with, like the run's params, which cannot change.
    """
    first = trial.first
    settings = first.settings if trial.clones else trial.settings
    varied = [name for name in first.searched if name not in first.inactive]
    short = short_names(varied)
    chosen = [f"{short[name]}={short_value(settings.get(name))}" for name in varied]
    score = trial.score(metric) if trial.ended_well else None
    shown = [] if score is None else [f"{_shortened(metric)} {score:.4g}"]
    return " ".join([trial.id, *shown, *chosen])


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Each setting's name in a short form that no other one has."""
    known = list(names)
    short = {name: _shortened(name) for name in known}
    taken = list(short.values())
    return {name: value if taken.count(value) == 1 and value not in known else name for name, value in short.items()}


def short_value(value: object) -> str:
    """A setting's value with three digits: `3e-3`, `0.25`, `relu`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = value if isinstance(value, str) else json_text(value)
        return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"
    if isinstance(value, int):
        return str(value)
    plain = f"{value:.3g}"
    if value and not 0.01 <= abs(value) < 10_000 and "n" not in plain:  # neither nan nor inf
        mantissa, exponent = f"{Decimal(plain):e}".split("e")
        digits = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{digits}e{int(exponent)}"
    return plain


def _shortened(name: str) -> str:
    bare = next((name.removeprefix(section) for section in _SECTIONS if name.startswith(section)), name)
    if bare in _SHORT:
        return _SHORT[bare]
    head, underscore, tail = bare.partition("_")  # val_accuracy
    return f"{head}_{_SHORT[tail]}" if underscore and tail in _SHORT else bare

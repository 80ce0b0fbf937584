"""The descriptions of runs, as Markdown: what a sweep or a trial is, what came of it, and what to do with it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runner.journal import REPORT, SweepRecord, TrialRecord, ranked, ranked_settings, winner_of
from runner.tracking.run_names import short_value

KEY = "mlflow.note.content"  # the tag that MLflow shows as a run's description
_SHOWN = 10
_LONGEST_CELL = 60
_MOST_COLUMNS = 8


def sweep_note(sweep: SweepRecord, trials: Sequence[TrialRecord] = (), has_report: bool = False) -> str:
    """The description of a sweep's run.

    Args:
        sweep: the sweep.
        trials: all of it once it has ended; until then none.
        has_report: whether the run has the report among its artifacts.
    """
    ranking = f"Trials are ranked by `{sweep.metric}` ({sweep.goal})."
    look = f"All of them: `python -m runner results {sweep.id}`."
    report = f"Report: the artifact `{REPORT}`." if has_report else ""
    repeat = f"Repeat it:\n\n```\n{sweep.command}\n```"
    parts = [*_outcome(sweep, trials), f"{ranking} {look} {report}".rstrip(), repeat]
    return "\n\n".join(parts)


def trial_note(sweep: SweepRecord, trial: TrialRecord, model_uri: str | None = None) -> str:
    """The description of an ended trial's run.

    Args:
        sweep: of the trial.
        trial: the trial.
        model_uri: of its logged model; None for a model that only its source can rebuild, or for none.
    """
    score = trial.score(sweep.metric)
    ended = f"{trial.status} after {trial.epochs} epoch{'s' * (trial.epochs != 1)}"
    came = ended if score is None else f"{ended} with `{sweep.metric}` {score:.6g}"
    why = f": {_cell(trial.reason, 300)}" if trial.reason else ""
    parts = [f"Trial {trial.id} of sweep {sweep.id}, {came}{why}.", _settings(trial)]
    if model_uri:
        parts.append(f"Load its model: `mlflow.keras.load_model({model_uri!r})`")
    elif trial.weights is not None:
        parts.append("See `model/rebuild.txt` for its model, which needs its source.")
    if trial.weights is not None:
        parts.append(f"Export it: `python -m runner best {sweep.id} --trial {trial.id} --export DIR`")
    if trial.started_ms is not None and trial.ended_well:
        parts.append(f"Train it again, alone, and compare: `python -m runner replay {sweep.id} {trial.id}`")
    return "\n\n".join(filter(None, parts))


def _outcome(sweep: SweepRecord, trials: Sequence[TrialRecord]) -> list[str]:
    """What won, and the best trials as a table."""
    if not trials:
        return []
    scored = [trial for trial in ranked(trials, sweep) if trial.score(sweep.metric) is not None]
    counts = ", ".join(f"{count} {status}" for status, count in Counter(trial.status for trial in trials).most_common())
    is_mixed = len({trial.member for trial in trials}) > 1
    if not scored:
        return [f"No trial has a value of `{sweep.metric}` ({counts})."]
    best = winner_of(trials, sweep)
    if best is None:
        won = f"No trial has ended with a value of `{sweep.metric}` ({counts})."
    else:
        repeats = [one for one in ranked_settings(trials, sweep) if best in one.trials and len(one.trials) > 1]
        why = "".join(f"; its setting has the best mean, {one.mean:.6g} of {one.scores}" for one in repeats)
        won = (
            f"**Trial {best.id}** is best{f' of {best.member}' if is_mixed else ''}: `{sweep.metric}` "
            f"**{best.score(sweep.metric):.6g}**{why} "
            f"({counts}{'; members do not compare, as their data differ' if is_mixed else ''})."
        )
    names = list(dict.fromkeys(name for trial in trials for name in trial.trial.searched))[:_MOST_COLUMNS]
    header = ["rank", "trial", *(["member"] if is_mixed else []), "status", sweep.metric, *names]
    rows = [
        [
            str(rank), trial.id, *([trial.member] if is_mixed else []), trial.status,
            f"{trial.score(sweep.metric):.6g}", *(short_value(trial.settings.get(name)) for name in names),
        ]
        for rank, trial in enumerate(scored[:_SHOWN], start=1)
    ]  # fmt: skip
    rule = f"| {' | '.join(['---'] * len(header))} |"
    return [won, "\n".join([_row(header), rule, *map(_row, rows)])]


def _settings(trial: TrialRecord) -> str:
    """The settings that vary, one a line."""
    used = trial.used_settings
    names = [name for name in trial.trial.searched if name in used]
    return "\n".join(f"- {_cell(name, _LONGEST_CELL)}: {_cell(str(used[name]), _LONGEST_CELL)}" for name in names)


def _row(cells: Sequence[str]) -> str:
    """A row whose cells keep apart, because MLflow draws a table without space between them."""
    return f"| {'&emsp; | '.join(_cell(cell, _LONGEST_CELL) for cell in cells)} |"


def _cell(text: str, longest: int) -> str:
    """Text that does not end a table's cell or begin other markup."""
    line = " ".join(text.split())
    short = line if len(line) <= longest else f"{line[: longest - 1]}…"
    return short.replace("|", "\\|").replace("<", "&lt;")

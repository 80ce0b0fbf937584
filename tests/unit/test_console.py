"""The live table fits its terminal; elsewhere there are plain lines."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from runner.records import EarlyStopping, Epoch, Failure, Report, Turn, Verdict
from runner.views.live import Lines, LiveTable, duration, number
from runner.views.notebook import _Cell
from runner.views.progress import Progress
from runner.views.watchers import Terminal

KEEP = Verdict(kind="keep")


def report(trial_id: str, value: float = 0.91234) -> Report:
    return Report(
        trial_id=trial_id, round=6, step=70, epoch=7, running={"loss": 0.123456},
        epochs=(Epoch(number=7, metrics={"val_accuracy": value}, ended_s=1.0),),
        turn=Turn(pid=1, started_s=0.0, ended_s=1.0, compute_s=0.1),
    )  # fmt: skip


def make(make_trial: Any, count: int) -> Progress:
    trials = [
        replace(make_trial(id=f"{i:03}", params={"units": 64 + i, "learning_rate": 0.001}, epochs=12),
                searched=("units", "learning_rate"))
        for i in range(count)
    ]  # fmt: skip
    return Progress(trials=trials, metric="val_accuracy", goal="maximize", clock=lambda: 0.0)


def screen(progress: Progress, width: int, height: int, begun: Sequence[str] = ()) -> list[str]:
    """What a terminal of that size shows last, without colours."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=width, height=height, color_system=None)
    table = LiveTable(console, progress)
    with table:
        table.begin(begun)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    lines = text[text.rindex(" trial ") :].split("\n")
    return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize("width", [160, 100, 80])
def test_nothing_but_the_settings_is_cut(make_trial: Any, width: int) -> None:
    progress = make(make_trial, 8)
    progress.update({"000": report("000")}, {"000": Verdict(kind="complete")})
    lines = screen(progress, width, 30)
    assert len(lines) == 1 + 8 + 1
    assert all(len(line) <= width for line in lines)
    assert "…" not in lines[0]
    assert lines[0].split()[:2] == ["trial", "state"]
    assert lines[1].split()[:2] == ["000", "complete"]
    for value in ("7/12", "0.1235", "0.9123"):
        assert value in lines[1].split()
    assert "units=64" in lines[1]
    assert "0 of 8 ended" not in lines[-1]
    assert lines[-1].startswith("1 of 8 ended")


def test_a_wide_terminal_has_every_column_and_a_narrow_one_readable_settings(make_trial: Any) -> None:
    wide, narrow = (screen(make(make_trial, 2), width, 30)[0].split() for width in (160, 80))
    assert wide == ["trial", "state", "round", "epoch", "loss", "val_accuracy", "steps/s", "settings"]
    assert set(narrow) < set(wide)
    assert "units=64 learning_rate=0.001" in screen(make(make_trial, 2), 80, 30)[1]


def test_a_trial_that_keeps_its_best_weights_shows_their_score(make_trial: Any) -> None:
    progress, rule = make(make_trial, 1), EarlyStopping(monitor="val_loss", patience=9)
    row = progress.rows["000"]
    row.trial = replace(row.trial, train=replace(row.trial.train, early_stopping=rule))
    progress.update({"000": report("000", 0.75)}, {"000": Verdict(kind="keep", keep_best=True)})
    progress.update({"000": report("000", 0.5)}, {"000": KEEP})
    lines = screen(progress, 160, 30)
    assert lines[0].split()[5:8] == ["val_accuracy", "score", "steps/s"]
    assert lines[1].split()[5:7] == ["0.5", "0.75"]
    assert "best val_accuracy 0.75 (trial 000)" in lines[-1]


@pytest.mark.parametrize("height", [10, 24])
def test_more_trials_than_lines_show_those_that_matter(make_trial: Any, height: int) -> None:
    progress = make(make_trial, 40)
    failure = Failure(trial_id="039", kind="build", message="no such layer")
    progress.update({"020": report("020"), "039": failure}, {"020": KEEP, "039": Verdict(kind="fail")})
    lines = screen(progress, 100, height)
    assert len(lines) < height
    shown = [line.split()[0] for line in lines]
    assert "020" in shown
    assert "039" in shown
    hidden = int(re.search(r"… (\d+) more", "\n".join(lines)).group(1))  # type: ignore[union-attr]
    assert hidden + sum(name.isdigit() and len(name) == 3 for name in shown) == 40


def test_a_failed_trials_line_says_why(make_trial: Any) -> None:
    progress = make(make_trial, 1)
    failure = Failure(trial_id="000", kind="build", message="no [such] layer")
    progress.update({"000": failure}, {"000": Verdict(kind="fail")})
    assert "build: no [such] layer" in screen(progress, 100, 30)[1]


def test_a_trial_is_shown_as_running_from_its_first_turn(make_trial: Any) -> None:
    _, first, second, _ = screen(make(make_trial, 2), 100, 30, begun=["000"])
    assert first.split()[:4] == ["000", "running", "1", "0/12"]
    assert second.split()[:2] == ["001", "queued"]


def test_a_pipe_gets_a_line_a_turn(make_trial: Any) -> None:
    file = io.StringIO()
    console = Console(file=file, width=80)
    view = Terminal(console).rounds(make(make_trial, 2))
    assert isinstance(view, Lines)
    failure = Failure(trial_id="001", kind="build", message="no [such] layer")
    with view:
        view.begin(["000", "001"])
        view.show({"000": report("000"), "001": failure}, {"000": KEEP, "001": Verdict(kind="fail")})
    first, second = file.getvalue().splitlines()
    assert first.startswith("000 round 7 epoch 7/12 step 70 · loss 0.1235 · val_accuracy 0.9123 · ")
    assert second == "001 FAILED build: no [such] layer"


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (0.4, "0:00"), (75, "1:15"), (3599.6, "1:00:00"), (7325, "2:02:05")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.95, "0.95"), (1 / 3, "0.3333"), (float("nan"), "nan")])
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


class Shown:
    """Stands for IPython's handle of a place in a cell's output."""

    def __init__(self) -> None:
        self.bundles: list[dict[str, str]] = []

    def update(self, bundle: dict[str, str], raw: bool) -> None:
        assert raw
        self.bundles.append(bundle)


def test_a_notebooks_table_is_redrawn_at_most_twice_a_second_and_shows_the_last_view() -> None:
    now, shown = [0.0], Shown()
    cell = _Cell(lambda: 0.25, shown, clock=lambda: now[0])
    for moment, text in ((0.0, "first"), (0.1, "too soon"), (0.6, "second"), (0.7, "<last>")):
        now[0] = moment
        cell.update(text)
    cell.stop()
    assert [bundle["text/plain"].strip() for bundle in shown.bundles] == ["first", "second", "<last>"]
    assert '<progress value="0.2500" max="1"' in shown.bundles[-1]["text/html"]
    assert "&lt;last&gt;" in shown.bundles[-1]["text/html"]
    cell.clear()
    assert shown.bundles[-1] == {"text/plain": "", "text/html": ""}

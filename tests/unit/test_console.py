"""The live table fits its terminal; elsewhere there are plain lines."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from runner.records import EarlyStopping, Epoch, Failure, Report, Turn, Verdict
from runner.views.examined import on_a_screen
from runner.views.json_lines import JsonLines
from runner.views.lines import Lines
from runner.views.live import LiveTable, Waiting
from runner.views.notebook import _Cell
from runner.views.numbers import count, duration, number, roughly, setting, sparkline
from runner.views.progress import Progress
from runner.views.table import summary_line, table_lines
from runner.views.watchers import Terminal
from runner.views.watching import watch

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
    lines = text[text.rindex("trial  ") :].split("\n")
    return [line.rstrip() for line in lines if line.strip()]


@pytest.mark.parametrize("width", [200, 120, 80, 60])
def test_every_trial_has_one_line_with_its_score_and_settings(make_trial: Any, width: int) -> None:
    progress = make(make_trial, 8)
    progress.update({"000": report("000")}, {"000": Verdict(kind="complete")})
    lines = screen(progress, width, 30)
    assert len(lines) == 1 + 8 + 2
    assert all(len(line) <= width for line in lines)
    assert lines[0].split()[:4] == ["trial", "state", "epoch", "val_accuracy"]
    assert "units" in lines[0].split()
    assert lines[1].split()[:4] == ["000", "complete", "7/12", "0.9123"]
    assert lines[1].split()[4:5] == ["64"]
    assert lines[-1].startswith("1 of 8 trials ended")


def test_what_does_not_vary_is_said_once_and_above(make_trial: Any) -> None:
    table = [line.plain for line in table_lines(make(make_trial, 3), 80, 20)]
    assert table[0] == "all trials: learning_rate=1e-03"
    assert "1e-03" not in " ".join(table[1:])


def test_the_learning_rate_stays_when_other_settings_have_no_room(make_trial: Any) -> None:
    names = [f"a_long_name_{letter}" for letter in "abcdef"] + ["learning_rate"]
    trials = [
        replace(
            make_trial(id=f"{i:03}", params=dict.fromkeys(names, 0.001 * (i + 1)), epochs=12), searched=tuple(names)
        )
        for i in range(3)
    ]
    progress = Progress(trials=trials, metric="val_accuracy", goal="maximize", clock=lambda: 0.0)
    table = [line.plain for line in table_lines(progress, 60, 20)]
    assert all(len(line) <= 60 for line in table)
    assert table[0].startswith("no room for a_long_name_")
    assert table[1].split()[-1].startswith("lear")
    assert table[2].split()[-1] == "1e-03"


def test_a_wide_terminal_has_more_columns(make_trial: Any) -> None:
    progress = make(make_trial, 2)
    for value in (0.1, 0.5, 0.9):
        progress.update({"000": report("000", value)}, {"000": KEEP})
    wide, narrow = (screen(progress, width, 30) for width in (160, 45))
    assert {"curve", "loss", "steps/s"} <= set(wide[0].split())
    assert wide[0].split().count("curve") == 1
    assert set(narrow[0].split()) < set(wide[0].split())
    assert "▁▅█" in wide[1].split()


def test_what_was_written_over_is_not_shown() -> None:
    bar = "\x1b[1m 1/14\x1b[0m loss: 0.9\b\b\b\b\r\x1b[1m14/14\x1b[0m loss: 0.8\n"
    assert on_a_screen(f"a\r\n{bar}b\n") == "a\n14/14 loss: 0.8\nb"


def test_a_trial_that_keeps_its_best_weights_shows_their_score(make_trial: Any) -> None:
    progress, rule = make(make_trial, 1), EarlyStopping(monitor="val_loss", patience=9)
    row = progress.rows["000"]
    row.trial = replace(row.trial, train=replace(row.trial.train, early_stopping=rule))
    progress.update({"000": report("000", 0.75)}, {"000": Verdict(kind="keep", keep_best=True)})
    progress.update({"000": report("000", 0.5)}, {"000": KEEP})
    lines = screen(progress, 160, 30)
    values = dict(zip(lines[0].split(), lines[1].split(), strict=True))
    assert (values["val_accuracy"], values["score"]) == ("0.5", "0.75")
    assert "best val_accuracy 0.75 (trial 000)" in lines[-1]


@pytest.mark.parametrize("height", [10, 24, 50])
def test_more_trials_than_lines_show_the_best_first_and_count_the_others(make_trial: Any, height: int) -> None:
    progress = make(make_trial, 200)
    for i in range(120):
        verdict = Verdict(kind="complete" if i < 110 else "keep")
        progress.update({f"{i:03}": report(f"{i:03}", (i * 37 % 100) / 100)}, {f"{i:03}": verdict})
    failure = Failure(trial_id="150", kind="build", message="no such layer")
    progress.update({"150": failure}, {"150": Verdict(kind="fail")})
    lines = screen(progress, 120, height)
    assert len(lines) < height
    shown = [line.split()[0] for line in lines if re.match(r"\d{3} +[a-z]+ +\d+/12", line)]
    found = [progress.rows[trial_id].score for trial_id in shown if progress.rows[trial_id].state == "complete"]
    assert found[0] == 0.99
    assert found == sorted(found, key=lambda score: -(score or 0.0))
    assert any(progress.rows[trial_id].state == "running" for trial_id in shown)
    text = next(line for line in lines if line.startswith("… "))
    hidden = int(text.split()[1])
    assert "queued" in text
    assert hidden + len(shown) == 200
    assert sum(map(int, re.findall(r"(\d+) (?:queued|running|complete|failed)", text))) == hidden


def test_hidden_trials_of_one_state_are_counted_once(make_trial: Any) -> None:
    assert screen(make(make_trial, 30), 80, 24)[-3] == "… 13 queued trials not shown"


def test_a_column_of_small_values_has_one_notation(make_trial: Any) -> None:
    rates = [0.013, 0.0037, 0.0006]
    trials = [
        replace(make_trial(id=f"{i:03}", params={"rate": rate}, epochs=12), searched=("rate",))
        for i, rate in enumerate(rates)
    ]
    progress = Progress(trials=trials, metric="loss", goal="minimize", clock=lambda: 0.0)
    lines = screen(progress, 80, 20)
    assert [line.split()[4] for line in lines[1:4]] == ["1.3e-02", "3.7e-03", "6.0e-04"]


def test_a_small_metric_is_not_cut(make_trial: Any) -> None:
    progress = make(make_trial, 1)
    progress.update({"000": replace(report("000"), running={"loss": 6.884e-05})}, {"000": KEEP})
    assert "6.884e-05" in screen(progress, 120, 20)[1]


def test_the_summary_leaves_out_what_has_no_room(make_trial: Any) -> None:
    progress = make(make_trial, 2)
    progress.update({"000": report("000")}, {"000": KEEP})
    whole = summary_line(progress)
    assert "best val_accuracy" in whole
    assert summary_line(progress, len(whole)) == whole
    assert summary_line(progress, len(whole) - 1) == "0 of 2 trials ended"


def test_a_failed_trials_line_says_why(make_trial: Any) -> None:
    progress = make(make_trial, 1)
    failure = Failure(trial_id="000", kind="build", message="no [such] layer")
    progress.update({"000": failure}, {"000": Verdict(kind="fail")})
    assert "build: no [such] layer" in screen(progress, 100, 30)[1]


def test_a_trial_is_shown_as_running_from_its_first_turn_and_as_paused(make_trial: Any) -> None:
    progress = make(make_trial, 2)
    _, first, second, *_ = screen(progress, 100, 30, begun=["000"])
    assert first.split()[:3] == ["000", "running", "0/12"]
    assert second.split()[:2] == ["001", "queued"]
    progress.pause(["000"])
    progress.update({"000": report("000")}, {"000": KEEP})
    assert screen(progress, 100, 30)[1].split()[:3] == ["000", "paused", "7/12"]


def test_a_rule_that_may_end_trials_makes_the_time_left_an_upper_bound(make_trial: Any) -> None:
    for early, words in ((False, "about"), (True, "at most")):
        now = [0.0]
        trials = make(make_trial, 2).trials
        progress = Progress(
            trials=trials, metric="val_accuracy", goal="maximize", clock=lambda now=now: now[0], may_end_early=early,
            steps_per_epoch={"test": 10},
        )  # fmt: skip
        progress.begin(["000"])
        now[0] = 70.0
        progress.update({"000": report("000")}, {"000": KEEP})
        assert " · at most 3 min left · " in summary_line(progress), "the first round builds and traces"
        now[0] = 71.0
        progress.update({"001": report("001")}, {"001": KEEP})
        assert f" · {words} " in summary_line(progress)


def test_a_pipe_gets_a_line_when_a_trial_ends_and_one_for_all_now_and_then(make_trial: Any) -> None:
    file, now = io.StringIO(), [0.0]
    console = Console(file=file, width=80)
    assert isinstance(Terminal(console).rounds(make(make_trial, 2)), Lines)
    view = Lines(console, make(make_trial, 2), clock=lambda: now[0], stamp=lambda: "09:00:00")
    failure = Failure(trial_id="001", kind="build", message="no [such] layer")
    with view:
        view.begin(["000", "001"])
        view.show({"000": report("000"), "001": failure}, {"000": KEEP, "001": Verdict(kind="fail")})
        now[0] = 31.0
        view.show({"000": report("000")}, {"000": Verdict(kind="complete")})
    assert [line.partition(" · best")[0] for line in file.getvalue().splitlines()] == [
        "09:00:00 trial 001 FAILED build: no [such] layer",
        "09:00:00 trial 000 complete after epoch 7/12 · val_accuracy 0.9123 · units=64 learning_rate=1e-03",
        "09:00:00 progress 100% · 2 of 2 trials ended · 1 failed",
    ]


def test_a_terminal_that_cannot_redraw_gets_lines(make_trial: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for term, view in (("dumb", Lines), ("xterm", LiveTable)):
        monkeypatch.setenv("TERM", term)
        console = Console(file=io.StringIO(), force_terminal=True, width=60)
        assert isinstance(Terminal(console).rounds(make(make_trial, 2)), view)


def test_what_is_awaited_has_its_time_and_a_new_thing_begins_at_zero() -> None:
    now = [0.0]
    waiting = Waiting(Console(file=io.StringIO(), force_terminal=True, width=60), clock=lambda: now[0])
    with waiting:
        waiting.show("starting Ray")
        now[0] = 7.5
        waiting.show("starting Ray")
        assert waiting.line() == "starting Ray (7 s)"
        waiting.show("checking")
        assert waiting.line() == "checking"


def test_every_json_line_is_an_object_with_its_time(make_trial: Any) -> None:
    lines: list[str] = []
    watcher = JsonLines(lines.append, clock=lambda: 0.25)
    watcher.began(Path("sweeps/tiny-1"))
    watcher.warn("warning: slow")
    failure = Failure(trial_id="001", kind="build", message="no layer")
    with watcher.rounds(make(make_trial, 2)) as view:
        view.begin(["000", "001"])
        view.show({"000": report("000", float("nan")), "001": failure}, {"000": KEEP, "001": Verdict(kind="fail")})
    events = [json.loads(line) for line in lines]
    assert {event["time"] for event in events} == {"1970-01-01T00:00:00.250Z"}
    names = ["sweep_started", "warning", "trial_started", "trial_started", "turn", "trial_ended", "progress"]
    assert [event["event"] for event in events] == names
    assert (events[0]["sweep"], events[0]["folder"], events[1]["text"]) == ("tiny-1", "sweeps/tiny-1", "slow")
    assert events[2]["settings"] == {"units": 64, "learning_rate": 0.001}
    assert events[4]["epochs"] == [{"epoch": 7, "metrics": {"val_accuracy": "nan"}}]
    assert (events[5]["status"], events[5]["score"], events[5]["reason"]) == ("failed", None, "build: no layer")
    assert events[6]["states"] == {"running": 1, "failed": 1}


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "–"), (0.4, "0:00"), (75, "1:15"), (3599.6, "1:00:00"), (7325, "2:02:05")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(7.2, "8 s"), (200, "4 min"), (7300, "2 h 10 min"), (7200, "2 h")])
def test_estimates_are_no_more_exact_than_they_can_be(seconds: float, text: str) -> None:
    assert roughly(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.95, "0.95"), (1 / 3, "0.3333"), (float("nan"), "nan")])
def test_numbers(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.003, "3e-03"), (0.00143, "1.4e-03"), (0.25, "0.25"), (0.0, "0"), (64, "64"), ("relu", "relu"), (1e7, "1e+07")],
)
def test_settings_are_short(value: object, text: str) -> None:
    assert setting(value) == text


def test_curves_are_no_wider_than_asked_and_skip_what_is_not_finite() -> None:
    assert sparkline([0.0, float("nan"), 0.5, 1.0], 8) == "▁▅█"
    assert len(sparkline([float(i) for i in range(100)], 8)) == 8
    assert sparkline([0.0, *[0.8, 1.0] * 10], 21)[1:] == "▁█" * 10
    assert (sparkline([1.0], 8), sparkline([1.0, 1.0], 8)) == ("", "▁▁")


def test_watching_a_pipe_prints_a_line_for_each_change(
    make_trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_review import write_sweep

    folder, running = write_sweep(tmp_path, make_trial, [0.5]), iter([True, True, False])
    monkeypatch.setattr("runner.views.watching.is_locked", lambda _: next(running))
    file = io.StringIO()
    watch(folder, Console(file=file, width=100), sleep=lambda _: None, stamp=lambda: "09:00:00")
    lines = [line for line in file.getvalue().splitlines() if line.startswith("09:00:00")]
    assert len(lines) == 2
    assert lines[0].startswith("09:00:00 trial 000 complete · ")
    assert lines[1].endswith("1 trial: 1 complete")


def test_one_is_singular() -> None:
    assert (count(1, "trial"), count(0, "trial"), count(2, "trial")) == ("1 trial", "0 trials", "2 trials")


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

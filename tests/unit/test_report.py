"""Figures of a sweep, its page, and its results for other programs, from journals written by hand."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas
import pytest
from many_trials import EVIL, write_many

import runner
from runner.api.result import Result
from runner.config.space import Choice, Range
from runner.errors import ConfigError, NothingToShowError
from runner.report.axes import parallel_axis
from runner.report.data import SweepData, read_sweep, short_texts
from runner.report.headline import duration, facts, failures
from runner.report.page import embedded, page_of, write_report
from runner.report.plots import PLOTS
from runner.report.progress import drawn_trials, history, quartiles, schedules
from runner.report.study import importance


@pytest.fixture
def data(make_trial: Any, tmp_path: Path) -> SweepData:
    return read_sweep(write_many(tmp_path / "many-1", make_trial))


@pytest.fixture
def halved(make_trial: Any, tmp_path: Path) -> SweepData:
    return read_sweep(write_many(tmp_path / "many-1", make_trial, stopped=True))


def test_the_headline_says_who_won_by_how_much_what_mattered_and_what_it_cost(data: SweepData) -> None:
    score, winner, lead, mattered, cost = facts(data)
    assert score.value == "0.992"
    assert (winner.value, winner.detail) == ("trial 002", "units=32 rate=0.06813 kind=tanh")
    assert lead.detail.startswith("of the second; ")
    tied = replace(data, review=replace(data.review, trials=(data.scored[0], *data.scored)))
    assert facts(tied)[2].value == "a tie"
    assert facts(tied)[2].detail.startswith("2 have the same best value; ")
    assert mattered.value == "units"
    assert cost.detail == "12 trials (10 complete, 2 failed), 40 epochs, 3.2 s of training on 1 slot"


def test_a_running_trial_that_leads_is_not_behind_the_winner(data: SweepData) -> None:
    before = facts(data)[2].value
    leads = replace(data.review.trials[5], status="running", metrics={"val_accuracy": 2.0})
    trials = (leads, *(one for one in data.review.trials if one.id != leads.id))
    assert facts(replace(data, review=replace(data.review, trials=trials)))[2].value == before


def test_what_matters_is_found_among_what_varies(data: SweepData) -> None:
    found = importance(data, "test")
    assert found is not None
    assert next(iter(found.shares)) == "units"
    assert found.shares["units"] > 0.9
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert (found.trials, found.epoch) == (10, None)


def test_trials_that_were_stopped_are_compared_at_an_epoch_that_all_have_reached(halved: SweepData) -> None:
    assert halved.common_epoch == 1
    assert halved.rungs == (1,)
    best = halved.review.trials[0]
    assert halved.fair_score(best) == halved.curves[best.id][0][1] < (halved.score(best) or 0.0)


def test_failures_with_one_message_are_told_once(data: SweepData) -> None:
    (group,) = failures(data)
    assert group.trials == ("005", "011")
    assert group.lines == f"a\n{EVIL}"


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing_of_a_users(make_trial: Any, tmp_path: Path) -> None:
    page = page_of(read_sweep(write_many(tmp_path / "many-1", make_trial, kind=EVIL)))
    assert EVIL not in page
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page
    own = page[: page.index("/**\n* plotly.js")] + page[page.index('<script id="themes"') :]
    assert not re.search(r"""(src|href)\s*=(?!"#)|@import|url\(|https?://""", own)
    assert len(page) - 5_000_000 < 200_000
    for name in ("history", "curves", "importance", "parallel", "slice", "contour", "timeline", "throughput", "times"):
        assert f'id="{name}"' in page, name
    assert "Spread of repeats: no setting was trained with several seeds or folds" in page
    assert "python -m runner sweep many.py" in page


def test_a_page_takes_no_room_that_the_journal_may_need(data: SweepData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=6_000_000))
    with pytest.raises(OSError, match="the journal may need the room that is left"):
        write_report(data.review.folder)
    assert not (data.review.folder / "report.html").exists()
    monkeypatch.undo()
    assert write_report(data.review.folder, "killed").read_text(encoding="utf-8").count("killed · maximize") == 1


def test_plotly_shows_a_users_tags_as_text_and_long_values_shortened(make_trial: Any, tmp_path: Path) -> None:
    text = json.dumps({"text": "<a href='http://b'>x</a><br>y", "hovertemplate": "z<extra></extra>"})
    shown = json.loads(embedded(text))
    assert shown == {"text": "‹a href='http://b'>x‹/a><br>y", "hovertemplate": "z<extra></extra>"}
    assert short_texts(["a" * 30, "a" * 31, "b", 3]) == {
        "a" * 30: "a" * 19 + "…", "a" * 31: "a" * 19 + "…2", "b": "b", 3: 3
    }  # fmt: skip


def test_axes_know_logarithms_categories_and_parameters_that_do_not_matter() -> None:
    rates = parallel_axis("rate", [0.001, None, 0.1], Range(1e-4, 1e-1, log=True))
    assert rates["values"] == [-3.0, -3.25, -1.0]
    assert rates["ticktext"] == ["–", "0.001", "0.01", "0.1"]
    narrow = parallel_axis("rate", [0.0018, 0.06], Range(1e-4, 1e-1, log=True))
    assert narrow["ticktext"] == ["0.0018", "0.005", "0.01", "0.02", "0.06"]
    whole = parallel_axis("units", [9, 63, 12], Range(8, 64, whole=True))
    assert (whole["values"], whole["ticktext"]) == ([9, 63, 12], ["9", "20", "30", "40", "50", "63"])
    kinds = parallel_axis("kind", ["b", None, "a"], Choice(("a", "b")))
    assert (kinds["values"], kinds["ticktext"]) == ([2, 0, 1], ["–", "a", "b"])
    assert parallel_axis("units", [64, 8, 8], None)["values"] == [1, 0, 0]
    assert parallel_axis("same", [0.5, 0.5], Range(0.0, 1.0))["values"] == [0, 0]


def test_with_repeats_the_lead_is_that_of_a_settings_mean_and_members_are_not_compared(
    make_trial: Any, tmp_path: Path
) -> None:
    repeated = read_sweep(write_many(tmp_path / "many-1", make_trial, settings=3))
    winner, lead = facts(repeated)[1:3]
    mean = repeated.review.setting_of(repeated.best).mean
    assert winner.detail.endswith(f"the setting with the best mean, {mean:.4g} of 2 repeats")
    means = [one.mean for _, one in repeated.review.by_setting]  # those with failed repeats are last
    assert lead.value == f"{means[0] - means[1]:.3g}"
    assert len(Result(repeated.review.folder).figures.repeats().data) == 6

    tied = [replace(one, metrics={"val_accuracy": 0.5}) for one in repeated.review.trials]
    lead = facts(replace(repeated, review=replace(repeated.review, trials=tuple(tied))))[2]
    assert (lead.value, lead.detail.partition(";")[0]) == ("a tie", "2 have the same best value")

    trials = [replace(one, member=f"m{one.position % 2}") for one in repeated.review.trials]
    mixed = replace(repeated, review=replace(repeated.review, trials=tuple(trials)),
                    dimensions=dict.fromkeys(("m0", "m1"), repeated.dimensions["test"]))  # fmt: skip
    page = page_of(mixed)
    assert 'id="slice-m0"' in page
    assert "scores of members do not compare" in page
    assert [trace.name for trace in history(mixed).data] == ["trials", "best so far, m0", "best so far, m1"]


def test_of_many_trials_parameters_that_matter_for_some_only_are_judged_too(make_trial: Any, tmp_path: Path) -> None:
    data = read_sweep(write_many(tmp_path / "many-1", make_trial, count=60))
    trials = [replace(one, trial=replace(one.trial, inactive=("rate",) if one.position % 2 else ()))
              for one in data.review.trials]  # fmt: skip
    found = importance(replace(data, review=replace(data.review, trials=tuple(trials))), "test")
    assert found is not None
    assert (found.method, set(found.shares)) == ("PED-ANOVA", {"units", "rate", "kind"})


def test_a_page_of_two_hundred_trials_is_small(make_trial: Any, tmp_path: Path) -> None:
    page = page_of(read_sweep(write_many(tmp_path / "many-1", make_trial, count=200, epochs=5)))
    assert len(page) - 5_000_000 < 2_000_000


@pytest.mark.parametrize("count", [0, 1])
def test_a_sweep_with_hardly_any_trial_has_a_page(make_trial: Any, tmp_path: Path, count: int) -> None:
    data = read_sweep(write_many(tmp_path / "many-1", make_trial, count=count)) if count else None
    if data is None:
        folder = write_many(tmp_path / "many-1", make_trial, count=1)
        data = read_sweep(folder)
        waiting = replace(data.review.trials[0], status="queued", epochs=0, metrics={}, ended_ms=None)
        data = replace(data, review=replace(data.review, trials=(waiting,)), turns=(), barriers=(), curves={"000": ()})
    page = page_of(data)
    assert "Not shown" in page
    assert "no parameter varies" in page


def test_values_that_have_changed_while_trials_were_trained_are_schedules(data: SweepData) -> None:
    with pytest.raises(NothingToShowError, match="no parameter has changed while a trial was trained"):
        schedules(data)
    found = {"units": {"001": ((1, 8.0), (2, 16.0))}, "rate": {"002": ((1, 0.1), (3, 0.01)), "001": ((1, 0.3),)}}
    figure = schedules(replace(data, schedules=found))
    units, rates = ([one for one in figure.data if bool(one.visible) == shown] for shown in (True, False))
    assert len(units) == len(rates) == 10, "of trials that have failed there is none"
    (changed,) = (one for one in units if one.name == "001")
    assert (changed.x, changed.y) == ((1, 2, 4), (8.0, 16.0, 16.0))
    assert (units[-1].name, units[-1].line.width, units[-1].y) == ("002", 3, (32.0, 32.0)), (
        "the best has kept its value"
    )
    of_units, of_rate = figure.layout.updatemenus[0].buttons
    assert of_units.args[0]["visible"] == [True] * 10 + [False] * 10
    assert of_rate.args[1] == {"yaxis.type": "log", "yaxis.title.text": "rate"}


def test_sweeps_are_compared_on_one_page(make_trial: Any, tmp_path: Path) -> None:
    sweeps = [Result(write_many(tmp_path / f"many-{n}", make_trial, count=n, kind=EVIL)) for n in (4, 12)]
    page = runner.compare(*sweeps).report(tmp_path / "both.html").read_text(encoding="utf-8")
    assert EVIL not in page
    assert re.findall(r'<section class="figure" id="([^"]+)"', page) == ["by-epochs", "by-time"]
    assert '<td class="number" data-value="1">1</td><td>many-4</td><td>002</td>' in page
    assert page.count("<h1>many-4 · many-12</h1>") == 1


def test_every_figure_is_drawn_by_name_or_says_why_not(data: SweepData) -> None:
    figures = Result(data.review.folder).figures
    assert repr(figures).startswith(f"<figures of {data.review.sweep.id}: curves, history, ")
    for name in ("curves", "history", "importance", "parallel", "slice", "contour", "timeline", "throughput", "memory",
                 "times"):  # fmt: skip
        figure = getattr(figures, name)()
        assert json.loads(figure.to_json())["data"], name
    axes = json.loads(figures.slice().to_json())["layout"].values()
    assert ["relu", "tanh"] in [sorted(axis["categoryarray"]) for axis in axes if "categoryarray" in str(axis)]
    with pytest.raises(NothingToShowError, match="no setting was trained with several seeds or folds"):
        figures.repeats()
    with pytest.raises(ConfigError, match="member 'x': the sweep has none of this name; its members are test"):
        figures.importance("x")


def test_the_best_curve_is_above_the_others_and_values_that_are_not_finite_are_left_out(data: SweepData) -> None:
    figure = Result(data.review.folder).figures.curves()
    lines = [trace for trace in figure.data if trace.hovertemplate]
    assert lines[-1].name == "best: 002"
    assert lines[-1].line.width > lines[0].line.width
    labels = [button.label for button in figure.layout.updatemenus[0].buttons]
    assert labels == ["colour: rank", "colour: units", "colour: rate", "colour: kind"]
    (first, *_) = quartiles(data)
    assert first[0] == 1
    assert first[1] <= first[2] <= first[3]


def test_of_many_trials_the_best_and_some_others_are_drawn(make_trial: Any, tmp_path: Path) -> None:
    data = read_sweep(write_many(tmp_path / "many-1", make_trial, count=450, epochs=1))
    drawn = drawn_trials(data)
    assert drawn[:100] == list(data.review.trials[:100])
    assert 150 <= len(drawn) <= 200


def test_whole_numbers_beyond_64_bits_are_texts_in_parquet(make_trial: Any, tmp_path: Path) -> None:
    folder = write_many(tmp_path / "many-1", make_trial, kind=10**400)  # type: ignore[arg-type]
    trials, _ = Result(folder).write_results("parquet", tmp_path / "out")
    assert set(pandas.read_parquet(trials)["kind"]) == {"tanh", str(10**400)}


@pytest.mark.parametrize("name", sorted({*PLOTS} - {"repeats"}))
def test_figures_for_papers_need_no_browser(halved: SweepData, tmp_path: Path, name: str) -> None:
    file = Result(halved.review.folder).plot(name, tmp_path / "figure.svg")
    text = file.read_text(encoding="utf-8")
    assert text.count("<path") > 3
    assert name != "slice" or (">tanh<" in text and "'tanh'" not in text)


def test_a_figure_that_compares_settings_is_of_one_member(make_trial: Any, tmp_path: Path) -> None:
    folder = write_many(tmp_path / "many-1", make_trial)
    with sqlite3.connect(folder / "journal.db") as journal:  # every third trial is of another member
        for number in range(0, 12, 3):
            (record,) = journal.execute("SELECT record FROM trial WHERE position = ?", (number,)).fetchone()
            values = ("third", json.dumps({**json.loads(record), "member": "third"}), number)
            journal.execute("UPDATE trial SET member = ?, record = ? WHERE position = ?", values)
    result, file = Result(folder), tmp_path / "slice.svg"
    with pytest.raises(ConfigError, match="slice: shows one member of a mixed sweep; name one of third, test"):
        result.plot("slice", file)
    with pytest.raises(ConfigError, match="member 'x': the sweep has none of this name; its members are third, test"):
        result.plot("slice", file, member="x")
    with pytest.raises(ConfigError, match="member 'third': history shows all members"):
        result.plot("history", file, member="third")
    assert ">units<" in result.plot("slice", file, member="test").read_text()
    assert ">units<" not in result.plot("slice", file, member="third").read_text(), "they all have 8"


def test_a_wrong_figure_or_format_says_what_there_is(data: SweepData, tmp_path: Path) -> None:
    result = Result(data.review.folder)
    with pytest.raises(ConfigError, match="figure 'curve': there is none of this name; there are curves, history"):
        result.plot("curve", "a.png")
    with pytest.raises(ConfigError, match=r"must end with .png, .svg, .pdf"):
        result.plot("curves", "a.jpg")
    with pytest.raises(ConfigError, match="cannot be written"):
        result.plot("curves", tmp_path / "no" / "a.png")
    with pytest.raises(ConfigError, match="format 'xls': there is none of this name; there are csv, parquet, optuna"):
        result.write_results("xls", tmp_path)


def test_results_are_written_for_other_programs_and_never_over_a_file(halved: SweepData, tmp_path: Path) -> None:
    import optuna
    import pandas

    result, out = Result(halved.review.folder), tmp_path / "out"
    trials, epochs = result.write_results("csv", out)
    with trials.open(encoding="utf-8") as file:
        assert [row["trial"] for row in csv.DictReader(file)] == [one.id for one in halved.review.trials]
    assert len(pandas.read_csv(epochs)) == sum(one.epochs for one in halved.review.trials)
    assert pandas.read_parquet(result.write_results("parquet", out)[0])["units"].dtype == "int64"
    (database,) = result.write_results("optuna", out)
    study = optuna.load_study(study_name="many-1", storage=f"sqlite:///{database}")
    best = study.best_trial
    assert (best.params["units"], best.user_attrs["trial"]) == (32, "002")
    assert best.distributions["rate"] == optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)
    assert {trial.state.name for trial in study.trials} == {"COMPLETE", "PRUNED", "FAIL"}
    assert len(best.intermediate_values) == 4
    assert len(optuna.visualization.plot_intermediate_values(study).data) == 10
    assert optuna.visualization.plot_parallel_coordinate(study, params=["units", "rate"]).data
    with pytest.raises(ConfigError, match="is there already; remove it, or name another folder"):
        result.write_results("csv", out)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.04, "0.0 s"), (9.96, "10.0 s"), (59.7, "1 min 0 s"), (93.4, "1 min 33 s"), (7320, "2 h 2 min")],
)
def test_durations_are_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said

"""Sweeps side by side."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small_journal import begin, report, sweep, trial
from test_review import write_sweep

import runner
from runner.config.differences import differences
from runner.errors import ConfigError, SweepNotFoundError
from runner.journal import SqliteJournal
from runner.records import Allocation, Verdict
from runner.review.catalog import open_review
from runner.review.comparison import best_so_far
from runner.views.comparison import print_comparison


@pytest.fixture
def sweeps(make_trial: Any, tmp_path: Path) -> Path:
    root = tmp_path / "sweeps"
    write_sweep(root, make_trial, [0.5, 0.7, None], name="a-1")
    write_sweep(root, make_trial, [0.6, 0.4, 0.9], name="a-2", created_ms=2000)
    return root


def test_configs_differ_by_key() -> None:
    one = "train:\n  epochs: 3\nsearch:\n  space: {units: [1, 2]}\nname: a\n"
    other = "train:\n  epochs: 9\n  batch_size: 8\nsearch:\n  space: {units: [1, 2]}\nname: a\n"
    assert differences([one, other]) == {"train.epochs": [3, 9], "train.batch_size": [None, 8]}
    assert differences([one, one]) == {}


def test_scores_costs_curves_and_shared_settings(sweeps: Path) -> None:
    found = runner.compare("a-1", "a-2", root=sweeps)
    scores = found.scores
    assert list(scores.columns) == ["a-1", "a-2"]
    assert [scores.loc[name, "a-1"] for name in ("best", "best trial", "trials", "complete", "failed")] == [
        0.7, "001", 3, 2, 1,
    ]  # fmt: skip
    assert scores.loc["median", "a-2"] == 0.6
    assert found.config.empty
    assert found.curves.to_dict() == {"a-1": {1: 0.5, 2: 0.7}, "a-2": {1: 0.6, 2: 0.6}}
    assert found.shared.to_dict("index") == {"units=8": {"a-1": 0.7, "a-2": 0.4}, "units=0": {"a-1": 0.5, "a-2": 0.6}}
    console = Console(record=True, width=120)
    print_comparison(found.tables(), console)
    text = console.export_text()
    assert "Their configs and their code are the same." in text
    assert "units=8" in text
    assert repr(found) == "<sweeps side by side: a-1, a-2>"
    assert "best trial" in found._repr_html_()


def test_a_setting_is_shown_in_few_digits_unless_two_would_look_alike(make_trial: Any, tmp_path: Path) -> None:
    def shared(*units: float) -> list[object]:
        root = tmp_path / str(len(units))
        for name in ("a-1", "a-2"):
            write_sweep(root, make_trial, [0.5] * len(units), name=name, units=units)
        return list(runner.compare("a-1", "a-2", root=root).shared.index)

    assert shared(0.031467304) == ["units=0.03147"]
    assert shared(0.031467304, 0.031467305) == ["units=0.031467304", "units=0.031467305"]


def test_values_that_are_not_finite_are_never_the_best(make_trial: Any, tmp_path: Path) -> None:
    folder = write_sweep(tmp_path, make_trial, [math.nan, 0.5, math.inf, 0.4], goal="minimize")
    first, *others = best_so_far(open_review(folder))
    assert math.isnan(first)
    assert others == [0.5, 0.5, 0.4]


def test_the_best_of_a_name_is_that_of_all_its_sweeps(sweeps: Path) -> None:
    best = runner.best_of("a", root=sweeps)
    assert (best.folder.name, best.id, best.score) == ("a-2", "002", 0.9)


def test_settings_of_members_are_not_mixed_up_though_their_parameters_are_equal(
    make_trial: Any, tmp_path: Path
) -> None:
    for name in ("a-1", "a-2"):
        write_mixed(tmp_path / name)
    found = runner.compare("a-1", "a-2", root=tmp_path)
    assert found.shared.loc["member=x units=4", "a-2"] == 0.5
    assert found.shared.loc["member=y units=4", "a-2"] == 0.75
    assert found.scores.loc["median", "a-1"] == (0.5, 0.75)
    with pytest.raises(ConfigError, match="a-1 is a mixed sweep"):
        _ = found.curves
    page = found.report(tmp_path / "c.html").read_text()
    assert "a sweep has several members, whose scores do not compare" in page
    assert "Best trials" not in page[page.index('<script id="themes"') :]


def write_mixed(folder: Path) -> None:
    """A sweep of two members whose trials have equal parameters."""
    folder.mkdir()
    trials = tuple(replace(trial(number), member=member, searched=("units",)) for number, member in enumerate("xy"))
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(replace(sweep("sqlite:///m.db"), id=folder.name), trials)
        begin(journal, 0, 1)
        reports = {"000": report(0, 0, 0.5, epoch=1), "001": report(1, 0, 0.75, epoch=1)}
        journal.commit(reports, dict.fromkeys(reports, Verdict(kind="complete")), {})


def test_what_does_not_compare_is_refused(sweeps: Path, make_trial: Any) -> None:
    write_sweep(sweeps, make_trial, [0.5], name="a-3", goal="minimize")
    write_sweep(sweeps, make_trial, [0.5, 0.6], name="a-4", members="xy")
    with pytest.raises(ConfigError, match=r"a-1 by val_accuracy \(maximize\), a-3 by val_accuracy \(minimize\)"):
        _ = runner.compare("a-1", "a-3", root=sweeps).curves
    assert [*runner.compare("a-1", "a-3", root=sweeps).tables()] == ["config", "scores"]
    with pytest.raises(ConfigError, match="different metrics"):
        runner.best_of("a", root=sweeps)
    with pytest.raises(ConfigError, match="needs two sweeps or more, got 1"):
        runner.compare("a-1", root=sweeps)
    with pytest.raises(SweepNotFoundError, match=r"no sweep in .* is named 'b'; there: a"):
        runner.best_of("b", root=sweeps)

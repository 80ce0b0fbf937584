"""Reviewing sweeps without MLflow: found by name, ranked, exported."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console
from small_journal import sweep as small_record

from runner.cli import cli
from runner.cli.shown import shown
from runner.driver.notify import outcome_of
from runner.driver.train import Outcome
from runner.errors import SweepNotFoundError, TrackingError
from runner.journal import UNSURE, SqliteJournal, SweepRecord
from runner.records import (
    Allocation,
    EarlyStopping,
    Epoch,
    Export,
    Facts,
    Failure,
    Report,
    Source,
    Trial,
    Turn,
    Verdict,
    Work,
)
from runner.review.catalog import find_sweep, list_sweeps, open_review
from runner.review.export import export_model, how_to_load
from runner.review.summaries import sweep_summary
from runner.review.tables import trial_table
from runner.search.rules import RuleState, judge
from runner.tracking.labels import ending_metrics, late_params
from runner.tracking.ledger import HOME, Ledger
from runner.tracking.notes import sweep_note
from runner.tracking.run_names import run_name
from runner.views.results import print_results, print_sweeps

FACTS = Facts(
    steps_per_epoch=2, rows=64, validation_rows=None, parameters=9, program="round", program_reason="", inexact="",
    summary="Model", loadable=True,
)  # fmt: skip
SOURCE = Source(path="experiments/a.py", root="/code", files=(("a.py", "x = 1\n"), ("lib/b.py", "y = 2\n")))


def write_sweep(
    root: Path, make_trial: Any, values: list[float | None], name: str = "a-1", goal: str = "maximize",
    members: str = "", loadable: bool = True, created_ms: int = 1000, units: tuple[float, ...] = (),
) -> Path:  # fmt: skip
    """A sweep whose trials end with these values of val_accuracy; None is a trial that fails."""
    folder = root / name
    folder.mkdir(parents=True)
    trials = tuple(
        replace(
            make_trial(
                id=f"{i:03}",
                params={"units": units[i] if units else 8 * i, "scale": 1.5},
                data_params=("scale",),
                seed=i,
            ),
            **{"searched": ("units",), "source": SOURCE, "model_params": ("units",)},
            member=members[i] if members else "a",
        )
        for i in range(len(values))
    )
    sweep = SweepRecord(
        id=name, name="a", created_ms=created_ms, metric="val_accuracy", goal=goal, config="", command="",
        tracking_uri="", mlflow_experiment="a", versions={},
    )  # fmt: skip
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(sweep, trials)
        for trial, value in zip(trials, values, strict=True):
            journal.assign({0: (Work(trial=trial, round=0),)})
            commit(journal, trial, value, loadable)
        journal.end("complete")
    return folder


def write_early_stopped(root: Path, make_trial: Any, curves: dict[str, list[float]]) -> Path:
    """A sweep ranked by val_loss whose trials keep their best epochs; a curve that ends in NaN has diverged."""
    folder = root / "s-1"
    folder.mkdir(parents=True)
    rule = EarlyStopping(monitor="val_loss", mode="min", patience=1)
    trials = {name: make_trial(id=name, epochs=9, early_stopping=rule, params={"units": 8}) for name in curves}
    sweep = SweepRecord(
        id="s-1", name="s", created_ms=1000, metric="val_loss", goal="minimize", config="", command="",
        tracking_uri="", mlflow_experiment="s", versions={},
    )  # fmt: skip
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(sweep, tuple(trials.values()))
        for name, curve in curves.items():
            state = RuleState()
            for turn, value in enumerate(curve):
                metrics = {"val_loss": value, "loss": value / 2}
                report = Report(
                    trial_id=name, round=turn, step=turn + 1, epoch=turn + 1, running={"loss": value / 2},
                    epochs=(Epoch(number=turn + 1, metrics=metrics, ended_s=2.0 + turn),),
                    turn=Turn(pid=7, started_s=1.0, ended_s=2.0 + turn, compute_s=1.0),
                )  # fmt: skip
                verdict, state = judge(trials[name].train, state, report)
                export = Export(trial_id=name, model=b"", weights=b"npz")
                journal.assign({0: (Work(trial=trials[name], round=turn),)})
                keeps = verdict.ends and verdict.keeps_model
                journal.commit({name: report}, {name: verdict}, {name: export} if keeps else {})
        journal.end("complete")
    return folder


CURVES = {"000": [0.5, 0.3, 0.4, 0.45], "001": [0.5, 0.35, 0.36], "002": [math.nan], "003": [0.6, 0.2, math.nan]}


def test_the_score_is_that_of_the_model_that_is_kept_wherever_it_is_shown(make_trial: Any, tmp_path: Path) -> None:
    folder = write_early_stopped(tmp_path, make_trial, {name: curve[:3] for name, curve in CURVES.items()})
    review = open_review(folder)
    assert [(trial.id, trial.score("val_loss"), trial.kept_epoch, trial.epochs) for trial in review.trials] == [
        ("003", 0.2, 2, 3), ("000", 0.3, 2, 3), ("001", 0.35, 2, 3), ("002", None, None, 1),
    ]  # fmt: skip
    assert [trial.status for trial in review.trials] == ["stopped"] * 4
    assert [trial.id for trial in review.best] == [trial.id for trial in review.leaders] == ["003"]
    assert review.trials[0].metrics == {"val_loss": 0.2, "loss": 0.1}
    with Ledger(folder, HOME) as ledger:
        assert ledger.best(review.sweep) == (review.trials[0], 0.2)
    rows = {trial.id: ending_metrics(review.sweep, trial, 7) for trial in review.trials}
    found = {name: {row.key: (row.step, row.value) for row in of} for name, of in rows.items()}
    assert found["003"] == {"score": (2, 0.2), "best_epoch": (2, 2.0)}
    assert found["002"] == {}


def test_a_table_for_programs_has_everything_and_no_column_twice(make_trial: Any, tmp_path: Path) -> None:
    header, rows = trial_table(open_review(write_sweep(tmp_path, make_trial, [0.8, None])))
    assert len(set(header)) == len(header)
    first, second = (dict(zip(header, row, strict=True)) for row in rows)
    assert {key: first[key] for key in ("rank", "score", "best_epoch", "epochs", "seed", "units", "scale")} == {
        "rank": 1, "score": 0.8, "best_epoch": 1, "epochs": 1, "seed": 0, "units": 0, "scale": 1.5,
    }  # fmt: skip
    assert first["train.epochs"] == 10
    assert (second["rank"], second["score"], second["best_epoch"]) == (None, None, None)
    assert second["reason"] == "build: no such layer"


@pytest.mark.parametrize("width", [80, 120, 200, 1000])
def test_the_table_for_a_person_has_a_line_a_trial(make_trial: Any, tmp_path: Path, width: int) -> None:
    review = open_review(write_early_stopped(tmp_path, make_trial, CURVES | {"000": [0.5, 0.3, 0.4]}))
    many = {f"a_rather_long_name_{n}": 0.123456 for n in range(6)}
    trials = tuple(replace(trial, metrics={**trial.metrics, **many}) for trial in review.trials)
    console = Console(record=True, width=width)
    print_results(replace(review, trials=trials), console)
    lines = console.export_text().splitlines()
    assert len(lines) == 1 + 1 + len(trials) + (1 if lines[-1].startswith("results --csv has") else 0)
    assert all(len(line) <= width for line in lines[:-1])
    assert [line.split()[1] for line in lines[2:6]] == ["003", "000", "001", "002"]
    assert "val_loss" in lines[1]
    assert max(map(len, lines[:-1])) < 250, "no padding where there is room"


def commit(journal: SqliteJournal, trial: Trial, value: float | None, loadable: bool) -> None:
    if value is None:
        failure = Failure(trial_id=trial.id, kind="build", message="no such layer")
        journal.commit({trial.id: failure}, {trial.id: Verdict(kind="fail")}, {})
        return
    report = Report(
        trial_id=trial.id, round=0, step=2, epoch=1, running={"loss": 0.5},
        epochs=(Epoch(number=1, metrics={"loss": 0.5, "val_accuracy": value}, ended_s=2.0),),
        turn=Turn(pid=7, started_s=1.0, ended_s=2.0, compute_s=1.0), facts=replace(FACTS, loadable=loadable),
    )  # fmt: skip
    export = Export(trial_id=trial.id, model=b"keras" if loadable else b"", weights=b"npz")
    journal.commit({trial.id: report}, {trial.id: Verdict(kind="complete")}, {trial.id: export})


def ids(folder: Path) -> list[str]:
    return [trial.id for trial in open_review(folder).trials]


@pytest.mark.parametrize(("goal", "order"), [("maximize", "10324"), ("minimize", "30124")])
def test_trials_are_ranked_and_those_without_a_value_come_last(
    make_trial: Any, tmp_path: Path, goal: str, order: str
) -> None:
    folder = write_sweep(tmp_path, make_trial, [0.8, 0.9, None, 0.7, math.nan], goal=goal)
    assert ids(folder) == [f"00{digit}" for digit in order]
    review = open_review(folder)
    assert [trial.id for trial in review.best] == [f"00{order[0]}"]
    assert [trial.score("val_accuracy") for trial in review.trials[3:]] == [None, None]


def test_equal_values_keep_the_order_of_the_trials(make_trial: Any, tmp_path: Path) -> None:
    assert ids(write_sweep(tmp_path, make_trial, [0.5, 0.7, 0.5, 0.7])) == ["001", "003", "000", "002"]


def test_each_member_has_ranks_and_a_best_of_its_own(make_trial: Any, tmp_path: Path) -> None:
    review = open_review(write_sweep(tmp_path, make_trial, [0.1, 0.9, 0.2, 0.8], members="xyxy"))
    header, rows = trial_table(review)
    place = [header.index(name) for name in ("member", "rank", "trial")]
    assert [tuple(row[index] for index in place) for row in rows] == [
        ("x", 1, "002"), ("x", 2, "000"), ("y", 1, "001"), ("y", 2, "003"),
    ]  # fmt: skip
    assert [trial.id for trial in review.best] == ["002", "001"]


def test_a_trial_that_does_not_exist_is_told_with_those_that_do(make_trial: Any, tmp_path: Path) -> None:
    review = open_review(write_sweep(tmp_path, make_trial, [0.1, 0.9]))
    assert [trial.id for trial in review.chosen("000")] == ["000"]
    with pytest.raises(SweepNotFoundError, match=r"no trial '7'.*001, 000"):
        review.chosen("7")


def test_a_filter_that_nothing_fits_is_said(make_trial: Any, tmp_path: Path) -> None:
    console = Console(record=True, width=200)
    print_results(open_review(write_sweep(tmp_path, make_trial, [0.8])), console, filters=["status=failed"])
    assert console.export_text().splitlines()[-1] == "nothing fits the filter"


def test_a_sweep_without_a_value_has_no_best(make_trial: Any, tmp_path: Path) -> None:
    with pytest.raises(SweepNotFoundError, match="no trial has ended with a value of val_accuracy"):
        open_review(write_sweep(tmp_path, make_trial, [None])).chosen(None)


def test_the_table_has_the_score_its_cost_the_settings_and_why_a_trial_ended(make_trial: Any, tmp_path: Path) -> None:
    console = Console(record=True, width=200)
    print_results(open_review(write_sweep(tmp_path, make_trial, [0.8, None, None])), console)
    lines = [line.split() for line in console.export_text().splitlines()]
    assert lines[1] == [
        "rank", "trial", "status", "val_accuracy", "epochs", "best", "epoch", "seconds", "units", "loss", "why",
    ]  # fmt: skip
    assert lines[2] == ["1", "000", "complete", "0.8", "1", "1", "1.0", "0", "0.5"]
    assert lines[3] == ["–", "001", "failed", "–", "0", "–", "0.0", "8", "–", "build"]
    assert " ".join(lines[-1]) == "001 and 1 more failed: build: no such layer"


def test_json_has_no_number_that_json_lacks(make_trial: Any, tmp_path: Path) -> None:
    text = json.dumps(sweep_summary(open_review(write_sweep(tmp_path, make_trial, [math.nan, math.inf]))))
    assert "NaN" not in text
    assert "Infinity" not in text


def test_a_sweep_is_found_by_its_id_its_beginning_and_latest(make_trial: Any, tmp_path: Path) -> None:
    for number, name in enumerate(("a-1", "a-12", "b-2")):
        folder = write_sweep(tmp_path, make_trial, [0.5], name=name, created_ms=number)
        os.utime(folder / "journal.db")
    assert find_sweep("b", tmp_path).name == "b-2"
    assert find_sweep("a-1", tmp_path).name == "a-1"
    assert find_sweep("latest", tmp_path).name == "b-2"
    assert [review.sweep.id for review in list_sweeps(tmp_path)] == ["b-2", "a-12", "a-1"]
    with pytest.raises(SweepNotFoundError, match=r"ambiguous.*a-1"):
        find_sweep("a", tmp_path)
    with pytest.raises(SweepNotFoundError, match=r"not found.*there: b-2"):
        find_sweep("c", tmp_path)


@pytest.mark.parametrize("name", ["latest", "a"])
def test_a_folder_without_sweeps_says_how_to_make_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(SweepNotFoundError, match="there is no sweep here yet; `python -m runner sweep` makes one"):
        find_sweep(name, tmp_path / "sweeps")


def test_an_export_has_model_weights_source_and_how_to_rebuild_it(make_trial: Any, tmp_path: Path) -> None:
    review = open_review(write_sweep(tmp_path, make_trial, [0.5, 0.8]))
    target = tmp_path / "out" / "best"
    written = {str(path.relative_to(target)) for path in export_model(review, review.best[0], target)}
    assert written == {"model.keras", "weights.npz", "source/a.py", "source/lib/b.py", "rebuild.py", "trial.json"}
    assert all((target / name).is_file() for name in written)
    assert (target / "source/lib/b.py").read_text(encoding="utf-8") == "y = 2\n"
    script = (target / "rebuild.py").read_text(encoding="utf-8")
    compile(script, "rebuild.py", "exec")
    assert "experiment.build_model(**{'units': 8})" in script
    assert "set_random_seed(1)" in script
    assert "load_model" in how_to_load(target)


def test_a_model_that_plain_keras_cannot_load_is_exported_without_its_file(make_trial: Any, tmp_path: Path) -> None:
    review = open_review(write_sweep(tmp_path, make_trial, [0.5], loadable=False))
    export_model(review, review.best[0], tmp_path / "out")
    assert not (tmp_path / "out" / "model.keras").exists()
    assert f"python {tmp_path / 'out' / 'rebuild.py'}" in how_to_load(tmp_path / "out")


def test_an_export_overwrites_nothing(make_trial: Any, tmp_path: Path) -> None:
    review = open_review(write_sweep(tmp_path, make_trial, [0.5]))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="not empty"):
        export_model(review, review.best[0], tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["thesis.txt"]


def test_an_export_to_a_folder_in_use_names_it_once(
    make_trial: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_sweep(Path("sweeps"), make_trial, [0.5])
    Path("best").mkdir()
    Path("best/thesis.txt").touch()
    Path("file").touch()
    for target, problem in (("best", "the folder is not empty; name a new one"), ("file", "Not a directory")):
        ended = CliRunner().invoke(cli, ["best", "--export", target])
        assert (ended.exit_code, ended.stderr) == (2, f"error: --export {target}: {problem}\n")


def test_a_trial_without_a_model_cannot_be_exported(make_trial: Any, tmp_path: Path) -> None:
    review = open_review(write_sweep(tmp_path, make_trial, [None]))
    with pytest.raises(SweepNotFoundError, match="has no model: it is failed"):
        export_model(review, review.trials[0], tmp_path / "out")


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({}, {"train.batch_size": 32, "train.compile": "graph"}),
        ({"rows": None, "program": "stream"}, {"train.compile": "graph"}),
        ({"compile": "eager", "program": "plain"}, {"train.batch_size": 32, "train.compile": "eager"}),
        ({"compile": "xla"}, {"train.batch_size": 32, "train.compile": "xla"}),
    ],
)
def test_a_setting_that_a_trial_does_not_use_is_not_said_of_it(
    make_trial: Any, tmp_path: Path, changed: dict[str, Any], wanted: dict[str, Any]
) -> None:
    review = open_review(write_sweep(tmp_path, make_trial, [0.5]))
    (trial,) = review.trials
    assert trial.facts is not None
    known = replace(trial, facts=replace(trial.facts, **changed))
    assert {key: known.used_settings[key] for key in UNSURE if key in known.used_settings} == wanted
    assert late_params(known) == {key: str(value) for key, value in wanted.items()}
    assert not late_params(replace(known, facts=None))
    header, _ = trial_table(replace(review, trials=(known,)))
    assert ("train.batch_size" in header) == ("train.batch_size" in wanted)


@pytest.mark.parametrize("required", [True, False])
def test_what_a_store_lacks_is_an_error_only_where_the_store_is_required(
    make_trial: Any, tmp_path: Path, required: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_sweep(tmp_path, make_trial, [0.5])
    outcome = Outcome(folder=folder, failed=0, problem="lacks all", is_error=required)
    with shown("text") as show:
        pass
    if required:
        with pytest.raises(TrackingError, match="lacks all"):
            show.end(outcome, with_times=False)
    else:
        assert show.end(outcome, with_times=False) == 0
        assert "lacks all" in capsys.readouterr().out


def test_the_best_is_of_the_setting_with_the_best_mean(tmp_path: Path) -> None:
    """The lucky seed of a bad setting is not the best."""
    from small_journal import begin, report, sweep, trial

    trials = tuple(
        replace(trial(number, units=units), seed=number, searched=("units", "seed"))
        for number, units in enumerate((4, 4, 8, 8))
    )
    scores = (1.0, 0.0, 0.9, 0.8)
    with SqliteJournal(tmp_path, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(sweep("sqlite:///m.db"), trials)
        begin(journal, 0, 1, 2, 3)
        reports = {f"{n:03}": report(n, 0, scores[n], epoch=1) for n in range(4)}
        journal.commit(reports, dict.fromkeys(reports, Verdict(kind="complete")), {})
    review = open_review(tmp_path)
    assert review.trials[0].id == "000", "trials are listed by their own scores"
    assert [one.id for one in review.best] == [one.id for one in review.leaders] == ["002"]
    (first, second) = sweep_summary(review)["by_setting"]  # type: ignore[misc]
    assert (first["trials"], first["mean"]) == (["002", "003"], pytest.approx(0.85))
    assert second["rank"] == 2
    with Ledger(tmp_path, HOME) as ledger:
        found = ledger.best(review.sweep)
        assert found is not None
        assert (found[0].id, found[1]) == ("002", 0.9)
    note = sweep_note(review.sweep, review.trials)
    assert note.startswith("**Trial 002** is best: `val_accuracy` **0.9**; its setting has the best mean, 0.85 of 2 (")
    assert outcome_of(tmp_path)["trial"] == "002"
    console = Console(record=True, width=120)
    print_sweeps([review], console)
    assert "0.85 (mean of 2, trial 002)" in console.export_text()


def test_a_mixed_sweep_has_the_same_best_trial_everywhere(tmp_path: Path) -> None:
    from test_sweeps_compared import write_mixed

    write_mixed(tmp_path / "a-1")
    review = open_review(tmp_path / "a-1")
    assert sweep_note(review.sweep, review.trials).startswith("**Trial 000** is best of x: `val_accuracy` **0.5** (")
    assert outcome_of(review.folder)["trial"] == review.best[0].id == "000"
    with Ledger(review.folder, HOME) as ledger:
        found = ledger.best(review.sweep)
    assert found is not None
    assert found[0].id == "000"


def test_a_sweeps_own_name_is_enough_if_another_begins_with_it(tmp_path: Path) -> None:
    for name in ("cl-20261128-010101-abcd", "clock-20261128-010101-abcd"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "journal.db").write_bytes(b"")
    assert find_sweep("cl", tmp_path).name == "cl-20261128-010101-abcd"
    with pytest.raises(SweepNotFoundError, match="ambiguous"):
        find_sweep("c", tmp_path)


def test_parameters_with_keys_that_json_lacks_are_recorded_and_shown(make_trial: Any, tmp_path: Path) -> None:
    """A dict may have tuples as keys, which JSON lacks, or keys of several kinds, which have no order."""
    shapes = {(1, 2): 3, "a": {1: 2.0, None: (4,)}}
    made = replace(make_trial(id="000", params={"shapes": shapes}), searched=("shapes",), data_params=("shapes",))
    with SqliteJournal(tmp_path, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(small_record("sqlite:///m.db"), (made,))
    (read,) = open_review(tmp_path).trials
    assert read.trial.params == {"shapes": shapes}
    assert read.trial.setting == made.setting
    assert read.settings["shapes"] == {"(1, 2)": 3, "a": {"1": 2.0, "null": [4]}}
    assert run_name(read, "loss") == '000 shapes={"(1, 2)": 3, "a": …'

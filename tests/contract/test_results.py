"""What a Python program may do with a recorded sweep: everything that the command line can."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from barriers import AtBarriers

import runner
from runner.driver import doctor
from runner.errors import SweepNotFoundError, TrialEndedError
from runner.journal import locked
from runner.review.timeline import Overheads

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "digits_mlp.py"
SETTINGS: dict[str, Any] = {
    "space": {"learning_rate": runner.loguniform(1e-4, 1e-1)},
    "params": {"dropout": 0.0, "units": 8},
    "train": {"epochs": 2, "steps_per_epoch": 3, "compile": "graph"},
    "search": {"max_trials": 2, "sampler": "random", "metric": "val_accuracy"},
    "fleet": {"kind": "local"},
    "tracking": {"uri": "sqlite:///m.db"},
    "keep": {"snapshots": True},
    "name": "digits",
    "progress": "none",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> runner.Result:
    """A sweep that has ended, and grows: tests have trials of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("results"))
        return runner.sweep(EXPERIMENT, root=Path.cwd() / "sweeps", **SETTINGS)


@pytest.fixture(autouse=True)
def _there(ended: runner.Result, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ended.folder.parents[1])


def test_a_sweep_leaves_its_page_and_figures_and_mlflow_has_the_page_once(ended: runner.Result) -> None:
    page = ended.report_file.read_text(encoding="utf-8")
    assert f"trial {ended.best.id}</strong>" in page
    assert re.search(r"<h1>digits-[^<]+</h1>\s+<p class=\"quiet\">complete · maximize val_accuracy", page)
    assert 'id="history"' in page
    (sent,) = Path("mlartifacts").rglob("report.html")
    assert sent.samefile(ended.report_file), "without a copy"
    spent = dict(zip(*(ended.figures.times().data[0][axis] for axis in "yx"), strict=True))
    assert 0 < spent["training"] < ended.overheads.training_s


def test_a_page_that_cannot_be_written_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("runner.driver.train.write_report", full)
    settings = {**SETTINGS, "tracking": {"uri": f"sqlite:///{tmp_path}/m.db"}, "search": {"max_trials": 1}}
    result = runner.sweep(EXPERIMENT, root=tmp_path / "sweeps", **settings)
    assert result.status == "complete"
    assert not result.report_file.exists()
    assert "the report could not be written (OSError(28, 'No space left on device'))" in caplog.text
    assert f"`python -m runner report {result.id}` tries again" in caplog.text


def test_trials_are_added_and_cloned(ended: runner.Result) -> None:
    name = ended.id
    resumed = f"obeyed by:  python -m runner resume {name}"
    assert str(ended.add(1)) == f"{name}: add 1: {resumed}"
    assert str(ended.add({"units": 4, "learning_rate": 0.5})) == f"{name}: add units=4 learning_rate=0.5: {resumed}"
    assert str(ended.clone("000", {"learning_rate": 0.01}, at_epoch=1)) == f"{name}: clone of 000: {resumed}"
    grown = runner.resume(ended, progress="none").trials
    assert len(grown) == 5
    assert ("units", 4) in [("units", value) for value in grown["units"]]
    assert 0.5 in set(grown["learning_rate"])
    assert grown["lineage"].str.contains("000").sum() == 1


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda one: one.add(0), "0: adds no trial; give a number above 0"),
        (lambda one: one.add({"unitz": 1}), "unitz"),
        (lambda one: one.clone("000"), "trial 000 has trained all of its 2 epochs"),
        (
            lambda one: one.clone("000", {"train.epochs": 3}, at_epoch=1),
            "train.epochs: a clone keeps its seed",
        ),
        (lambda one: one.pause(), "no trial is named; name one or several by id"),
        (lambda one: one.export("."), r"\.: the folder is not empty; name a new one"),
    ],
)
def test_what_cannot_be_asked_is_a_config_error(
    ended: runner.Result, ask: Callable[[runner.Result], object], message: str
) -> None:
    with pytest.raises(runner.ConfigError, match=message):
        ask(ended)


def test_ended_trials_take_no_requests(ended: runner.Result) -> None:
    for ask in (ended.stop, ended.pause):
        with pytest.raises(TrialEndedError, match="trial 001 has ended: complete"):
            ask("001")
    with pytest.raises(TrialEndedError, match="trial 001 is complete; `resume --more-epochs N` trains it longer"):
        ended.go_on("001")
    with pytest.raises(SweepNotFoundError, match="has no trial '999'"):
        ended.stop("999")
    assert str(ended.stop()) == f"{ended.id}: stop: the sweep is not running"
    with locked(ended.folder):
        asked = ended.stop()
    assert (asked.running, str(asked)) == (True, f"{ended.id}: stop: the sweep obeys at its next barrier")


def test_a_running_sweep_pauses_a_trial_until_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(number: int) -> None:
        if number == 1:
            runner.load(root="paused").pause("001")

    with monkeypatch.context() as patch:
        patch.setattr("runner.api.contexts.watcher_for", lambda shows: AtBarriers(ask))
        paused = runner.sweep(EXPERIMENT, "train.steps_per_round=1", "schedule=rotate", root="paused", **SETTINGS)
    assert paused.status == "killed"
    assert [one.status for one in map(paused.trial, ("000", "001"))] == ["complete", "killed"]
    assert str(paused.go_on("001")).startswith(f"{paused.id}: continue of 001: obeyed by")
    assert runner.resume(paused, root="paused").status == "complete"


def test_a_trial_is_replayed_and_exported(ended: runner.Result) -> None:
    found = ended.replay("001", progress="none")
    assert found.is_same
    assert "every metric is as recorded, bit for bit" in list(found.lines())
    exported = ended.export("exported", "001")
    assert {path.name for path in exported.files} >= {"model.keras", "weights.npz", "rebuild.py", "digits_mlp.py"}
    assert exported.how_to_load.endswith("keras.models.load_model('exported/model.keras')")
    assert exported.warning is None


def test_its_tables_need_no_pandas(ended: runner.Result) -> None:
    header, rows = ended.table()
    assert [row[header.index("trial")] for row in rows] == list(ended.trials.index)
    assert ended.summary["id"] == ended.id
    assert [one["trial"] for one in ended.summaries(["001"])] == ["001"]
    assert isinstance(ended.overheads, Overheads)
    assert str(ended.overheads).startswith("start-up ")
    assert ended.write_timeline() == ended.folder / "timeline.json"


def test_what_is_not_needed_is_removed_last(ended: runner.Result) -> None:
    assert ended.sync() == "MLflow at sqlite:///m.db"
    would = ended.clean(models=1, dry_run=True)
    shared = sum(one for _, _, one in would.removed)
    assert shared > 0, "MLflow has the models as the same files"
    assert would.freed_bytes + shared == sum(size for _, size, _ in would.removed)
    assert list(would.lines())[-1].startswith(f"{ended.id}: would free ")
    done = ended.clean(models=1)
    assert done.removed == would.removed
    assert list(done.lines())[-1].startswith(f"{ended.id}: freed ")
    assert not list(ended.folder.glob("snapshots/*/*"))
    assert len(list(ended.folder.glob("models/*.keras"))) == 1


def test_the_doctor_examines_the_store_of_the_latest_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = doctor.Finding(part="MLflow", status="ok", found="")
    asked: list[str] = []
    monkeypatch.setattr(doctor, "examine", lambda uri, _: [asked.append(uri), finding][1:])
    assert runner.doctor() == [finding]
    assert runner.doctor("sqlite:///other.db") == [finding]
    assert asked == ["sqlite:///m.db", "sqlite:///other.db"]

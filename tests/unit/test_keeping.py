"""Models that are kept and models that go, and what `clean` removes of a sweep that has ended."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from runner.cli import cli
from runner.config import config_to_yaml, load_config
from runner.driver import record, resume
from runner.driver.clean import clean
from runner.driver.context import Context
from runner.driver.resume_state import Asked
from runner.errors import SweepBusyError, SweepNotFoundError
from runner.journal import JournalReader, SqliteJournal, SweepRecord, locked, staging_folder
from runner.journal.kept_models import KeptModels
from runner.journal.snapshots import SnapshotStore
from runner.records import Allocation, Epoch, Export, Report, Snapshot, Turn, Verdict, Work
from runner.review.catalog import open_review
from runner.review.export import export_model
from runner.tracking.ledger import HOME, Ledger
from runner.views.watchers import Silent

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "digits_mlp.py"
SWEEP = SweepRecord(
    id="a-1", name="a", created_ms=0, metric="val_accuracy", goal="maximize", config="", command="", tracking_uri="",
    mlflow_experiment="", versions={},
)  # fmt: skip
VALUES = [0.5, 0.9, float("nan"), 0.7, 0.9, 0.1]


class Sweep:
    """A sweep of one trial a barrier."""

    def __init__(self, folder: Path, make_trial: Any, members: str = "aaaaaa") -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.trials = [replace(make_trial(id=f"{i:03}"), member=members[i]) for i in range(len(members))]
        with self.journal() as journal:
            journal.create(SWEEP, tuple(self.trials))

    @contextmanager
    def journal(self, stay: bool = True) -> Iterator[SqliteJournal]:
        with SqliteJournal(self.folder, {0: Allocation(num_cpus=1)}, models_stay=stay) as journal:
            yield journal

    def end(self, journal: Any, number: int, value: float, content: bytes | Path = b"m") -> None:
        trial = self.trials[number].id
        report = Report(
            trial_id=trial, round=0, step=2, epoch=1, running={},
            epochs=(Epoch(number=1, metrics={"val_accuracy": value}, ended_s=2.0),),
            turn=Turn(pid=7, started_s=1.0, ended_s=2.0, compute_s=1.0),
        )  # fmt: skip
        export = Export(trial_id=trial, model=content, weights=b"w", test_metrics={"test_loss": 0.5})
        journal.assign({0: (Work(trial=self.trials[number], round=0),)})
        journal.commit({trial: report}, {trial: Verdict(kind="complete")}, {trial: export})

    @property
    def models(self) -> set[str]:
        """Trials whose model the journal names; its files, and no others, are there."""
        with JournalReader(self.folder) as reader:
            trials = [trial for trial in reader.trials() if trial.weights is not None]
        names = {name for trial in trials for name in (trial.model, trial.weights)}
        folder = self.folder / "models"
        assert {f"models/{path.name}" for path in (folder.iterdir() if folder.exists() else ())} == names
        return {trial.id for trial in trials}


@pytest.fixture
def sweep(tmp_path: Path, make_trial: Any) -> Sweep:
    return Sweep(tmp_path / "sweeps" / "a-1", make_trial)


def test_the_models_of_the_best_stay_at_every_moment(sweep: Sweep) -> None:
    seen = []
    with sweep.journal(stay=False) as journal:
        kept = KeptModels(journal, sweep.folder, 2)
        for number, value in enumerate(VALUES):
            sweep.end(kept, number, value)
            seen.append("".join(sorted(trial[-1] for trial in sweep.models)))
        journal.end("complete")
    assert seen == ["0", "01", "01", "13", "14", "14"], "of equals the first, one without a score last"
    assert {trial.status for trial in open_review(sweep.folder).trials} == {"complete"}


def test_each_member_keeps_its_best(tmp_path: Path, make_trial: Any) -> None:
    sweep = Sweep(tmp_path / "a-1", make_trial, members="xyxyxy")
    with sweep.journal(stay=False) as journal:
        kept = KeptModels(journal, sweep.folder, 1)
        for number, value in enumerate(VALUES):
            sweep.end(kept, number, value)
    assert sweep.models == {"001", "004"}


def test_of_none_no_model_is_ever_written_and_results_know_the_best(sweep: Sweep) -> None:
    file = staging_folder(sweep.folder) / "000.keras"
    file.write_bytes(b"m")
    with sweep.journal() as journal:
        kept = KeptModels(journal, sweep.folder, "none")
        sweep.end(kept, 0, 0.5, content=file)
        assert not file.exists()
        sweep.end(kept, 1, 0.9)
        assert sweep.models == set()
        journal.end("complete")
    review = open_review(sweep.folder)
    (best,) = review.chosen(None)
    assert (best.id, best.metrics["test_loss"]) == ("001", 0.5)
    with pytest.raises(SweepNotFoundError, match=r"001 of a-1 has no model: it was not kept \(keep\.models.*: none"):
        export_model(review, best, sweep.folder / "out")


def test_a_driver_that_was_killed_leaves_one_model_too_many_which_the_next_removes(sweep: Sweep) -> None:
    with sweep.journal(stay=False) as journal:
        for number in range(3):
            sweep.end(journal, number, VALUES[number])
        assert sweep.models == {"000", "001", "002"}
        KeptModels(journal, sweep.folder, 1)
        assert sweep.models == {"001"}


class Resumed:
    """`resume` of a sweep of which nothing is left to train, in a folder of its own; MLflow does not follow."""

    def __init__(self, sweep: Sweep, monkeypatch: pytest.MonkeyPatch, *settings: str) -> None:
        config = load_config(str(EXPERIMENT), [*settings, "fleet.kind=local"], config_dir=None)
        (sweep.folder / "config.yaml").write_text(config_to_yaml(config), encoding="utf-8")
        self.folder, self.addresses = sweep.folder, []

        @contextmanager
        def followed(folder: Path, uri: str, *_: object, **__: object) -> Iterator[SimpleNamespace]:
            self.addresses.append(uri)
            yield SimpleNamespace(problem=None)

        def check(uri: str, _: object) -> SimpleNamespace:
            self.addresses.append(uri)
            return SimpleNamespace(problem=lambda: None)

        monkeypatch.setattr(record, "followed_by_mlflow", followed)
        monkeypatch.setattr(resume, "StoreCheck", check)

    def run(self, **environment: str) -> int:
        context = Context(watcher=Silent(), environment=environment)
        return resume.resume(self.folder, Asked(), context).failed


def test_a_resume_with_nothing_left_to_train_keeps_the_best_alone(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sweep.journal(stay=False) as journal:
        for number in range(6):
            sweep.end(journal, number, VALUES[number])  # and the driver is killed before a model goes
    assert Resumed(sweep, monkeypatch, "keep.models=2").run() == 0
    assert sweep.models == {"001", "004"}
    with Ledger(sweep.folder, HOME) as ledger:
        assert [due.id for due in ledger.due() if due.has_model] == ["001", "004"]


def test_a_resume_uses_the_credentials_that_the_sweep_was_given(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    with sweep.journal() as journal:
        for number in range(6):
            sweep.end(journal, number, VALUES[number])
    resumed = Resumed(sweep, monkeypatch, "tracking.uri=http://host:5000")
    resumed.run(MLFLOW_TRACKING_URI="http://me:hunter22@host:5000")
    assert resumed.addresses == ["http://me:hunter22@host:5000"] * 2


def whole(sweep: Sweep) -> None:
    """All trials have ended but the last; the first's model is MLflow's too; snapshots and remains are there."""
    with sweep.journal() as journal:
        for number in range(5):
            sweep.end(journal, number, VALUES[number], content=b"m" * 2**20)
        journal.assign({0: (Work(trial=sweep.trials[5], round=0),)})
        journal.end("killed")
    os.link(sweep.folder / "models" / "000.keras", sweep.folder.parent / "store")
    (sweep.folder / "models" / "009.keras.partial").write_bytes(b"p" * 2**19)
    (staging_folder(sweep.folder) / "005.state.npz").write_bytes(b"s" * 2**19)
    store = SnapshotStore(sweep.folder, {}, pytest.fail)
    for number in (3, 5):
        store.write(sweep.trials[number], Snapshot(trial_id=f"00{number}", round=1, step=1, state=b"s" * 2**20))


def test_clean_removes_what_nothing_needs_and_says_what_that_frees(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole(sweep)
    monkeypatch.chdir(sweep.folder.parents[1])
    run = CliRunner().invoke
    (sweep.folder / "lock").touch()
    before = sorted(path.name for path in sweep.folder.rglob("*"))
    told = run(cli, ["clean", "a-1", "--models", "1", "--dry-run"]).output
    assert sorted(path.name for path in sweep.folder.rglob("*")) == before
    assert told.splitlines() == [
        "snapshots of 2 trials: 2.0 MiB",
        "files that an interrupted sweep has left: 1.0 MiB",
        "models of 4 trials: 4.0 MiB, of which MLflow has 1.0 MiB as the same files",
        "`resume` would train 1 trial from the beginning, with the same results",
        "a-1: would free 6.0 MiB",
    ]
    assert run(cli, ["clean", "a-1"]).output.splitlines()[-2:] == [
        "`resume` will train 1 trial from the beginning, with the same results",
        "a-1: freed 3.0 MiB",
    ]
    assert sweep.models == {f"00{number}" for number in range(5)}
    assert not list((sweep.folder / "snapshots").iterdir())
    assert run(cli, ["clean", "a-1", "--models", "1"]).output.endswith("a-1: freed 3.0 MiB\n")
    assert sweep.models == {"001"}
    assert (sweep.folder.parent / "store").read_bytes() == b"m" * 2**20
    assert run(cli, ["clean", "a-1", "--models", "0"]).exit_code == 0
    assert sweep.models == set()
    assert run(cli, ["clean", "a-1"]).output == "a-1: freed 0.0 MiB\n"


def test_clean_removes_what_callbacks_have_written_if_that_is_asked_for(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole(sweep)
    monkeypatch.chdir(sweep.folder.parents[1])
    for name in ("000", "001", "003", "999"):  # the last one is of no trial
        (sweep.folder / "files" / name / "deep").mkdir(parents=True)
        (sweep.folder / "files" / name / "deep" / "log.csv").write_bytes(b"f" * 2**20)

    def left() -> set[str]:
        return {path.name for path in (sweep.folder / "files").iterdir()}

    told = CliRunner().invoke(cli, ["clean", "a-1"]).output
    assert "files that an interrupted sweep has left: 2.0 MiB" in told
    assert left() == {"000", "001", "003"}
    told = CliRunner().invoke(cli, ["clean", "a-1", "--files", "1"]).output
    assert "files that callbacks of 2 trials have written: 2.0 MiB" in told
    assert left() == {"001"}, "the best one's"


def test_clean_removes_code_of_functions_that_no_sweep_needs(sweep: Sweep) -> None:
    whole(sweep)
    code = sweep.folder.parent / ".code"
    for name in ("old", "new"):
        (code / name).mkdir(parents=True)
        (code / name / "notebook.py").write_text("pass\n")
    os.utime(code / "old", (0, 0))
    other = sweep.folder.parent / "b-1"
    other.mkdir()
    with locked(other):
        clean(sweep.folder, None, dry_run=False)
    assert (code / "old").exists(), "a sweep runs"
    removed = clean(sweep.folder, None, dry_run=False)
    assert [one.what for one in removed] == [
        f"code of functions, of which each sweep has a copy, in {code.parent.name}/.code"
    ]
    assert [path.name for path in code.iterdir()] == ["new"]


def test_a_running_sweep_is_not_cleaned(sweep: Sweep) -> None:
    whole(sweep)
    with locked(sweep.folder), pytest.raises(SweepBusyError) as refused:
        clean(sweep.folder, 0, dry_run=False)
    assert refused.value.exit_code == 2
    assert len(list((sweep.folder / "snapshots").iterdir())) == 2

"""`driver.run` as a library calls it: it prints nothing, exits nowhere, and leaves signals alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.config import load_config
from runner.driver.context import Context
from runner.driver.resume import resume
from runner.driver.resume_state import Asked
from runner.driver.run import run
from runner.journal import JournalReader
from runner.loop.interfaces import Watcher
from runner.records import Trial
from runner.views.progress import Progress
from runner.views.watchers import Silent

EXPERIMENT = Path(__file__).parents[2] / "experiments" / "digits_mlp.py"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Following(Silent):
    """Keeps the trials that the sweep began with, and asks it to stop after some barriers."""

    def __init__(self) -> None:
        super().__init__()
        self.trials: Sequence[Trial] = ()
        self.context: Context | None = None
        self.barriers_left: int | None = None

    @contextmanager
    def rounds(self, progress: Progress) -> Iterator[Watcher]:
        self.trials = self.trials or tuple(progress.trials)
        with super().rounds(progress) as seen:
            really = seen.show

            def show(reports: Any, verdicts: Any) -> None:
                really(reports, verdicts)
                if self.barriers_left is not None and self.context is not None:
                    self.barriers_left -= 1
                    if self.barriers_left == 0:
                        self.context.stop.make()

            seen.show = show  # type: ignore[method-assign]
            yield seen


class AddsOne:
    """Adds a copy of the first trial with another seed at the first barrier."""

    def __init__(self, watcher: Following) -> None:
        self._watcher, self._added = watcher, False

    def propose(self, reports: Mapping[str, Any], verdicts: Mapping[str, Any]) -> tuple[Trial, ...]:
        if self._added:
            return ()
        self._added = True
        return (replace(self._watcher.trials[0], id="777", index=777, seed=777),)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    own = ["fleet.kind=local", "params.units=8", "train.epochs=2", "train.steps_per_round=45", "train.compile=graph"]
    return [
        *own,
        "search.space={}",
        "params.learning_rate=0.01",
        "params.dropout=0.0",
        f"tracking.uri=sqlite:///{tmp_path}/m.db",
    ]


def sweep(settings: list[str], root: Path, *, stop_after: int | None = None, adds: bool = False) -> Path:
    watcher = Following()
    context = Context(watcher=watcher)
    watcher.context, watcher.barriers_left = context, stop_after
    config = load_config(str(EXPERIMENT), settings, config_dir=None)
    try:
        return run(config, context, root=root, proposer=AddsOne(watcher) if adds else None).folder
    except KeyboardInterrupt:
        (folder,) = root.iterdir()
        return folder


def values(folder: Path) -> dict[tuple[str, str, int], float]:
    with JournalReader(folder) as reader:
        return {(row.trial, row.key, row.step): row.value for row in reader.metrics()}


def test_a_sweep_in_this_process_prints_nothing_and_leaves_signals_alone(
    settings: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(number) for number in STOPPING]
    folder = sweep(settings, tmp_path / "sweeps")
    assert [signal.getsignal(number) for number in STOPPING] == before
    assert capsys.readouterr().out == ""
    with JournalReader(folder) as reader:
        assert reader.sweep().status == "complete"
        assert [decision.kind for decision in reader.decisions("000")] == ["complete"]


def test_a_trial_that_joined_a_sweep_that_was_stopped_is_trained_by_resume_as_in_one_that_was_not(
    settings: list[str], tmp_path: Path
) -> None:
    undisturbed = sweep(settings, tmp_path / "a", adds=True)
    stopped = sweep(settings, tmp_path / "b", adds=True, stop_after=1)
    with JournalReader(stopped) as reader:
        assert [(trial.id, trial.status) for trial in reader.trials()] == [("000", "killed"), ("777", "killed")]
    outcome = resume(stopped, Asked(), Context(watcher=Silent()))
    assert (outcome.failed, outcome.problem) == (0, "")
    assert values(stopped) == values(undisturbed)
    assert {trial for trial, _, _ in values(stopped)} == {"000", "777"}
    with JournalReader(stopped) as reader:
        assert all(trial.run_id for trial in reader.trials()), "MLflow has a run of the trial that joined"

"""`sweep` from the command line to MLflow: real Ray, TensorFlow and MLflow."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
from command_line import Ended, Folder, Record, Tracked, make_folder, read_journal

EPOCHS, STEPS = 12, 45
pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def record(demo: tuple[Folder, Ended]) -> Record:
    (sweep,) = demo[0].sweeps
    return read_journal(sweep)


@pytest.fixture(scope="module")
def tracked(demo: tuple[Folder, Ended], record: Record) -> Tracked:
    return Tracked(demo[0], record.sweep.id)


def test_the_demo_prints_a_line_a_trial_and_the_ranked_trials(demo: tuple[Folder, Ended], record: Record) -> None:
    out = demo[1].out
    print(f"first row {demo[1].first_s(' complete after '):.1f} s, end {demo[1].rows_s[-1]:.1f} s after the start")
    assert "\x1b" not in out, "no colours, no redrawing: this is not a terminal"
    assert sum(" complete after epoch 12/12 · " in line for line in out.splitlines()) == len(record.trials)
    assert f"sweep {record.sweep.id}, in sweeps/{record.sweep.id}" in out.splitlines()
    assert demo[1].err == ""
    table = out[out.index(" rank ") :].splitlines()
    scores = [float(line.split()[3]) for line in table[1:9]]
    assert scores == sorted(scores, reverse=True)
    assert [line.split()[0] for line in table[1:9]] == [str(rank) for rank in range(1, 9)]
    assert scores[0] >= 0.95
    assert table[9].startswith("Trained ")
    assert re.fullmatch(r"all figures:  sweeps/digits-[\w-]+/report.html", table[10])
    assert table[11] == "review in the browser:  python -m runner ui"
    assert (demo[0].path / table[10].split()[-1]).stat().st_size > 4_000_000


def test_the_demo_trains_every_combination_to_its_end(record: Record) -> None:
    assert {trial.status for trial in record.trials.values()} == {"complete"}
    assert record.sweep.status == "complete"
    names = ("units", "learning_rate", "dropout")
    found = [tuple(trial.settings[name] for name in names) for trial in record.trials.values()]
    assert found == list(itertools.product((64, 128), (1e-3, 3e-3), (0.0, 0.2)))


def test_mlflow_has_one_run_a_trial_below_the_sweeps(tracked: Tracked, record: Record) -> None:
    assert set(tracked.children) == set(record.trials)
    assert tracked.parent.info.status == "FINISHED"
    for trial_id, run in tracked.children.items():
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == tracked.parent.info.run_id
        assert run.info.run_id == record.trials[trial_id].run_id
        assert run.data.params["units"] == str(record.trials[trial_id].settings["units"])
        assert run.data.params["train.epochs"] == str(EPOCHS)


def test_mlflow_has_every_value_once_and_no_rounds_of_whole_epochs(tracked: Tracked, record: Record) -> None:
    for trial_id in record.trials:
        rows = tracked.history(trial_id)
        assert rows == record.shown(trial_id)
        steps = {key: [step for name, step, _ in rows if name == key] for key, _, _ in rows}
        turns = [turn.step for turn in record.turns if turn.trial == trial_id]
        assert [step for trial, key, step in record.rows if (trial, key) == (trial_id, "round/loss")] == turns
        assert turns[-1] == STEPS * EPOCHS
        assert "round/loss" not in steps
        for name in ("loss", "accuracy", "val_loss", "val_accuracy", "optimizer/learning_rate"):
            assert steps[name] == list(range(1, EPOCHS + 1))


def test_the_runs_say_who_ran_what(tracked: Tracked) -> None:
    for run in (tracked.parent, *tracked.children.values()):
        assert run.data.tags["mlflow.user"]
        assert run.data.tags["mlflow.source.name"].endswith("experiments/digits_mlp.py")
    assert tracked.parent.data.tags["version.keras"]
    assert {"config.yaml", "command.txt"} <= tracked.files(tracked.parent)
    files = tracked.files(tracked.children["000"])
    assert {"model_summary.txt", "source/digits_mlp.py", "model/model.keras"} <= files


def test_the_sweeps_run_names_the_best_trial(tracked: Tracked, record: Record) -> None:
    best = tracked.parent.data.tags["best.trial"]
    scores = {trial_id: trial.metrics["val_accuracy"] for trial_id, trial in record.trials.items()}
    assert scores[best] == max(scores.values())


@pytest.mark.slow
def test_the_local_fleet_gives_the_same_numbers(record: Record, folder: Folder) -> None:
    settings = ("params.units=64", "params.learning_rate=1e-3", "params.dropout=0.2", "train.epochs=3")
    folder.run("sweep", *settings, "fleet.kind=local")
    (sweep,) = folder.sweeps
    rows = read_journal(sweep).rows
    alone = {(key, epoch): value for (_, key, epoch), value in rows.items() if not key.startswith("round/")}
    among = {(key, step): value for (trial, key, step), value in record.rows.items() if trial == "001"}
    assert len(alone) == 3 * 5
    assert alone == {place: among[place] for place in alone}


# --- three models -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three_models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Record]:
    folder = make_folder(tmp_path_factory.mktemp("three"), warm=True)
    ended = folder.run("sweep", "experiment=three_models")
    (sweep,) = folder.sweeps
    return ended, read_journal(sweep)


def test_three_models_report_their_loss_in_every_round(three_models: tuple[Ended, Record]) -> None:
    ended, record = three_models
    assert len(record.trials) == 3
    for trial_id in record.trials:
        steps = [step for trial, key, step in record.rows if (trial, key) == (trial_id, "round/loss")]
        assert steps == [5 * number for number in range(1, 21)]
        assert len(re.findall(rf"^\S+ \S+ trial {trial_id} complete after epoch", ended.out, flags=re.MULTILINE)) == 1


def test_no_turn_crosses_a_barrier(three_models: tuple[Ended, Record]) -> None:
    rounds = [[turn for turn in three_models[1].turns if turn.round == number] for number in range(20)]
    assert {len(turns) for turns in rounds} == {3}
    for earlier, later in itertools.pairwise(rounds):
        assert max(turn.turn.ended_s for turn in earlier) <= min(turn.turn.started_s for turn in later)


def test_three_models_learn(three_models: tuple[Ended, Record]) -> None:
    for trial_id in three_models[1].trials:
        first = three_models[1].rows[trial_id, "round/loss", 5]
        assert three_models[1].rows[trial_id, "loss", 5] <= first / 2


def test_three_models_live_in_three_processes_with_data_of_their_own(three_models: tuple[Ended, Record]) -> None:
    record = three_models[1]
    pids = {trial_id: {turn.turn.pid for turn in record.turns if turn.trial == trial_id} for trial_id in record.trials}
    assert all(len(found) == 1 for found in pids.values())
    assert len(set.union(*pids.values())) == 3
    shapes = {(trial.settings["features"], trial.settings["classes"]) for trial in record.trials.values()}
    assert shapes == {(32, 10), (64, 5), (16, 2)}


# --- some settings fail -----------------------------------------------------------------------------------------------

TOKEN = "hunter22hunter22"
PICKY = """
import os
from pathlib import Path

import keras
import numpy as np

from runner import Data


def load_data(scale: float = 1.0):
    with (Path(__file__).parent / "loads.txt").open("a") as file:
        file.write(f"{scale}\\n")
    x = np.linspace(0.0, scale, 128, dtype="float32").reshape(32, 4)
    return Data(train=(x, x.sum(axis=1)))


def build_model(units: int = 4, note: str = "") -> keras.Model:
    if units == 13:
        raise ValueError("thirteen units bring bad luck to " + os.environ["PICKY_TOKEN"])
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model
"""


@pytest.fixture(scope="module")
def picky(tmp_path_factory: pytest.TempPathFactory) -> tuple[Folder, Ended, Record]:
    folder = Folder(tmp_path_factory.mktemp("picky"), warm=True)
    (folder.path / "picky.py").write_text(PICKY, encoding="utf-8")
    settings = ["params.scale=1.0,2.0", "params.units=13,4,8", "train.epochs=2", "params.note=a"]
    ended = folder.run("sweep", "picky.py", *settings, code=3, env={"PICKY_TOKEN": TOKEN})
    (sweep,) = folder.sweeps
    return folder, ended, read_journal(sweep)


def test_a_setting_that_fails_is_told_in_a_line_and_its_siblings_finish(picky: tuple[Folder, Ended, Record]) -> None:
    _, ended, record = picky
    assert {t.settings["units"]: t.status for t in record.trials.values()} == {
        13: "failed",
        4: "complete",
        8: "complete",
    }
    assert "Traceback" not in ended.everything
    assert sum("FAILED" in line and "thirteen units bring bad luck" in line for line in ended.out.splitlines()) == 2
    table = ended.out[ended.out.index(" rank ") :]
    assert len(re.findall(r"– +\d+ +failed .* build *$", table, re.MULTILINE)) == 2
    assert re.search(r"^\d+ and 1 more failed: build: .*thirteen units bring bad luck", table, re.MULTILINE)


def test_a_failed_trials_run_has_its_traceback(picky: tuple[Folder, Ended, Record]) -> None:
    folder, _, record = picky
    tracked = Tracked(folder, record.sweep.id)
    for trial_id, trial in record.trials.items():
        run = tracked.children[trial_id]
        failed = trial.settings["units"] == 13
        assert run.info.status == ("FAILED" if failed else "FINISHED")
        assert ("traceback.txt" in tracked.files(run)) == failed
    assert tracked.parent.info.status == "FINISHED"


def test_a_sweeps_files_are_private(picky: tuple[Folder, Ended, Record]) -> None:
    (sweep,) = picky[0].sweeps
    modes = {path: path.stat().st_mode & 0o777 for path in (sweep, picky[0].store, picky[0].path / "mlartifacts")}
    assert list(modes.values()) == [0o700, 0o600, 0o700]
    assert {path.stat().st_mode & 0o777 for path in (sweep / "models").iterdir()} == {0o600}


def test_a_secret_of_the_environment_is_in_nothing_that_is_written(picky: tuple[Folder, Ended, Record]) -> None:
    folder, ended, record = picky
    written = [path for path in folder.path.rglob("*") if path.is_file()]
    assert any(path.name == "traceback.txt" for path in written)
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []
    assert TOKEN not in ended.everything
    assert any("bad luck to ***" in trial.reason for trial in record.trials.values())


def test_a_sweep_with_a_secret_in_its_config_does_not_begin(picky: tuple[Folder, Ended, Record]) -> None:
    ended = picky[0].run("sweep", "picky.py", f"params.note={TOKEN}", code=2, env={"PICKY_TOKEN": TOKEN})
    assert "the config has the value of PICKY_TOKEN in it" in ended.err
    assert TOKEN not in ended.everything


def test_data_is_loaded_once_for_each_distinct_value_of_its_parameters(picky: tuple[Folder, Ended, Record]) -> None:
    loads = (picky[0].path / "loads.txt").read_text(encoding="utf-8").split()
    assert sorted(loads) == ["1.0", "2.0"]
    assert len(picky[2].trials) == 6


# --- a member that cannot be trained ----------------------------------------------------------------------------------

NOT_COMPILED = """
import keras
import numpy as np


def load_data():
    data = np.ones((8, 2), "float32"), np.ones(8, "float32")
    return data, data


def build_model(units: int = 4) -> keras.Model:
    return keras.Sequential([keras.Input((2,)), keras.layers.Dense(units)])
"""


@pytest.mark.parametrize("debug", [(), ("--debug",)], ids=["plain", "debug"])
def test_a_model_that_is_not_compiled_starts_nothing(tmp_path: Path, debug: tuple[str, ...]) -> None:
    (tmp_path / "bare.py").write_text(NOT_COMPILED, encoding="utf-8")
    folder = Folder(tmp_path, warm=True)
    ended = folder.run("sweep", *debug, "bare.py", "params.units=2,4", "fleet.kind=local", code=2)
    assert "bare.py: build_model or its first step failed with units=2: " in ended.err
    assert "compile" in ended.err
    assert not folder.sweeps
    assert not folder.store.exists()
    tracebacks: Any = ended.everything.count("Traceback (most recent call last)")
    assert tracebacks == (2 if debug else 0), "the driver's and, above all, the experiment's"

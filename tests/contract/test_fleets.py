"""One contract, two fleets: the same trials give the same numbers, and failures are values."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
from command_line import ask_each

from runner.fleet.deadlines import Deadlines
from runner.fleet.local import LocalFleet
from runner.fleet.ray import transfers
from runner.fleet.ray.calls import Call, Lost, gather
from runner.fleet.ray.fleet import RayFleet
from runner.fleet.ray.postmortem import Death
from runner.host.processes import is_running
from runner.host.signals import StopSignals
from runner.journal import JournalReader, SqliteJournal, SweepRecord, TrialRecord, staging_folder
from runner.journal.snapshots import SnapshotStore
from runner.loop import lockstep
from runner.loop.recovery import Recovery
from runner.loop.schedule import Schedule
from runner.loop.snapshotting import Snapshotting
from runner.placement import Machine, Request, plan_slots
from runner.records import Checked, Failure, Metrics, ReduceLROnPlateau, Replay, Report, Slot, Snapshot, Trial, Work
from runner.testing import NullWatcher

pytestmark = pytest.mark.usefixtures("tensorflow")
CPUS = 2
HIDDEN = Path(__file__).parents[1] / "hidden.py"
SLOTS = plan_slots(Request(), Machine(cpus=CPUS, memory_mib=1000), trials=2)


@pytest.fixture(scope="module")
def started() -> Iterator[RayFleet]:
    with pytest.MonkeyPatch.context() as patched:
        # As where ray[default] is installed, the most that Ray could start.
        patched.setitem(sys.modules, "ray.dashboard.optional_deps", ModuleType("ray.dashboard.optional_deps"))
        with RayFleet(SLOTS, address=None, cpus=CPUS) as fleet:
            yield fleet


@pytest.fixture
def ray_fleet(started: RayFleet) -> RayFleet:
    """One for all tests. Their trials have equal ids, so the turns of one test must not limit those of the next."""
    started._deadlines = Deadlines()
    return started


@pytest.fixture
def local_fleet() -> Iterator[LocalFleet]:
    with LocalFleet(SLOTS) as fleet:
        yield fleet


@pytest.fixture(params=[pytest.param("ray", marks=pytest.mark.ray), "local"])
def fleet(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(f"{request.param}_fleet")


def run(
    fleet: Any,
    trials: list[Trial],
    folder: Path,
    slots: tuple[Slot, ...] = SLOTS,
    watcher: Any = None,
    shares: Any = None,
) -> dict[str, Any]:
    """Runs a whole queue, with snapshots at every barrier; returns what the journal has: trials, metric rows, turns."""
    folder.mkdir()
    sweep = SweepRecord(
        id="s",
        name="s",
        created_ms=0,
        metric="loss",
        goal="minimize",
        config="",
        command="",
        tracking_uri="",
        mlflow_experiment="",
        versions={},
    )
    with SqliteJournal(folder, {slot.index: slot.allocation for slot in slots}) as journal:
        journal.create(sweep, tuple(trials))
        staging, store = staging_folder(folder), SnapshotStore(folder, {}, pytest.fail)
        snapshotting = Snapshotting(fleet, store, folder=staging, every_s=1e-9)
        recovery = Recovery(fleet, journal, snapshotting, folder=staging, files=folder / "files", shares=shares)
        lockstep.Loop(Schedule(trials, slots), recovery, journal, watcher or NullWatcher()).run()
        journal.end("complete")
    with JournalReader(folder) as reader:
        rows = {(row.trial, row.key, row.step): row.value for row in reader.metrics()}
        weights = {t.id: (folder / t.weights).read_bytes() if t.weights else None for t in reader.trials()}
        return {
            "trials": {trial.id: trial for trial in reader.trials()},
            "rows": rows,
            "turns": reader.turns(),
            "weights": weights,
            "incidents": {trial.id: reader.incidents(trial.id) for trial in reader.trials()},
        }


def of_trial(result: dict[str, Any], trial_id: str) -> tuple[dict[Any, float], bytes]:
    rows = {(key, step): value for (trial, key, step), value in result["rows"].items() if trial == trial_id}
    return rows, result["weights"][trial_id]


def test_both_fleets_give_the_same_numbers_and_a_trial_alone_the_same_again(
    make_trial: Any, ray_fleet: RayFleet, local_fleet: LocalFleet, tmp_path: Path
) -> None:
    cases = ["dropout_mlp", "cnn_batchnorm", "run_eagerly", "dataset_input", "unseeded_random"]
    trials = [make_trial(case, id=f"{i:03}", epochs=2, steps_per_round=2) for i, case in enumerate(cases)]
    together = run(ray_fleet, trials, tmp_path / "ray")
    interleaved = run(local_fleet, trials, tmp_path / "local")
    assert all(trial.status == "complete" for trial in together["trials"].values())
    assert interleaved["rows"] == together["rows"]
    assert interleaved["weights"] == together["weights"]

    for trial in trials[:2]:
        alone = run(ray_fleet, [trial], tmp_path / f"alone-{trial.id}", SLOTS[:1])
        assert of_trial(alone, trial.id) == of_trial(together, trial.id)


def test_a_failing_trial_leaves_its_sibling_untouched(make_trial: Any, fleet: Any, tmp_path: Path) -> None:
    path = tmp_path / "sometimes.py"
    path.write_text(
        "import keras, numpy as np\n"
        "def load_data():\n"
        "    x = np.ones((40, 3), 'float32')\n"
        "    return (x, x[:, 0]), (x, x[:, 0])\n"
        "def build_model(units=1):\n"
        "    if units == 13: raise ValueError('thirteen units')\n"
        "    model = keras.Sequential([keras.layers.Dense(units)])\n"
        "    model.compile('sgd', 'mse')\n"
        "    return model\n"
    )
    args = {"path": path, "data_params": (), "model_params": ("units",), "epochs": 2}
    trials = [make_trial(id="000", params={"units": 13}, **args), make_trial(id="001", params={"units": 1}, **args)]
    result = run(fleet, trials, tmp_path / "sweep")

    failed: TrialRecord = result["trials"]["000"]
    assert (failed.status, failed.reason) == ("failed", "build: ValueError: thirteen units")
    assert "sometimes.py" in failed.traceback
    assert result["trials"]["001"].status == "complete"


ENDINGS = """
import os, signal, sys
import keras, numpy as np

class Own(BaseException):
    pass

class Mute(Exception):
    def __str__(self):
        raise ValueError

HOW = {
    "text": lambda: sys.exit("no such configuration"),
    "code": lambda: sys.exit(3),
    "none": lambda: sys.exit(),
    "interrupt": lambda: exec("raise KeyboardInterrupt('mine')"),
    "generator": lambda: exec("raise GeneratorExit"),
    "own": lambda: exec("raise Own('of my own')", globals()),
    "mute": lambda: exec("raise Mute", globals()),
    "os": lambda: print("about to end") or os._exit(7),
    "signal": lambda: os.kill(os.getpid(), signal.SIGINT),
}

class Model(keras.Sequential):
    def train_step(self, data):
        HOW["text"]()

def load_data(data=""):
    if data:
        HOW[data]()
    x = np.ones((40, 3), "float32")
    return (x, x[:, 0]), (x, x[:, 0])

def build_model(how="", step=False):
    if how:
        HOW[how]()
    model = (Model if step else keras.Sequential)([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model
"""


@pytest.fixture
def ending(make_trial: Any, tmp_path: Path) -> Any:
    """Trials of an experiment that ends in ways which no `except Exception` catches."""
    (tmp_path / "endings.py").write_text(ENDINGS)

    def made(number: int, data: str = "", how: str = "", step: bool = False) -> Trial:
        args = {"data_params": ("data",), "model_params": ("how", "step"), "epochs": 1}
        params = {"data": data, "how": how, "step": step}
        return make_trial(id=f"{number:03}", path=tmp_path / "endings.py", params=params, **args)

    return made


def test_what_is_no_exception_fails_its_trial_alone(ending: Any, fleet: Any, tmp_path: Path) -> None:
    told = {
        "text": "build: SystemExit: no such configuration",
        "code": "build: SystemExit: its code asks to end the program with exit code 3",
        "none": "build: SystemExit: its code asks to end the program with exit code 0",
        "interrupt": "build: KeyboardInterrupt: mine",
        "generator": "build: GeneratorExit: ",
        "own": "build: Own: of my own",
        "mute": "build: Mute: its message cannot be made: ValueError",
    }
    trials = [ending(i, how=how) for i, how in enumerate(told)]
    trials += [ending(10, data="text"), ending(11, step=True), ending(12)]
    found = run(fleet, trials, tmp_path / "sweep")
    reasons = {trial.id: trial.reason for trial in found["trials"].values()}
    assert [reasons[trial.id] for trial in trials[: len(told)]] == list(told.values())
    assert reasons["010"] == "data: SystemExit: no such configuration"
    assert reasons["011"].endswith(": SystemExit: no such configuration")
    assert found["trials"]["012"].status == "complete"
    assert set(found["incidents"].values()) == {0}, "no worker was lost"


@pytest.mark.parametrize("deterministic", [False, True])
def test_an_error_whose_text_cannot_be_made_fails_its_trial_alone(
    ending: Any, local_fleet: LocalFleet, deterministic: bool
) -> None:
    mute, sibling = (
        replace(trial, train=replace(trial.train, deterministic=deterministic))
        for trial in (ending(0, how="mute"), ending(1))
    )
    found = local_fleet.advance({0: (Work(trial=mute, round=0),), 1: (Work(trial=sibling, round=0),)})
    assert isinstance(found["000"], Failure)
    assert found["000"].message == "Mute: its message cannot be made: ValueError"
    assert isinstance(found["001"], Report)


def test_an_experiment_that_exits_when_it_is_imported_fails_the_check(
    make_trial: Any, fleet: Any, tmp_path: Path
) -> None:
    (tmp_path / "exits.py").write_text("import sys\nsys.exit('not on this machine')\n")
    trial = make_trial(path=tmp_path / "exits.py", params={}, data_params=(), model_params=())
    failure = fleet.check([trial])["000"]
    assert (failure.kind, failure.message) == ("data", "SystemExit: not on this machine")


PRINTS = """
import os, sys, warnings
import keras, numpy as np, tensorflow as tf
print("imported")
def load_data():
    print("loaded")
    x = np.ones((40, 3), "float32")
    return (x, x[:, 0]), (x, x[:, 0])
class Model(keras.Sequential):
    def train_step(self, data):
        tf.print("a step")
        return super().train_step(data)
def build_model(units=1):
    warnings.warn("careful")
    os.write(2, b"C code\\n")
    model = Model([keras.layers.Dense(units)])
    model.compile("sgd", "mse")
    if units == 13:
        raise ValueError("thirteen")
    return model
"""


def test_what_a_trial_prints_comes_with_its_answers(make_trial: Any, fleet: Any, tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "prints.py").write_text(PRINTS)
    args = {"path": tmp_path / "prints.py", "data_params": (), "model_params": ("units",), "epochs": 1}
    trials = [make_trial(id=f"00{n}", params={"units": units}, **args) for n, units in enumerate((1, 13))]
    found = fleet.advance({slot: (Work(trial=trials[slot], round=0),) for slot in range(2)})
    said, other = (found[trial.id].aside.output for trial in trials)
    assert "imported\nloaded\n" in said + other
    assert "loaded" not in said or "loaded" not in other, "it is loaded once"
    assert isinstance(found["001"], Failure)
    if isinstance(fleet, RayFleet):  # here pytest has the warnings, and what C code prints is not taken
        assert "UserWarning: careful" in said
        assert (said.count("C code\n"), other.count("C code\n"), said.count("a step\n")) == (1, 1, 2)
        assert capfd.readouterr() == ("", "")
    again = fleet.advance({0: (Work(trial=trials[0], round=1),)})["000"]
    assert "imported" not in again.aside.output, "it has been told"


def test_what_an_interrupted_turn_prints_comes_with_its_snapshot(
    make_trial: Any, local_fleet: LocalFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from runner.worker import training

    call = training._call

    def call_and_stop(seat: Any, turn_end: int) -> Any:
        print("a step")
        local_fleet.stop()
        return call(seat, turn_end)

    monkeypatch.setattr(training, "_call", call_and_stop)
    (tmp_path / "prints.py").write_text(PRINTS)
    args = {"path": tmp_path / "prints.py", "data_params": (), "model_params": ("units",), "epochs": 1}
    trial = make_trial(params={"units": 1}, **args)
    assert local_fleet.advance({0: (Work(trial=trial, round=0),)}) == {}
    found = local_fleet.snapshot({0: (trial,)})["000"]
    assert isinstance(found, Snapshot)
    assert found.aside.output == "imported\nloaded\na step\n"


PROCESS_WIDE = """
import os
import keras, numpy as np, tensorflow as tf
os.environ["CUDA_VISIBLE_DEVICES"] = "0"
tf.config.set_visible_devices([], "GPU")
tf.config.threading.set_intra_op_parallelism_threads(7)
tf.config.threading.set_inter_op_parallelism_threads(7)
tf.random.set_seed(3); keras.utils.set_random_seed(3)
tf.config.experimental.enable_op_determinism()
def load_data(dummy=0):
    tf.config.threading.set_intra_op_parallelism_threads(9)
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    return (x, x[:, 0]), (x, x[:, 0])
def build_model(units=1):
    model = keras.Sequential([keras.layers.Dense(units), keras.layers.Dropout(0.5), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model
"""


def test_what_a_file_does_to_the_process_has_one_outcome_in_every_worker_and_trial(
    make_trial: Any, fleet: Any, tmp_path: Path
) -> None:
    plain = "\n".join(line for line in PROCESS_WIDE.splitlines() if not line.strip().startswith(("tf.", "os.")))
    found = {}
    for number, (name, text) in enumerate((("wide", PROCESS_WIDE), ("plain", plain))):
        (tmp_path / f"{name}.py").write_text(text)
        args = {"path": tmp_path / f"{name}.py", "data_params": ("dummy",), "model_params": ("units",), "epochs": 1}
        trials = [make_trial(id=f"{number}{i}", seed=i, params={"dummy": 0, "units": 4}, **args) for i in range(2)]
        before = os.environ.get("CUDA_VISIBLE_DEVICES")
        found[name] = fleet.advance({i: (Work(trial=trial, round=0),) for i, trial in enumerate(trials)})
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == before
    wide, without = ([metrics(found[name][id_]) for id_ in sorted(found[name])] for name in ("wide", "plain"))
    assert wide == without
    told = {text for report in found["wide"].values() for text in report.aside.warnings}
    assert {text.partition("; ")[2] for text in told} == {
        "set resources.num_cpus instead",
        "set resources.num_gpus instead",
        "set train.deterministic instead",
    }
    assert len(told) == 4, "three functions and a variable: no GPU is what is so already"
    assert not any(report.aside.warnings for report in found["plain"].values())


def test_a_signal_stops_a_sweep_in_this_process_and_fails_no_trial(ending: Any, local_fleet: LocalFleet) -> None:
    with StopSignals() as signals, pytest.raises(KeyboardInterrupt):
        local_fleet.check([ending(0, how="signal")])
    assert signals.requested


def test_check_tells_what_a_trial_will_report(make_trial: Any, fleet: Any) -> None:
    checked = fleet.check([make_trial("dropout_mlp")])["000"]
    assert isinstance(checked, Checked)
    assert checked.metrics == ("loss", "accuracy", "val_loss", "val_accuracy")
    assert (checked.facts.rows, checked.facts.steps_per_epoch, checked.facts.validation_rows) == (70, 3, 40)


MISTAKES = {
    "no_compile": ("model = keras.Sequential([keras.layers.Dense(1)])", "X, Y", "not compiled"),
    "not_a_model": ("model = 7", "X, Y", "returned a int"),
    "shapes": (
        "model = keras.Sequential([keras.Input((9,)), keras.layers.Dense(1)]); model.compile('sgd', 'mse')",
        "X, Y",
        "expected axis -1 of input shape to have value 9",
    ),
    "labels": (
        "model = keras.Sequential([keras.layers.Dense(2)]); model.compile('sgd', 'sparse_categorical_crossentropy')",
        "X, np.arange(40)",
        "labels 0 to 39; the model's output has 2 classes",
    ),
    "empty": ("model = LINEAR()", "X[:0], Y[:0]", "train data is empty"),
    "nan": ("model = LINEAR()", "np.where(X > 0, np.nan, X), Y", "NaN or infinite values in 40 of 40 rows"),
    "lengths": ("model = LINEAR()", "X, Y[:7]", "parts of different length: 40, 7 rows"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_of_model_and_data_are_named(
    mistake: str, make_trial: Any, local_fleet: LocalFleet, tmp_path: Path
) -> None:
    build, data, message = MISTAKES[mistake]
    path = tmp_path / f"{mistake}.py"
    path.write_text(
        "import keras, numpy as np\n"
        "X, Y = np.ones((40, 3), 'float32'), np.ones(40, 'float32')\n"
        "def LINEAR():\n"
        "    model = keras.Sequential([keras.layers.Dense(1)])\n"
        "    model.compile('sgd', 'mse')\n"
        "    return model\n"
        f"def load_data():\n    return ({data}), (X, Y)\n"
        f"def build_model():\n    {build}\n    return model\n"
    )
    failure = local_fleet.check([make_trial(path=path, params={}, data_params=(), model_params=())])["000"]
    assert isinstance(failure, Failure)
    assert message in failure.message


def test_a_probe_tells_what_a_model_takes(make_trial: Any, fleet: Any, tmp_path: Path) -> None:
    path = tmp_path / "wide.py"
    path.write_text(
        "import keras, numpy as np\n"
        "def load_data():\n"
        "    x = np.ones((64, 1000), 'float32')\n"
        "    return (x, x), (x, x)\n"
        "def build_model(units=1):\n"
        "    model = keras.Sequential([keras.layers.Dense(units), keras.layers.Dense(1000)])\n"
        "    model.compile('adam', 'mse')\n"
        "    return model\n"
    )
    args = {"path": path, "data_params": (), "model_params": ("units",)}
    trials = [make_trial(id=f"{i:03}", params={"units": units}, **args) for i, units in enumerate((1, 12_000))]
    small, large = (fleet.probe([trial])[trial.id].memory_mib for trial in trials)
    weights_mib = 2 * 1000 * 12_000 * 4 / 2**20
    assert small > 100, "a process with TensorFlow"
    assert large > small + 3 * weights_mib, "weights and Adam's two moments"


# --- what only real processes show ------------------------------------------------------------------------------------


def test_turns_of_a_round_overlap_and_none_crosses_a_barrier(
    make_trial: Any, ray_fleet: RayFleet, tmp_path: Path
) -> None:
    trials = [make_trial("run_eagerly", id=f"{i:03}", epochs=4, steps_per_round=3) for i in range(2)]
    turns = run(ray_fleet, trials, tmp_path / "sweep")["turns"]

    pids = {trial.id: {row.turn.pid for row in turns if row.trial == trial.id} for trial in trials}
    assert all(len(found) == 1 for found in pids.values()), "one process for each seated trial"
    assert pids["000"].isdisjoint(pids["001"])
    assert os.getpid() not in pids["000"] | pids["001"]
    rounds = [[row.turn for row in turns if row.round == number] for number in range(4)]
    for earlier, later in itertools.pairwise(rounds):
        assert max(turn.ended_s for turn in earlier) <= min(turn.started_s for turn in later)
    # Eager steps take tens of milliseconds: turns that were not dispatched together could not overlap.
    for turns_of_round in rounds[1:]:
        assert max(t.started_s for t in turns_of_round) < min(t.ended_s for t in turns_of_round)


def test_a_second_trial_on_a_worker_trains_with_its_own_hidden_state(make_trial: Any, ray_fleet: RayFleet) -> None:
    names = {"path": HIDDEN, "data_params": ("kind",), "model_params": ("kind", "variant")}
    trials = [
        make_trial(id=f"{n:03}", params={"kind": "normalization", "variant": variant}, batch_size=16, **names)
        for n, variant in enumerate((0, 1, 1))
    ]
    first = ray_fleet.advance({0: (Work(trial=trials[0], round=0),)})["000"]
    found = ray_fleet.advance({n: (Work(trial=trials[n + 1], round=0),) for n in (0, 1)})
    after_another, alone = found["001"], found["002"]
    assert isinstance(first, Report), first
    assert isinstance(alone, Report), alone
    assert isinstance(after_another, Report), after_another
    assert after_another.epochs[0].metrics == alone.epochs[0].metrics != first.epochs[0].metrics


def test_a_killed_worker_fails_its_trial_alone_and_its_slot_lives_again(
    make_trial: Any, ray_fleet: RayFleet, tmp_path: Path
) -> None:
    trials = [make_trial(id="000"), make_trial(id="001")]
    before = ray_fleet.advance({0: (Work(trial=trials[0], round=0),), 1: (Work(trial=trials[1], round=0),)})
    assert not any(isinstance(report, Failure) for report in before.values())
    victim = ray_fleet.devices[0].pid
    psutil.Process(victim).kill()

    reports = ray_fleet.advance({0: (Work(trial=trials[0], round=1),), 1: (Work(trial=trials[1], round=1),)})
    assert isinstance(reports["000"], Failure)
    assert reports["000"].kind == "worker"
    assert not isinstance(reports["001"], Failure)

    ray_fleet.replace({0: None})
    assert ray_fleet.devices[0].pid != victim
    again = ray_fleet.advance({0: (Work(trial=trials[0], round=0),)})
    assert not isinstance(again["000"], Failure), again


def test_a_worker_that_its_code_has_ended_is_lost_with_its_exit_code(ending: Any, ray_fleet: RayFleet) -> None:
    failure = ray_fleet.check([ending(0, how="os")])["000"]
    assert failure.kind == "worker"
    assert failure.message.startswith("its code has ended the process by os._exit, exit code 7; ActorDiedError: ")
    assert "about to end\n" in failure.aside.output
    ray_fleet.replace({0: None})  # other tests need its slot


class Killer(NullWatcher):
    """Sends a signal to a slot's worker in the middle of the turn that follows a round."""

    def __init__(self, fleet: RayFleet, number: signal.Signals, after_round: int) -> None:
        self._fleet, self._number, self._rounds = fleet, number, itertools.count()
        self._after_round = after_round
        self.victim: int | None = None

    def show(self, *_: Any) -> None:
        if next(self._rounds) == self._after_round:
            self.victim = self._fleet.devices[0].pid
            threading.Timer(0.1, os.kill, (self.victim, self._number)).start()


def test_a_worker_that_dies_or_hangs_in_its_turn_changes_no_number_of_any_trial(
    make_trial: Any, ray_fleet: RayFleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = ReduceLROnPlateau(monitor="loss", patience=0, factor=0.5)
    settings = {"epochs": 4, "batch_size": 1, "steps_per_epoch": 1500, "reduce_lr_on_plateau": rule}

    def results(name: str, number: int, killer: Killer | None = None) -> list[Any]:
        """Ids tell the runs apart: a worker keeps the seats of the last one."""
        trials = [make_trial("dropout_mlp", id=f"{number}{i}", seed=i, **settings) for i in range(2)]
        found = run(ray_fleet, trials, tmp_path / name, watcher=killer)
        assert found["incidents"] == {f"{number}0": int(killer is not None), f"{number}1": 0}
        return [of_trial(found, trial.id) for trial in trials]

    expected = results("undisturbed", 1)
    monkeypatch.setattr(ray_fleet, "_deadlines", Deadlines(first_s=60.0, later_s=1.0))
    for run_number, number in enumerate((signal.SIGKILL, signal.SIGSTOP), start=2):
        killer = Killer(ray_fleet, number, after_round=1)
        assert results(number.name, run_number, killer) == expected
        assert killer.victim is not None
        assert not is_running(killer.victim)


def test_a_trial_with_callbacks_whose_worker_dies_begins_again_with_the_same_numbers_and_files(
    make_trial: Any, ray_fleet: RayFleet, tmp_path: Path
) -> None:
    settings = {"epochs": 4, "batch_size": 1, "steps_per_epoch": 1500, "shuffle": False}
    path = Path(__file__).parents[1] / "with_callbacks.py"

    def results(name: str, number: int, killer: Killer | None = None) -> Any:
        trial = make_trial(id=f"{number}0", path=path, params={"kind": "csv"}, data_params=(), **settings)
        trial = replace(trial, callback_params=("kind",))
        found = run(ray_fleet, [trial], tmp_path / name, watcher=killer)
        assert found["incidents"] == {trial.id: int(killer is not None)}
        written = tmp_path / name / "files" / trial.id
        return of_trial(found, trial.id), {file.name: file.read_text() for file in written.iterdir()}

    expected = results("alone", 7)
    assert sorted(expected[1]) == ["hooks.jsonl", "log.csv"]
    assert results("killed", 8, Killer(ray_fleet, signal.SIGKILL, after_round=1)) == expected


WEARING = """
import mmap
import keras
import numpy as np

KEPT = []

def load_data():
    return (pair := (np.ones((8, 2), "float32"), np.ones((8, 1), "float32"))), pair

def build_model():
    KEPT.append(np.ones(20_000_000))
    for number in range(MAPPINGS):  # of two kinds in turn, which Linux would merge if they were alike
        KEPT.append(mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | number % 2 * mmap.PROT_WRITE))
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model
"""


@pytest.mark.slow  # `unit/test_renewals.py` is shorter
def test_a_process_that_has_collected_too_much_gives_way_to_another_one_between_two_trials(
    make_trial: Any, ray_fleet: RayFleet, local_fleet: LocalFleet, tmp_path: Path
) -> None:
    allowed = int(Path("/proc/sys/vm/max_map_count").read_text())
    results = {}
    for fleet, mappings in ((ray_fleet, allowed // 4), (local_fleet, 0)):
        path = tmp_path / f"wearing_{mappings}.py"
        path.write_text(WEARING.replace("MAPPINGS", str(mappings)))
        names = {"path": path, "params": {}, "data_params": (), "model_params": ()}
        trials = [make_trial(id=f"{number:03}", **names) for number in range(5)]
        results[mappings] = run(fleet, trials, tmp_path / f"sweep-{mappings}", SLOTS[:1])
    worn, not_worn = results[allowed // 4], results[0]
    assert {(trial.status, trial.reason) for trial in worn["trials"].values()} == {("complete", "")}
    processes = {row.trial: row.turn.pid for row in worn["turns"]}
    assert processes["000"] == processes["001"] != processes["002"] == processes["003"] != processes["004"]
    assert set(worn["incidents"].values()) == {0}
    assert worn["rows"] == not_worn["rows"]
    assert worn["weights"] == not_worn["weights"]


def test_what_an_experiment_starts_can_be_terminated_and_its_worker_cannot(ray_fleet: RayFleet) -> None:
    def end_children(_: Any) -> tuple[int, int | None]:
        child = subprocess.Popen(["sleep", "30"])
        child.terminate()
        forked = multiprocessing.get_context("fork").Process(target=time.sleep, args=(30.0,))
        forked.start()
        forked.terminate()
        forked.join(timeout=10.0)
        return child.wait(timeout=10.0), forked.exitcode

    device = ray_fleet.devices[0]
    os.kill(device.pid, signal.SIGTERM)
    future = ray_fleet._workers.actors[0].__ray_call__.remote(end_children)
    calls = {0: Call(slot=0, future=future, limit_s=30.0)}
    assert gather(calls, lambda _: None, lambda: None, lambda *_: Death()) == {0: (-signal.SIGTERM, -signal.SIGTERM)}
    assert is_running(device.pid)


def test_workers_compete_like_their_driver(ray_fleet: RayFleet) -> None:
    niceness = [os.getpriority(os.PRIO_PROCESS, pid) for pid in (os.getpid(), ray_fleet.devices[0].pid)]
    assert niceness[0] == niceness[1], "by itself Ray adds 15"


def metrics(report: Report) -> list[Metrics]:
    return [epoch.metrics for epoch in report.epochs]


def test_a_trial_is_restored_in_another_slot(make_trial: Any, fleet: Any) -> None:
    trials = [make_trial("dropout_mlp", id=f"{i:03}", seed=i, epochs=4) for i in range(2)]
    first, second = ({slot: (Work(trial=trials[slot], round=n),) for slot in range(2)} for n in range(2))
    fleet.advance(first)
    snapshots = fleet.snapshot({slot: (trials[slot], make_trial(id="009")) for slot in range(2)})
    assert set(snapshots) == {"000", "001"}, "of trials that have a seat"
    expected = fleet.advance(second)

    replays = {1 - s: (Replay(trial=trials[s], snapshot=snapshots[trials[s].id], orders=second[s]),) for s in range(2)}
    found = fleet.restore(replays)
    assert {trial_id: metrics(report) for trial_id, report in found.items()} == {
        trial_id: metrics(report) for trial_id, report in expected.items()
    }
    bare = fleet.restore({0: (Replay(trial=trials[1], snapshot=snapshots["001"], orders=()),)})
    assert bare == {"001": None}


def test_models_and_snapshots_are_files_of_the_folder_that_is_given(
    make_trial: Any, fleet: Any, tmp_path: Path
) -> None:
    trial = make_trial("dropout_mlp", epochs=2)
    fleet.advance({0: (Work(trial=trial, round=0),)})
    state = fleet.snapshot({0: (trial,)})["000"].state
    snapshot = fleet.snapshot({0: (trial,)}, tmp_path)["000"]  # before an export, which draws random numbers
    weights = fleet.export({0: ((trial, False),)})["000"].weights
    export = fleet.export({0: ((trial, False),)}, tmp_path)["000"]
    assert {path.name for path in tmp_path.iterdir()} == {"000.state.npz", "000.keras", "000.weights.npz"}
    assert (snapshot.state.read_bytes(), export.weights.read_bytes()) == (state, weights)
    assert zipfile.is_zipfile(export.model)
    expected = fleet.advance({0: (Work(trial=trial, round=1),)})["000"]
    replay = Replay(trial=trial, snapshot=snapshot, orders=(Work(trial=trial, round=1),))
    assert metrics(fleet.restore({0: (replay,)})["000"]) == metrics(expected)


@pytest.mark.parametrize("size", [0, 3, 4, 8, 9])
def test_a_file_of_another_machine_comes_and_goes_in_pieces_and_leaves_nothing_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, make_trial: Any
) -> None:
    monkeypatch.setattr(transfers, "PIECE", 4)
    there, content = transfers.Transfers(), bytes(range(size))
    asked: list[str] = []

    def ask(name: str, *arguments: Any) -> Any:
        asked.append(name)
        return getattr(there, name)(*arguments)

    for folder in (tmp_path, None):
        file = there.folder / "000.state.npz"
        file.write_bytes(content)
        remote = Snapshot(trial_id="000", round=1, step=2, state=file)
        here = transfers.fetched(remote, ask, folder)
        assert here == replace(remote, state=tmp_path / "000.state.npz" if folder else content)
        assert not file.parent.exists()
    assert (tmp_path / "000.state.npz").read_bytes() == content
    assert len(asked) == 2 * (size // 4 + 1)
    local = replace(remote, state=tmp_path / "000.state.npz")
    sent = transfers.sent(Replay(trial=make_trial(), snapshot=local, orders=()), ask)
    if size:
        assert sent.snapshot.state.read_bytes() == content
        there.remove(sent.snapshot.state)
        assert not sent.snapshot.state.parent.exists()
        lost = Lost(kind="worker", message="gone")
        assert transfers.sent(Replay(trial=make_trial(), snapshot=local, orders=()), lambda *_: lost) is lost
    assert transfers.fetched(local, lambda *_: None, tmp_path) is None, "a stop has ended it"


def test_a_stop_interrupts_turns_at_a_step(make_trial: Any, local_fleet: LocalFleet) -> None:
    trial = make_trial("run_eagerly", epochs=1, batch_size=1, steps_per_epoch=5000)
    threading.Timer(2.0, local_fleet.stop).start()
    began = time.monotonic()
    assert local_fleet.advance({0: (Work(trial=trial, round=0),)}) == {}
    assert time.monotonic() - began < 6.0
    snapshot = local_fleet.snapshot({0: (trial,)})["000"]
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.round, 0 < snapshot.step < 5000) == (0, True)


def command_lines_below() -> list[str]:
    return ask_each(psutil.Process().children(recursive=True), lambda process: " ".join(process.cmdline()))


def test_everything_listens_on_loopback_alone(ray_fleet: RayFleet) -> None:
    own = [psutil.Process(), *psutil.Process().children(recursive=True)]
    connections = itertools.chain.from_iterable(ask_each(own, lambda process: process.net_connections("inet")))
    listening = {connection.laddr.ip for connection in connections if connection.status == psutil.CONN_LISTEN}
    assert listening, "Ray listens somewhere"
    assert all(socket.inet_aton(ip)[0] == 127 for ip in listening if ":" not in ip), listening
    assert all(ip in ("::1", "::ffff:127.0.0.1") for ip in listening if ":" in ip), listening


def test_a_call_without_the_sweeps_token_is_refused(ray_fleet: RayFleet) -> None:
    import grpc
    import ray

    channel = grpc.insecure_channel(ray.get_runtime_context().gcs_address)
    ask = channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetAllNodeInfo")
    own, stranger = os.environ["RAY_AUTH_TOKEN"], "f" * 64
    assert ask(b"", timeout=10, metadata=[("authorization", f"Bearer {own}")])
    for metadata in ([], [("authorization", f"Bearer {stranger}")]):
        with pytest.raises(grpc.RpcError) as refused:
            ask(b"", timeout=10, metadata=metadata)
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    channel.close()


def test_rays_token_and_files_are_this_users_alone(ray_fleet: RayFleet) -> None:
    import ray

    token = os.environ["RAY_AUTH_TOKEN"]
    assert not [line for line in command_lines_below() if token in line]
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    assert session.parents[1].stat().st_mode & 0o777 == 0o700
    assert (session / "sockets" / "raylet").is_socket()
    files = [path for path in session.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if token.encode() in path.read_bytes()]


def test_ray_starts_only_what_a_sweep_uses(ray_fleet: RayFleet) -> None:
    processes = command_lines_below()
    assert any("raylet" in line for line in processes), "Ray runs below this process"
    for script in ("monitor.py", "log_monitor.py", "dashboard.py"):
        assert not [line for line in processes if f"/{script}" in line]


def test_rays_agent_looks_for_no_part_of_a_dashboard(ray_fleet: RayFleet) -> None:
    import ray

    assert [line for line in command_lines_below() if "dashboard/agent.py" in line and "--minimal" in line]
    log = Path(ray._private.worker._global_node.get_logs_dir_path()) / "dashboard_agent.log"
    assert "Loaded 0 modules" in log.read_text()
    assert "cannot be loaded" not in log.read_text(), "by itself it imports them all, to find that packages are missing"

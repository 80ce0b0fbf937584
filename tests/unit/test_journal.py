from __future__ import annotations

import errno
import json
import math
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from runner.errors import JournalError, SweepBusyError, SweepNotFoundError
from runner.journal import (
    FILE,
    JournalReader,
    SqliteJournal,
    SweepRecord,
    connect,
    locked,
    move_durably,
    staging_folder,
    write_durably,
)
from runner.records import (
    Allocation,
    Decision,
    EarlyStopping,
    Epoch,
    Export,
    Facts,
    Failure,
    Incident,
    ReduceLROnPlateau,
    Report,
    Signature,
    Source,
    Tensor,
    TrainSettings,
    Trial,
    Turn,
    Verdict,
    Work,
    decisions_of,
    to_json,
)
from runner.review.catalog import list_sweeps
from runner.review.timeline import summarize

KEEP, COMPLETE = Verdict(kind="keep"), Verdict(kind="complete")
FACTS = Facts(
    steps_per_epoch=2, rows=64, validation_rows=None, parameters=9, program="round", program_reason="", inexact="",
    summary="Model", loadable=True,
)  # fmt: skip


def trial(number: int) -> Trial:
    source = Source(path="experiments/a.py", root="/code", files=(("a.py", "x = 1\n"),))
    return Trial(
        id=f"{number:03d}", index=number, member="a", source=source, params={"units": 8 * (number + 1)}, data_params=(),
        model_params=("units",), searched=("units",), train=TrainSettings(epochs=2), seed=number,
    )  # fmt: skip


def report(number: int, turn: int, step: int, epoch: int, loss: float, ended: bool = False) -> Report:
    return Report(
        trial_id=f"{number:03d}", round=turn, step=step, epoch=epoch, running={"loss": loss},
        epochs=(Epoch(number=epoch, metrics={"loss": loss, "val_loss": loss + 1}, ended_s=12.25),) if ended else (),
        turn=Turn(pid=7, started_s=10.0, ended_s=12.5, compute_s=2.0), facts=FACTS if turn == 0 else None,
    )  # fmt: skip


SWEEP = SweepRecord(
    id="a-1", name="a", created_ms=1000, metric="val_loss", goal="minimize", config="name: a\n", command="runner sweep",
    tracking_uri="sqlite:///mlflow.db", mlflow_experiment="a", versions={"keras": "3"},
)  # fmt: skip


@pytest.fixture
def journal(tmp_path: Path):
    with SqliteJournal(tmp_path, {0: Allocation(num_cpus=1), 1: Allocation(num_cpus=2)}, clock=lambda: 42.0) as journal:
        journal.create(SWEEP, tuple(trial(number) for number in range(3)))
        yield journal


@pytest.fixture
def reader(journal: SqliteJournal, tmp_path: Path):
    with JournalReader(tmp_path) as reader:
        yield reader


def test_a_created_sweep_is_read_back_with_its_trials_queued_in_order(reader: JournalReader):
    assert reader.sweep() == SWEEP
    trials = reader.trials()
    assert [(t.id, t.position, t.status, t.started_ms) for t in trials] == [
        (f"{n:03d}", n, "queued", None) for n in range(3)
    ]
    assert trials[1].settings["units"] == 16
    assert trials[1].trial.source.files == (("a.py", "x = 1\n"),)


def test_an_assigned_trial_runs_in_its_slot_with_the_slots_allocation(journal: SqliteJournal, reader: JournalReader):
    journal.assign({1: (Work(trial=trial(0), round=0),)})
    begun = reader.trial("000")
    assert (begun.status, begun.slot, begun.started_ms) == ("running", 1, 42000)
    assert begun.allocation is not None
    assert begun.allocation.num_cpus == 2
    assert reader.trial("001").status == "queued"


def test_a_trial_that_goes_on_in_another_slot_has_begun_when_it_first_did(tmp_path: Path):
    for now_s, slot in ((42.0, 0), (99.0, 1)):
        slots = dict.fromkeys((0, 1), Allocation(num_cpus=1))
        with SqliteJournal(tmp_path, slots, clock=iter([now_s] * 9).__next__) as journal:
            if slot == 0:
                journal.create(SWEEP, (trial(0),))
            journal.assign({slot: (Work(trial=trial(0), round=slot),)})
            journal.commit({"000": report(0, slot, slot + 1, 0, 0.5)}, {"000": Verdict(kind="keep")}, {})
    with JournalReader(tmp_path) as reader:
        assert (reader.trial("000").slot, reader.trial("000").started_ms) == (1, 42000)
        assert [turn.slot for turn in reader.turns()] == [0, 1]


def test_a_commit_holds_running_and_epoch_metrics_on_their_own_axes(journal: SqliteJournal, reader: JournalReader):
    journal.commit({"000": report(0, 0, 2, 1, 0.5, ended=True)}, {"000": KEEP}, {})
    rows = [(row.key, row.step, row.value, row.timestamp_ms) for row in reader.metrics("000")]
    assert rows == [("round/loss", 2, 0.5, 12500), ("loss", 1, 0.5, 12250), ("val_loss", 1, 1.5, 12250)]
    seen = reader.trial("000")
    assert seen.metrics == {"loss": 0.5, "val_loss": 1.5}
    assert seen.facts is not None
    assert seen.facts.summary == "Model"
    assert [turn.turn.pid for turn in reader.turns()] == [7]


def test_metrics_can_be_read_from_where_one_left_off(journal: SqliteJournal, reader: JournalReader):
    for turn in range(3):
        journal.commit({"000": report(0, turn, turn + 1, 0, 0.5), "001": report(1, turn, turn + 1, 0, 0.5)}, {}, {})
    first = reader.metrics("001", limit=2)
    rest = reader.metrics("001", after_seq=first[-1].seq)
    assert [row.step for row in (*first, *rest)] == [1, 2, 3]
    assert len(reader.metrics()) == 6


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e-320, 0.1 + 0.2])
def test_a_value_is_read_back_as_it_was(journal: SqliteJournal, reader: JournalReader, value: float):
    journal.commit({"000": report(0, 0, 2, 0, value)}, {"000": KEEP}, {})
    (row,) = reader.metrics("000")
    assert row.value == value or (math.isnan(row.value) and math.isnan(value))


def test_a_failing_commit_leaves_nothing_of_its_barrier(journal: SqliteJournal, reader: JournalReader):
    journal.commit({"001": report(1, 0, 2, 0, 0.5)}, {"001": KEEP}, {})
    twice = {"000": report(0, 0, 2, 0, 0.5), "001": report(1, 0, 2, 0, 0.5)}
    with pytest.raises(sqlite3.IntegrityError):
        journal.commit(twice, {"000": COMPLETE}, {})
    assert reader.metrics("000") == ()
    assert len(reader.turns()) == 1
    assert reader.trial("000").status == "queued"
    journal.commit({"000": report(0, 0, 2, 0, 0.5)}, {"000": COMPLETE}, {})
    assert reader.trial("000").status == "complete"


@pytest.mark.parametrize(
    ("verdict", "status"),
    [(COMPLETE, "complete"), (Verdict(kind="stop", reason="no gain"), "stopped"), (Verdict(kind="fail"), "failed")],
)
def test_a_verdict_that_ends_sets_status_and_end(
    journal: SqliteJournal, reader: JournalReader, verdict: Verdict, status: str
):
    journal.commit({"000": report(0, 0, 2, 1, 0.5)}, {"000": verdict}, {})
    ended = reader.trial("000")
    assert (ended.status, ended.reason, ended.ended_ms) == (status, verdict.reason, 42000)


def test_a_failure_is_kept_with_its_traceback(journal: SqliteJournal, reader: JournalReader):
    failure = Failure(trial_id="000", kind="build", message="no such layer", traceback="Traceback ...")
    journal.commit({"000": failure}, {"000": Verdict(kind="fail")}, {})
    failed = reader.trial("000")
    assert (failed.status, failed.reason, failed.traceback) == ("failed", "build: no such layer", "Traceback ...")


def test_any_text_is_kept_as_it_is(tmp_path: Path):
    odd = "caf\udce9.png \0 \\x00 \\udce9 \\\\x00 \ud83d é😀"
    sweep = replace(SWEEP, command=odd, config=odd, mlflow_experiment=odd, tracking_uri=odd)
    first = replace(trial(0), params={"units": odd})
    with SqliteJournal(tmp_path, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(sweep, (first, trial(1)))
        journal.assign({0: (Work(trial=first, round=0), Work(trial=trial(1), round=0))})
        journal.note(Incident(trial_id="000", round=0, kind="worker", message=odd, noticed_s=1.0))
        spoken = report(0, 0, 2, 1, 0.5, ended=True)
        epochs = (replace(spoken.epochs[0], metrics={odd: 1.0}),)
        spoken = replace(spoken, running={odd: 2.0}, epochs=epochs, facts=replace(FACTS, summary=odd))
        failed = Failure(trial_id="001", kind="build", message=odd, traceback=odd)
        journal.commit({"000": spoken, "001": failed}, {"000": KEEP, "001": Verdict(kind="fail")}, {})
    with JournalReader(tmp_path) as reader:
        found = reader.sweep()
        assert (found.command, found.config, found.mlflow_experiment, found.tracking_uri) == (odd, odd, odd, odd)
        assert reader.trial("000").settings["units"] == odd
        assert reader.trial("000").facts.summary == odd
        assert reader.trial("000").metrics == {odd: 1.0}
        assert [(row.key, row.value) for row in reader.metrics("000")] == [("round/" + odd, 2.0), (odd, 1.0)]
        assert reader.reports("000")[0].epochs[0].metrics == {odd: 1.0}
        assert (reader.trial("001").reason, reader.trial("001").traceback) == (f"build: {odd}", odd)


def test_a_failed_export_fails_its_trial(journal: SqliteJournal, reader: JournalReader):
    failure = Failure(trial_id="000", kind="export", message="cannot be saved")
    journal.commit({"000": report(0, 0, 2, 1, 0.5)}, {"000": COMPLETE}, {"000": failure})
    assert reader.trial("000").status == "failed"
    assert reader.trial("000").model is None


def test_an_exported_model_is_whole_on_disk_and_named_by_the_journal(
    journal: SqliteJournal, reader: JournalReader, tmp_path: Path
):
    export = Export(trial_id="000", model=b"keras", weights=b"npz", test_metrics={"test_loss": 0.25})
    journal.commit({"000": report(0, 0, 2, 1, 0.5)}, {"000": COMPLETE}, {"000": export})
    ended = reader.trial("000")
    assert ended.model is not None
    assert ended.weights is not None
    assert (tmp_path / ended.model).read_bytes() == b"keras"
    assert (tmp_path / ended.weights).read_bytes() == b"npz"
    assert ended.metrics["test_loss"] == 0.25
    assert list((tmp_path / "models").glob("*.partial")) == []


def test_a_model_that_a_worker_has_written_is_moved_to_its_place(
    journal: SqliteJournal, reader: JournalReader, tmp_path: Path
):
    staging = staging_folder(tmp_path)
    model, weights = staging / "000.keras", staging / "000.weights.npz"
    model.write_bytes(b"keras")
    weights.write_bytes(b"npz")
    export = Export(trial_id="000", model=model, weights=weights)
    journal.commit({"000": report(0, 0, 2, 1, 0.5)}, {"000": COMPLETE}, {"000": export})
    ended = reader.trial("000")
    assert ((tmp_path / ended.model).read_bytes(), (tmp_path / ended.weights).read_bytes()) == (b"keras", b"npz")
    assert (tmp_path / ended.model).stat().st_mode & 0o777 == 0o600
    assert list(staging.iterdir()) == []


def test_what_callbacks_log_at_the_end_and_files_by_value_are_kept(
    journal: SqliteJournal, reader: JournalReader, tmp_path: Path
) -> None:
    export = Export(
        trial_id="000", model=b"", weights=b"w", test_metrics={"test_loss": 1.0}, logged={"f1": 0.5, "score": 2.0},
        files=(("a.txt", b"a"),),
    )  # fmt: skip
    failure = Failure(trial_id="001", kind="train", message="m", files=(("b/c.txt", b"c"),))
    reports = {"000": report(0, 0, 2, 1, 0.5, ended=True), "001": failure}
    journal.commit(reports, {"000": COMPLETE, "001": Verdict(kind="fail")}, {"000": export})
    last = {row.key: (row.step, row.value) for row in reader.metrics("000")}
    assert (last["test_loss"], last["end/f1"], last["end/score"]) == ((1, 1.0), (1, 0.5), (1, 2.0))
    assert (tmp_path / "files" / "000" / "a.txt").read_bytes() == b"a"
    assert (tmp_path / "files" / "001" / "b" / "c.txt").read_bytes() == b"c"


def test_what_a_killed_driver_has_left_to_be_written_is_removed_and_a_link_is_not_followed(tmp_path: Path):
    (staging_folder(tmp_path) / "000.keras").write_bytes(b"half")
    assert list(staging_folder(tmp_path).iterdir()) == []
    (tmp_path / "staging").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").touch()
    (tmp_path / "staging").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="is a link"):
        staging_folder(tmp_path)
    with pytest.raises(OSError, match="symbolic links"):
        move_durably(tmp_path / "staging", tmp_path / "a")
    assert (tmp_path / "elsewhere" / "mine").exists()


def test_dropped_models_are_forgotten_before_their_files_go(
    journal: SqliteJournal, reader: JournalReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for number in (0, 1):
        export = Export(trial_id=f"00{number}", model=b"keras" * number, weights=b"npz")
        journal.commit(
            {export.trial_id: report(number, 0, 2, 1, 0.5)}, {export.trial_id: COMPLETE}, {export.trial_id: export}
        )
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", lambda *_, **__: pytest.fail("killed"))
        with pytest.raises(pytest.fail.Exception):
            journal.drop_models(["001"])
    assert [trial.weights for trial in reader.trials()] == ["models/000.weights.npz", None, None]
    assert (tmp_path / "models" / "001.keras").exists(), "left to `clean`"
    journal.drop_models(["000"])
    assert not (tmp_path / "models" / "000.weights.npz").exists()


def test_an_export_without_weights_leaves_its_metrics_alone(
    journal: SqliteJournal, reader: JournalReader, tmp_path: Path
):
    export = Export(trial_id="000", model=b"", weights=b"", test_metrics={"test_loss": 0.25})
    journal.commit({"000": report(0, 0, 2, 1, 0.5)}, {"000": COMPLETE}, {"000": export})
    assert (reader.trial("000").status, reader.trial("000").weights) == ("complete", None)
    assert reader.trial("000").metrics["test_loss"] == 0.25
    assert not (tmp_path / "models").exists()


def test_the_epoch_to_keep_is_remembered(journal: SqliteJournal, reader: JournalReader):
    journal.commit({"000": report(0, 0, 2, 1, 0.5)}, {"000": Verdict(kind="keep", keep_best=True)}, {})
    journal.commit({"000": report(0, 1, 4, 2, 0.9)}, {"000": KEEP}, {})
    assert reader.trial("000").best_epoch == 1


def test_the_end_of_a_sweep_ends_its_running_and_queued_trials(journal: SqliteJournal, reader: JournalReader):
    journal.assign({0: (Work(trial=trial(0), round=0), Work(trial=trial(1), round=0))})
    journal.commit({"000": report(0, 0, 2, 1, 0.5)}, {"000": COMPLETE}, {})
    journal.end("killed")
    assert reader.sweep().status == "killed"
    assert [t.status for t in reader.trials()] == ["complete", "killed", "killed"]


def test_what_is_committed_is_durable_and_readable_while_the_journal_is_open(journal: SqliteJournal, tmp_path: Path):
    connection = connect(tmp_path / FILE)
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL
    connection.execute("BEGIN")
    assert connection.execute("SELECT count(*) FROM trial").fetchone()[0] == 3
    journal.commit({"000": report(0, 0, 2, 0, 0.5)}, {"000": KEEP}, {})  # a reader in mid-transaction blocks nobody
    connection.close()


def test_a_folder_without_a_journal_is_no_sweep(tmp_path: Path):
    with pytest.raises(SweepNotFoundError, match="no sweep here"):
        JournalReader(tmp_path)


def test_an_unknown_trial_is_a_key_error(reader: JournalReader):
    with pytest.raises(KeyError):
        reader.trial("999")


def test_a_journal_that_is_not_open_says_so(tmp_path: Path):
    with pytest.raises(RuntimeError, match="context manager"):
        SqliteJournal(tmp_path, {}).end("complete")


HOLD = """
import os, sys, time
from pathlib import Path
from runner.journal import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_sweep_has_one_writer_until_that_dies(tmp_path: Path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with (
            pytest.raises(SweepBusyError, match=f"{tmp_path.name} is in use by process {owner.pid}"),
            locked(tmp_path),
        ):
            pass
        owner.kill()
    with locked(tmp_path):
        child = subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], capture_output=True, text=True, check=False)
        assert f"process {os.getpid()}" in child.stderr
    with locked(tmp_path):
        pass
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_process_that_the_owner_started_does_not_keep_the_lock(tmp_path: Path):
    with locked(tmp_path):
        child = subprocess.Popen(["sleep", "60"])
    with locked(tmp_path):
        pass
    child.kill()
    child.wait()


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "model"
    write_durably(file, b"first")
    assert file.stat().st_mode & 0o777 == 0o600

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_durably(file, b"second")
    assert file.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [file]


def test_a_rename_is_flushed_to_the_disk_with_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    flushed = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (flushed.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    write_durably(tmp_path / "model", b"bytes")
    assert flushed == [str(tmp_path / "model.partial"), str(tmp_path)]


def test_a_file_that_is_no_journal_is_told(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(JournalError, match=r"journal\.db: cannot be read"):
        JournalReader(tmp_path)


def test_a_clock_that_jumps_back_leaves_no_end_before_its_beginning(tmp_path: Path):
    times = iter([5000.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0])
    with SqliteJournal(tmp_path, {0: Allocation(num_cpus=1)}, clock=lambda: next(times, 10.0)) as journal:
        journal.create(SWEEP, (trial(0), trial(1)))
        journal.assign({0: (Work(trial=trial(0), round=0), Work(trial=trial(1), round=0))})
        for turn, ended_s in enumerate([5001.0, 3.0, 7000.0]):
            moved = report(0, turn, turn + 1, turn + 1, float(turn), ended=True)
            journal.commit({"000": replace(moved, turn=replace(moved.turn, ended_s=ended_s))}, {}, {})
        journal.commit({}, {"000": COMPLETE}, {})
        journal.end("killed")
    with JournalReader(tmp_path) as reader:
        first, second = reader.trials()
        assert all((t.ended_ms or 0) >= (t.started_ms or 0) for t in (first, second))
        assert (reader.sweep().ended_ms or 0) >= reader.sweep().created_ms
        assert first.metrics["val_loss"] == 3.0, "the last epoch's, whatever the clock said"
        assert summarize(reader.sweep().created_ms / 1000, reader.turns(), reader.barriers()) is not None


def test_reports_are_read_back_as_they_were_committed(journal: SqliteJournal, reader: JournalReader):
    reports = [report(0, 0, 1, 0, 0.1 + 0.2), report(0, 1, 2, 1, math.inf, ended=True), report(0, 2, 3, 1, 0.25)]
    for item in reports:
        journal.commit({"000": item}, {"000": KEEP}, {})
    assert reader.reports("000") == tuple(replace(item, facts=None) for item in reports)

    journal.commit({"001": report(1, 0, 1, 0, math.nan)}, {"001": KEEP}, {})
    (found,) = reader.reports("001")
    assert math.isnan(found.running["loss"])


def test_a_trial_is_rebuilt_from_its_record(reader: JournalReader):
    assert tuple(found.trial for found in reader.trials()) == tuple(trial(number) for number in range(3))
    rules = TrainSettings(early_stopping=EarlyStopping(patience=3), reduce_lr_on_plateau=ReduceLROnPlateau(factor=0.3))
    ruled = replace(trial(0), train=rules)
    assert Trial.of(json.loads(to_json(ruled))) == ruled


def test_facts_and_an_allocation_are_read_back_as_they_were_committed(tmp_path: Path):
    tensor = Tensor(name="x", dtype="float32", shape=(-1, 8))
    facts = replace(FACTS, signature=Signature(inputs=(tensor,), outputs=None), outside=("a.py", "b.py"), compile="xla")
    given = replace(facts, signature=Signature(inputs=(tensor,), outputs=(replace(tensor, name=None),)))
    allocation = Allocation(num_cpus=0.5, num_gpus=0.25, gpus=("0", "1"), gpu_memory_mib=900)
    with SqliteJournal(tmp_path, {0: allocation}) as journal:
        journal.create(SWEEP, (trial(0), trial(1)))
        for number, each in enumerate((facts, given)):
            journal.assign({0: (Work(trial=trial(number), round=0),)})
            reported = replace(report(number, 0, 1, 0, 1.0), facts=each)
            journal.commit({f"{number:03d}": reported}, {f"{number:03d}": COMPLETE}, {})
    with JournalReader(tmp_path) as reader:
        assert [(one.facts, one.allocation) for one in reader.trials()] == [(facts, allocation), (given, allocation)]


@pytest.mark.parametrize("change", [{"later": 1}, {"seed": None, "id": "001"}, {"params": {"!odd": []}}])
def test_a_record_that_this_program_did_not_write_is_an_error(tmp_path: Path, change: dict[str, object]):
    with SqliteJournal(tmp_path, {}) as journal:
        journal.create(SWEEP, (trial(0),))
    connection = connect(tmp_path / FILE)
    record = json.dumps(json.loads(to_json(trial(0))) | change)
    connection.execute("UPDATE trial SET record = ?", (record,))
    connection.close()
    with JournalReader(tmp_path) as reader, pytest.raises(JournalError, match=r"another version|no such id"):
        reader.trials()


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, 0.5, "a", [1, [2]], (1, 2), ((1,), [2, (3,)]), {"a": (1,)}, {0: 1.0, 1: 5.0}, {"!tuple": [1]}),
        *({(1, 2): {None: "x"}}, {1, 2}, frozenset("ab"), b"\x00\xff", 1 + 2j, {}, (), []),
    ],
    ids=lambda value: type(value).__name__,  # a set's text differs from process to process
)
def test_a_trial_gets_the_very_values_back(value: object) -> None:
    given = replace(trial(0), params={"value": value})
    (found,) = Trial.of(json.loads(to_json(given))).params.values()
    assert (found, type(found)) == (value, type(value))


def test_a_reopened_sweep_runs_again_and_repeats_turns_without_doubling_their_metrics(
    journal: SqliteJournal, reader: JournalReader
):
    journal.assign({0: (Work(trial=trial(0), round=0),), 1: (Work(trial=trial(1), round=0),)})
    journal.commit({"000": report(0, 0, 2, 1, 0.5, ended=True)}, {"000": Verdict(kind="fail", reason="export: no")}, {})
    journal.end("killed")
    before = reader.metrics()
    longer = replace(trial(0), train=TrainSettings(epochs=7))
    journal.reopen({"000": (longer, 0), "002": (trial(2), 0)})

    assert (reader.sweep().status, reader.sweep().ended_ms) == ("running", None)
    assert [found.status for found in reader.trials()] == ["running", "killed", "queued"]
    again = reader.trial("000")
    assert (again.reason, again.ended_ms, again.started_ms, again.settings["train.epochs"]) == ("", None, 42000, 7)
    assert again.trial == longer
    assert reader.reports("000") == ()
    journal.assign({1: (Work(trial=trial(0), round=0),)})
    assert reader.trial("000").slot == 1
    journal.commit({"000": report(0, 0, 2, 1, 0.5, ended=True)}, {"000": COMPLETE}, {})
    assert reader.metrics() == before
    assert len(reader.reports("000")) == 1


def test_the_model_of_a_trial_that_goes_on_is_its_result_no_more(journal: SqliteJournal, reader: JournalReader):
    journal.assign({0: (Work(trial=trial(0), round=0),)})
    export = Export(trial_id="000", model=b"keras", weights=b"npz")
    journal.commit({"000": report(0, 0, 2, 1, 0.5, ended=True)}, {"000": COMPLETE}, {"000": export})
    assert reader.trial("000").weights is not None
    journal.end("complete")
    journal.reopen({"000": (replace(trial(0), train=TrainSettings(epochs=7)), 1)})
    journal.end("killed")
    assert (reader.trial("000").model, reader.trial("000").weights) == (None, None)


def test_incidents_are_counted(journal: SqliteJournal, reader: JournalReader):
    for number in range(2):
        journal.note(Incident(trial_id="001", round=number, kind="worker", message="died", noticed_s=1.5))
    assert [reader.incidents(found.id) for found in reader.trials()] == [0, 2, 0]


def test_the_peak_of_gpu_memory_is_a_metric_each_time_that_it_rises(journal: SqliteJournal, reader: JournalReader):
    journal.assign({0: (Work(trial=trial(0), round=0),)})
    reports = [
        replace(one, turn=replace(one.turn, gpu_memory_mib=peak))
        for one, peak in zip(
            (report(0, 0, 1, 0, 3.0), report(0, 1, 2, 1, 2.0, ended=True), report(0, 2, 3, 1, 1.5)),
            (100.0, 80.0, 120.0),
            strict=True,
        )
    ]
    for one in reports:
        journal.commit({"000": one}, {"000": KEEP}, {})
    peaks = [(row.step, row.value) for row in reader.metrics("000") if row.key == "memory/gpu_peak_mib"]
    assert peaks == [(1, 100.0), (3, 120.0)]
    assert [replace(one, facts=None) for one in reports] == list(reader.reports("000"))
    assert set(reader.trial("000").metrics) == {"loss", "val_loss"}, "no result of the model"


def test_a_resized_slot_is_recorded_with_the_trial_that_is_in_it_and_those_that_follow(
    journal: SqliteJournal, reader: JournalReader
):
    first, second = (Work(trial=trial(number), round=0) for number in (0, 1))
    journal.assign({0: (first,), 1: (second,)})
    journal.resize(0, Allocation(num_cpus=1, memory_mib=900))
    journal.commit({"000": report(0, 0, 1, 0, 3.0)}, {"000": COMPLETE}, {})
    journal.assign({0: (Work(trial=trial(2), round=0),), 1: (replace(second, round=1),)})
    assert [one.allocation.memory_mib for one in reader.trials()] == [900, None, 900]


def test_what_is_decided_is_in_the_journal_with_the_round_it_was_decided_in(
    journal: SqliteJournal, reader: JournalReader
):
    journal.assign({0: (Work(trial=trial(0), round=0),), 1: (Work(trial=trial(1), round=0),)})
    lower = Verdict(kind="keep", keep_best=True, learning_rate=0.25)
    failure = Failure(trial_id="001", kind="train", message="odd: \x00\udcff")
    journal.commit({"000": report(0, 0, 1, 0, 3.0), "001": failure}, {"000": lower, "001": Verdict(kind="fail")}, {})
    assert reader.decisions("000") == decisions_of("000", report(0, 0, 1, 0, 3.0).step, lower)
    (fail,) = reader.decisions("001")
    assert (fail.step, fail.kind, fail.reason) == (0, "fail", "train: odd: \x00\udcff")


def test_a_model_that_could_not_be_written_is_told_from_a_turn_that_failed(
    journal: SqliteJournal, reader: JournalReader
):
    journal.assign({0: (Work(trial=trial(0), round=0),)})
    lost = Failure(trial_id="000", kind="worker", message="died")
    journal.commit({"000": report(0, 0, 1, 0, 3.0)}, {"000": Verdict(kind="fail")}, {"000": lost})
    assert [dict(one.arguments) for one in reader.decisions("000")] == [{"model_lost": True}]


def test_trials_that_join_a_sweep_are_queued_behind_the_others(journal: SqliteJournal, reader: JournalReader):
    before = [one.id for one in reader.trials()]
    joined = Decision(trial_id="008", step=0, kind="add", by="sampler")
    journal.assign({0: (Work(trial=trial(0), round=0),)})
    journal.commit({"000": report(0, 0, 1, 0, 3.0)}, {"000": COMPLETE}, {}, (trial(7), trial(8)), (joined,))
    assert [one.id for one in reader.trials()] == [*before, "007", "008"]
    assert [one.status for one in reader.trials()[-2:]] == ["queued", "queued"]
    assert [(one.kind, one.by) for one in reader.decisions("008")] == [("add", "sampler")]


def test_a_turn_that_is_repeated_is_decided_again(journal: SqliteJournal, reader: JournalReader):
    journal.assign({0: (Work(trial=trial(0), round=0),)})
    journal.commit({"000": report(0, 0, 1, 0, 3.0)}, {"000": Verdict(kind="keep", keep_best=True)}, {})
    journal.commit({"000": report(0, 1, 2, 1, 3.0)}, {"000": COMPLETE}, {})
    more = Decision(trial_id="000", step=1, kind="continue", by="user", reason="more epochs")
    journal.reopen({"000": (trial(0), 1)}, (more,))
    assert [one.kind for one in reader.decisions("000")] == ["keep_best", "continue"]


def test_a_journal_of_another_format_names_the_version_that_reads_it_and_hides_no_other_sweep(tmp_path: Path):
    for name in ("old-1", "new-1"):
        (tmp_path / name).mkdir()
        with SqliteJournal(tmp_path / name, {}) as journal:
            journal.create(replace(SWEEP, id=name), (trial(0),))
    connection = connect(tmp_path / "old-1" / FILE)
    connection.execute("PRAGMA user_version = 0")
    connection.execute("""UPDATE sweep SET versions = '{"lockstep-runner": "0.1.0"}'""")
    connection.close()
    with pytest.raises(JournalError, match=r"by lockstep-runner 0\.1\.0 in journal format 0; .* reads format 2"):
        JournalReader(tmp_path / "old-1")
    assert [review.sweep.id for review in list_sweeps(tmp_path)] == ["new-1"]


def test_an_epoch_metric_named_like_one_of_the_programs_own_is_kept_apart_and_read_back(
    journal: SqliteJournal, reader: JournalReader
):
    names = ("score", "best_epoch", "round/loss", "test_loss", "memory/gpu_peak_mib", "epoch/loss", "loss")
    metrics = {name: float(number) for number, name in enumerate(names)}
    reported = report(0, 0, 1, 1, 9.0, ended=True)
    reported = replace(reported, epochs=(replace(reported.epochs[0], metrics=metrics),), facts=None)
    export = Export(trial_id="000", model=b"", weights=b"npz", test_metrics={"test_loss": 0.25})
    journal.commit({"000": reported}, {"000": Verdict(kind="complete")}, {"000": export})
    assert reader.reports("000") == (reported,)
    found = {row.key: row.value for row in reader.metrics("000")}
    own = {"round/loss": 9.0, "test_loss": 0.25, "loss": 6.0}
    assert found == own | {f"epoch/{name}": value for name, value in metrics.items() if name != "loss"}

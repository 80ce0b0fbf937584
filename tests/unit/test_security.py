"""What docs/security.md promises of files and names; listeners, tokens and the UI are tested where they are real."""

from __future__ import annotations

import ast
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from runner.config import load_config
from runner.errors import ConfigError, JournalError, SweepNotFoundError
from runner.journal import FILE, JournalReader, SqliteJournal, SweepRecord, locked, write_durably
from runner.journal.snapshots import SnapshotStore
from runner.records import Allocation, Export, Facts, Failure, Snapshot, Trial, Verdict, Work
from runner.review.catalog import find_sweep, open_review
from runner.review.export import export_model
from runner.search.members import resolve_members

ROOT = Path(__file__).parents[2]
EXPERIMENT = """\
def load_data(hf_token: str = "", path: str = "data"): ...
def build_model(units: int = 1, key_dim: int = 8, max_tokens: int = 9, pad_token: str = "<pad>"): ...
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "conf" / "experiment").mkdir(parents=True)
    (tmp_path / "a.py").write_text(EXPERIMENT, encoding="utf-8")
    (tmp_path / "outside.yaml").write_text("# @package _global_\nexperiment: a.py\n", encoding="utf-8")
    (tmp_path / "conf" / "config.yaml").write_text("experiment: a.py\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(*settings: str, file: str | None = None, name: str = "config") -> str:
    with pytest.raises(ConfigError) as error:
        resolve_members(load_config(file, list(settings), config_dir=None, config_name=name))
    return str(error.value)


# --- nothing from a file is run ---------------------------------------------------------------------------------------

RUNS_CODE = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
LOADERS = {"load_model", "load_weights", "load_context", "unsafe_load", "full_load", "eval", "exec", "deserialize"}


def calls(tree: ast.Module) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            yield name, node


@pytest.mark.parametrize("file", sorted((ROOT / "runner").rglob("*.py")), ids=lambda path: path.name)
def test_no_module_loads_what_could_run_code(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
            assert not {name.split(".")[0] for name in names} & RUNS_CODE, f"{file.name}:{node.lineno}"
    for name, call in calls(tree):
        keywords = {keyword.arg: keyword.value for keyword in call.keywords}
        where = f"{file.name}:{call.lineno}: {name}"
        if name == "load" and ast.unparse(call.func).split(".")[0] in ("np", "numpy", "yaml"):
            assert ast.unparse(keywords.get("allow_pickle", ast.Constant(None))) == "False", where
        if name in LOADERS:
            assert ast.unparse(keywords.get("safe_mode", ast.Constant(True))) == "True", where
            assert name in ("load_model", "load_weights"), where


ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
YAML = {
    "!!python/object/apply:os.system [id]": "tag",
    "params: {path: !!python/name:os.system }": "tag",
    "params: {path: !!binary aGk=}": "tag",
    "params: {_target_: os.system}": "_target_ is not supported",
    "search: {space: {_target_: [1]}}": "_target_ is not supported",
    "seed: 1\nseed: 2": "seed: given twice",
    "params: &a {path: *a}": "an alias (*) that contains itself",
    ALIASES: "a config has at most",
    "params: {path: '${oc.env:HOME}'}": "only plain references",
    "params: " + "[" * 5000: "nested too deeply",
}  # fmt: skip


@pytest.mark.parametrize("text", YAML, ids=[why.split()[0] + str(i) for i, why in enumerate(YAML.values())])
def test_yaml_that_would_run_or_grow_is_refused_at_once(project: Path, text: str) -> None:
    (project / "conf" / "config.yaml").write_text(text, encoding="utf-8")
    began_s = time.monotonic()
    assert YAML[text] in refused()
    assert time.monotonic() - began_s < 2.0


# --- names stay where they belong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    [
        "name=../x",
        "name=..",
        "name=/x",
        "name=a/b",
        "name=.x",
        "'name=\"a\nb\"'",
        "+members={../x: {experiment: a.py}}",
        "+members={'a/b': {experiment: a.py}}",
        "experiment=../../outside",
        "experiment=../outside",
        "experiment=x/../../../outside",
        "experiment=/etc/passwd",
    ],
)
def test_a_name_that_is_a_path_is_refused(project: Path, setting: str) -> None:
    assert refused(setting)


def test_an_option_outside_the_config_folder_is_refused_though_it_exists(project: Path) -> None:
    assert "must be one name" in refused("experiment=../../outside")
    assert "must be one name" in refused(f"experiment={project}/outside")
    (project / "conf" / "config.yaml").write_text("defaults: [experiment: ../../outside]\n", encoding="utf-8")
    assert "outside" in refused()


@pytest.mark.parametrize("name", ["../outside", "/etc/x", "..", "a/../../outside", "\0"])
def test_a_config_name_outside_the_config_folder_is_refused(project: Path, name: str) -> None:
    assert "--config-name" in refused(name=name)


@pytest.mark.parametrize("name", ["../s", "..", "/", ".", "s/../s", ""])
def test_a_sweep_is_found_by_name_and_not_by_path(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("s", "sweeps/a", "sweeps/b"):
        Path(folder).mkdir(parents=True)
        (Path(folder) / FILE).touch()
    with pytest.raises(SweepNotFoundError):
        find_sweep(name)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE trial SET record = replace(record, 'cases.py', '../../evil.py')",
        "UPDATE trial SET record = replace(record, 'cases.py', '/tmp/evil.py')",
        "INSERT INTO model VALUES ('000', '../../../etc/passwd', 'models/000.weights.npz', 1)",
        "INSERT INTO model VALUES ('000', NULL, '/etc/passwd', 1)",
    ],
)
def test_a_foreign_journal_cannot_name_files_outside_its_folder(tmp_path: Path, make_trial, statement: str) -> None:
    sweep = SweepRecord(
        id="s", name="s", created_ms=0, metric="loss", goal="minimize", config="", command="", tracking_uri="",
        mlflow_experiment="", versions={},
    )  # fmt: skip
    with SqliteJournal(tmp_path, {}) as journal:
        journal.create(sweep, (make_trial(),))
    assert open_review(tmp_path).trials
    database = sqlite3.connect(tmp_path / FILE)
    with database:
        database.execute(statement)
    database.close()
    with pytest.raises(JournalError, match="outside the sweep's folder"), JournalReader(tmp_path) as reader:
        reader.trials()


@pytest.mark.parametrize("trial_id", ["../../../mine", "/mine", ".", "", "a/b", "001"])
@pytest.mark.parametrize("in_record", [False, True])
def test_a_foreign_journals_ids_of_trials_are_no_paths(foreign: Path, trial_id: str, in_record: bool) -> None:
    database = sqlite3.connect(foreign / FILE)
    with database:
        if in_record:
            database.execute("UPDATE trial SET record = json_set(record, '$.id', ?)", (trial_id,))
        else:
            database.execute("UPDATE trial SET id = ?", (trial_id,))
    database.close()
    with pytest.raises(JournalError, match="this program makes no such id"), JournalReader(foreign) as reader:
        reader.trials()


@pytest.fixture
def foreign(tmp_path: Path, make_trial) -> Path:
    """A whole sweep with a model, as someone else may have packed it, beside a file of the user's own."""
    folder = tmp_path / "sweeps" / "s"
    folder.mkdir(parents=True)
    sweep = SweepRecord(
        id="s", name="s", created_ms=0, metric="loss", goal="minimize", config="", command="", tracking_uri="",
        mlflow_experiment="", versions={},
    )  # fmt: skip
    with SqliteJournal(folder, {0: Allocation(num_cpus=1)}) as journal:
        journal.create(sweep, (make_trial(),))
        journal.assign({0: (Work(trial=make_trial(), round=0),)})
        ended = Export(trial_id="000", model=b"m", weights=b"w")
        journal.commit({}, {"000": Verdict(kind="complete")}, {"000": ended})
        journal.end("complete")
    (tmp_path / "id_rsa").write_text("mine", encoding="utf-8")
    return folder


def link(folder: Path, name: str) -> None:
    """Puts a link to the user's file, or to a folder of copies of it, where the sweep has something of its own."""
    mine, path = folder.parents[1] / "id_rsa", folder / name
    if path.is_dir():
        elsewhere = folder.parents[1] / "elsewhere"
        path.rename(elsewhere)
        path.symlink_to(elsewhere)
        return
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(mine)


@pytest.mark.parametrize("name", ["models", "models/000.keras", "models/000.weights.npz"])
def test_a_model_that_is_a_link_is_not_exported(foreign: Path, name: str) -> None:
    link(foreign, name)
    review = open_review(foreign)
    facts = Facts(
        steps_per_epoch=1, rows=1, validation_rows=None, parameters=1, program="round", program_reason="", inexact="",
        summary="", loadable=True,
    )  # fmt: skip
    trial = replace(review.trials[0], facts=facts)
    with pytest.raises(JournalError, match="is a link or leads through one"):
        export_model(review, trial, foreign.parents[1] / "out")
    assert not any(file.read_bytes() == b"mine" for file in (foreign.parents[1] / "out").rglob("*.*"))


@pytest.mark.parametrize("name", ["snapshots", "snapshots/000"])
def test_snapshots_behind_a_link_are_neither_used_nor_written_nor_removed(foreign: Path, make_trial, name: str) -> None:
    store, mine = SnapshotStore(foreign, {}, pytest.fail), foreign.parents[1] / "elsewhere"
    snapshot = Snapshot(trial_id="000", round=1, step=1, state=b"s")
    store.write(make_trial(), snapshot)
    link(foreign, name)
    files = sorted(mine.rglob("*"))
    refuse_all(store, make_trial())
    assert sorted(mine.rglob("*")) == files
    assert files


def test_snapshots_outside_of_a_sweeps_folder_are_neither_used_nor_written_nor_removed(
    foreign: Path, make_trial
) -> None:
    victim = foreign.parents[1] / "victim"
    victim.mkdir()
    refuse_all(SnapshotStore(foreign, {}, pytest.fail), make_trial(id="../../../victim"))
    assert victim.is_dir()
    assert not any(victim.iterdir())


def refuse_all(store: SnapshotStore, trial: Trial) -> None:
    snapshot = Snapshot(trial_id=trial.id, round=2, step=2, state=b"s")
    for act in (
        lambda: store.drop(trial.id),
        lambda: store.has_any(trial.id),
        lambda: store.newest(trial, 9),
        lambda: store.write(trial, snapshot),
    ):
        with pytest.raises(JournalError, match="is a link or leads through one"):
            act()


def test_a_lock_that_is_a_link_is_refused_and_its_target_is_left_as_it_is(foreign: Path) -> None:
    link(foreign, "lock")
    with pytest.raises(JournalError, match="lock: is a link"), locked(foreign):
        pass
    assert (foreign.parents[1] / "id_rsa").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", [FILE, f"{FILE}-wal", f"{FILE}-shm"])
def test_a_journal_that_is_a_link_is_not_opened(foreign: Path, name: str) -> None:
    link(foreign, name)
    for opening in (JournalReader, lambda folder: SqliteJournal(folder, {}).__enter__()):
        with pytest.raises(JournalError, match="is a link or leads through one"):
            opening(foreign)
    assert (foreign.parents[1] / "id_rsa").read_text(encoding="utf-8") == "mine"


def test_a_file_that_is_written_anew_is_not_written_through_a_link(foreign: Path) -> None:
    link(foreign, "models/000.keras.partial")
    with pytest.raises(OSError, match="symbolic links"):
        write_durably(foreign / "models" / "000.keras", b"new")
    assert (foreign.parents[1] / "id_rsa").read_text(encoding="utf-8") == "mine"


def test_a_sweep_in_a_linked_folder_is_no_foreign_one(foreign: Path) -> None:
    moved = foreign.parents[1] / "disk"
    foreign.rename(moved)
    foreign.symlink_to(moved)
    with locked(foreign):
        assert export_model(open_review(foreign), open_review(foreign).trials[0], foreign.parents[1] / "out")


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "setting",
    ["params.hf_token=abc", "params.hf_token=a,b", "search.space.hf_token=[abc]", "search.points=[{hf_token: abc}]"],
)
def test_a_parameter_named_like_a_secret_is_refused_since_it_would_be_recorded(project: Path, setting: str) -> None:
    told = refused(setting, file="a.py")
    assert "hf_token: is named like a secret" in told
    assert "abc" not in told


@pytest.mark.parametrize("setting", ["params.key_dim=4", "params.max_tokens=5", "params.pad_token=x", "params.path=k"])
def test_hyperparameters_with_such_words_are_not(project: Path, setting: str) -> None:
    assert resolve_members(load_config("a.py", [setting], config_dir=None))


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("hf_" + "abcdefghij" * 3 + "abcd", "a Hugging Face token"),
        ("postgresql://me:hunter22@host/data", "an address with a password"),
        ("https://a.blob.core.windows.net/c?sv=1&sig=a1b2c3d4e5f6", "a named secret"),
        ("Server=host;Password=hunter22;Encrypt=yes", "a named secret"),
    ],
)
def test_a_parameter_that_looks_like_a_secret_is_refused(project: Path, value: str, what: str) -> None:
    told = refused(f"params.path='{value}'", file="a.py")
    assert f"path: looks like {what}" in told
    assert value[-4:] not in told


def test_a_config_with_a_secret_of_the_environment_is_refused_before_anything_starts(project: Path) -> None:
    from runner.driver.context import Context
    from runner.driver.run import run
    from runner.views.watchers import Silent

    config = load_config("a.py", ["params.path=hunter22hunter"], config_dir=None)
    shaped = load_config("a.py", [f"tracking.mlflow_experiment={'hf_' + 'abcdefghij' * 4}"], config_dir=None)
    with pytest.raises(ConfigError, match="has what looks like a Hugging Face token in it"):
        run(shaped, Context(watcher=Silent()), root=Path("sweeps"))
    with pytest.raises(ConfigError, match="has the value of MY_TOKEN in it") as error:
        run(config, Context(watcher=Silent(), environment={"MY_TOKEN": "hunter22hunter"}), root=Path("sweeps"))
    assert "hunter22" not in str(error.value)
    assert not Path("sweeps").exists()


def test_what_is_recorded_of_a_config_has_no_credentials(project: Path) -> None:
    from runner.driver.record import recorded_config

    uri = "postgresql://me:hunter22@host/db?password=hunter22"
    config = load_config("a.py", [f"'tracking.uri=\"{uri}\"'".strip("'")], config_dir=None)
    assert config.tracking.uri == uri
    assert "hunter22" not in recorded_config(config)
    assert "postgresql://host/db" in recorded_config(config)


def test_what_an_experiment_says_loses_secrets_where_it_enters_the_driver() -> None:
    from runner.loop.logged import LoggedFleet
    from runner.records import Aside

    warned: list[str] = []
    fleet = Mock()
    aside = Aside(output="at last hunter22\n", warnings=("beware of hunter22",))
    failure = Failure(trial_id="000", kind="train", message="no hunter22", traceback="in hunter22", aside=aside)
    for call in ("check", "probe", "advance", "export", "snapshot", "restore"):
        getattr(fleet, call).return_value = {"000": failure, "001": replace(failure, aside=Aside())}
    logged = LoggedFleet(fleet, lambda *_: "", warned.append, lambda text: text.replace("hunter22", "***"))
    for call in ("check", "probe", "advance", "export", "snapshot", "restore"):
        found = getattr(logged, call)({})
        assert found["000"].message == "no *** (its output ends with 'at last ***')"
        assert found["000"].traceback.startswith("in ***")
        assert "hunter22" not in repr(found)
    assert warned == ["beware of ***"]


# --- the page ---------------------------------------------------------------------------------------------------------


def test_every_claim_of_the_security_page_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and "test" in line.rsplit("|", 2)[1]]
    named = [re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", row) for row in rows[0:] if "`tests/" in row]
    assert len(named) >= 12
    for file, test in (pair for row in named for pair in row):
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8"), f"{file}::{test}"

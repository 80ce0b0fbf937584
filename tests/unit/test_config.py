"""Files and command line to typed config."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from runner import records
from runner.config import Config, config_to_yaml, hints, load_config
from runner.config.files import Folder, compose_folder
from runner.config.mlflow_variables import notes, with_credentials
from runner.config.schema import EarlyStopping, ReduceLROnPlateau, Train, default_values
from runner.errors import ConfigError
from runner.search.members import resolve_members

ROOT = Path(__file__).parents[2]

CONFIG = """\
defaults:
  - _self_
  - experiment: small
name: auto
train:
  epochs: 3
"""
SMALL = """\
# @package _global_
experiment: models/a.py
params: {act: relu}
search:
  metric: val_loss
  space:
    units: [32, 64]
    learning_rate: "loguniform(1e-4, 1e-1)"
    train.batch_size: [8, 16]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path, "conf/config.yaml", CONFIG)
    write(tmp_path, "conf/experiment/small.yaml", SMALL)
    write(tmp_path, "models/a.py", "def load_data(): ...\ndef build_model(units=1): ...\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(root: Path, name: str, text: str | bytes) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def load(*overrides: str, experiment: str | None = None, **named: object) -> Config:
    return load_config(experiment, overrides, config_dir=None, **named)  # type: ignore[arg-type]


def problems(*overrides: str, experiment: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*overrides, experiment=experiment)
    return str(caught.value)


def test_the_default_experiment_group_is_composed(project: Path) -> None:
    config = load()
    assert (config.name, config.experiment, config.train.epochs) == ("a", "models/a.py", 3)
    assert config.search.space == {
        "units": [32, 64],
        "learning_rate": "loguniform(1e-4, 1e-1)",
        "train.batch_size": [8, 16],
    }


def test_an_experiment_file_replaces_the_group_in_both_forms(project: Path) -> None:
    by_position, by_key = load(experiment="models/b.py"), load("experiment=models/b.py")
    assert by_position == by_key
    assert (by_key.name, by_key.search.space, by_key.train.epochs) == ("b", {}, 3)


def test_defaults_serve_without_a_config_folder(empty: Path) -> None:
    config = load("params.units=32,64", experiment="some/my model.py")
    assert config == Config(
        name="my_model",
        experiment="some/my model.py",
        search={"space": {"units": [32, 64]}},
        tracking={"uri": "sqlite:///mlflow.db", "mlflow_experiment": "my_model"},
    )


def test_without_folder_and_experiment_the_error_says_what_to_give(empty: Path) -> None:
    assert "name an experiment file" in problems()
    assert "no conf folder here" in problems("experiment=digits")


def test_a_folder_with_configs_of_experiments_needs_no_other(empty: Path) -> None:
    Path("conf/experiment").mkdir(parents=True)
    text = "# @package _global_\nexperiment: some/my model.py\ntrain: {epochs: 3}\n"
    Path("conf/experiment/short.yaml").write_text(text, encoding="utf-8")
    assert load("experiment=short").train.epochs == 3
    assert "no conf/experiment/shot.yaml; did you mean short?" in problems("experiment=shot")


def test_an_unknown_experiment_suggests_and_lists(project: Path) -> None:
    assert problems("experiment=smal").endswith(
        "experiment=smal: no conf/experiment/smal.yaml; did you mean small? available: small"
    )


@pytest.mark.parametrize(
    ("override", "written"),
    [
        ("params.units=1,2", [1, 2]),
        ("params.units=choice(1,2)", "choice(1,2)"),
        ("params.units=range(1,9,2)", "range(1,9,2)"),
        ("params.units=interval(0,1)", "interval(0,1)"),
        ("params.units=loguniform(1e-3,1)", "loguniform(1e-3,1)"),
        ("search.space.units=1,2", [1, 2]),
    ],
)
def test_a_search_on_the_command_line_replaces_the_one_in_yaml(project: Path, override: str, written: object) -> None:
    space = load(override).search.space
    assert list(space) == ["units", "learning_rate", "train.batch_size"]
    assert space["units"] == written


def test_a_search_on_the_command_line_removes_a_fixed_value(project: Path) -> None:
    config = load("params.act=relu,gelu")
    assert config.params == {}
    assert config.search.space["act"] == ["relu", "gelu"]


@pytest.mark.parametrize(
    ("override", "name"),
    [("params.units=5", "units"), ("train.batch_size=4", "train.batch_size"), ("params={units: 5}", "units")],
)
def test_a_fixed_value_on_the_command_line_removes_the_search(project: Path, override: str, name: str) -> None:
    assert name not in load(override).search.space


def test_seed_and_a_parameter_named_seed_are_two_things(empty: Path) -> None:
    config = load("seed=0,1", "params.seed=2,3", experiment="a.py")
    assert config.search.space == {"seed": [0, 1], "params.seed": [2, 3]}


def test_a_fixed_value_leaves_listed_points_without_repetition(empty: Path) -> None:
    points = "search.points=[{units: 1, lr: 2}, {units: 3, lr: 2}]"
    assert load(points, "params.units=5", experiment="a.py").search.points == [{"lr": 2}]


def test_settings_for_all_reach_members_and_members_keep_the_last_word(empty: Path) -> None:
    members = "{a: {experiment: a.py, params: {units: 1}}, b: {experiment: a.py, params: {units: 2}}}"
    write(empty, "conf/config.yaml", f"members: {members}")
    config = load("members.b.params.units=9", "params.units=7")
    assert config.params == {"units": 7}
    assert {name: member.params for name, member in config.members.items()} == {"a": {}, "b": {"units": 9}}


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("train.epoch=3", "train.epoch: unknown key; did you mean train.epochs?"),
        ("epochs=3", "epochs: unknown key; did you mean train.epochs?"),
        ("train.shuffle=1", "train.shuffle: must be true or false; got 1"),
        ("resources.num_gpus=1.5", "resources.num_gpus: must be auto, a fraction of a GPU up to 1 (such as 0.33)"),
        ("resources.num_cpus=0", "resources.num_cpus: must be auto or a number above 0; got 0"),
        ("train.epochs=true", "train.epochs: must be a whole number above 0; got true"),
        ("train.early_stopping.patience=x", "train.early_stopping.patience: must be a whole number, 0 or above"),
        ("train.early_stopping.restore_best_weights=true", "did you mean train.early_stopping.restore_best?"),
        ("fleet.kind=ray,local", "fleet.kind: cannot be searched; only params.*"),
        ("units=16,32", "seed can; did you mean params.units?"),
        ("batch_size=16,32", "seed can; did you mean train.batch_size?"),
        ("params.units=16,", "params.units=16,: ends with a comma; write several values without blanks"),
        ("seed=-1", "seed: must be a whole number from 0 to 2147483647, or a list of them; got -1"),
        ("params.lr=1e999", "inf is not a finite number"),
        ("params.lr=loguniform(0,1)", "loguniform needs a low bound above 0"),
        ("params.n=range(0,0)", "the range is empty"),
        ("params.n=range(0,1000000000000000000000)", "more than 10000 values"),
        ("params.n=shuffle(1,2)", "unknown function; allowed: choice, range, int, logint, interval, loguniform"),
        ("params.n=%é", "put quotes around a value with special characters"),
        ("params.n", "not of the form key=value"),
        ("params._target_=os.system", "_target_ is not supported"),
        ("params.home='${oc.env:HOME}'", "only plain references"),
        ("name=${nme}", "refers to a key that does not exist"),
        ("name=${fleet.kind}${name}", "leads back to itself"),
        ("hydra.run.dir=x", "Hydra's own settings are not used here"),
        ("~params.units", "cannot be removed"),
        ("name=a/b", "name: must be auto"),
        ("search=3", "search: must be a section; got 3; allowed keys: sampler"),
        ("members.a.experiment=x.py", "give one of them"),
    ],
)
def test_a_wrong_setting_is_explained(empty: Path, override: str, told: str) -> None:
    message = problems(override, experiment="a.py")
    assert message.startswith("command line: ")
    assert told in message


@pytest.mark.parametrize(
    "name", [*hints.table("callbacks"), "ModelCheckpoint", "TerminateOnNaN", "CSVLogger", "TensorBoard"]
)
def test_keras_callbacks_are_refused_by_name_with_the_alternative(empty: Path, name: str) -> None:
    message = problems(f"train.{name}=true", experiment="a.py")
    assert "is not needed: " in message or "belongs into the experiment: " in message


def test_all_problems_are_listed_at_once(empty: Path) -> None:
    message = problems("train.epoch=1", "seed=x", "params.a=loguniform(1)", "fleet.kind=a,b", experiment="a.py")
    assert len(message.splitlines()) == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train:\n  epoch: 3\n", "conf/experiment/small.yaml:2: train.epoch: unknown key; did you mean train.epochs?"),
        ("seed: 1\nseed: 2\n", "small.yaml:2: seed: given twice; first on line 1"),
        ("train:\n\tepochs: 3\n", "small.yaml:2: not valid YAML: a tab character"),
        ("- 1\n", "small.yaml:1: a config is a list of `key: value` lines; got a list"),
        ("seed: [1\n", "small.yaml:2: not valid YAML"),
        ("params: &a {x: *a}\n", "small.yaml:1: an alias (*) that contains itself"),
        ("params: {x: !!python/name:os.system ''}\n", "small.yaml:1: the tag !!python/name:os.system is not allowed"),
        ("params: {_target_: os.system}\n", "small.yaml:1: _target_ is not supported"),
        ("params: {x: '${oc.env:HOME}'}\n", "conf/experiment/small.yaml:1: params.x: only plain references"),
        ("seed: 010\n", "small.yaml:1: YAML reads 010 in base 8 or 60"),
        ("params: {no: 1}\n", "small.yaml:1: the key 'no' is read as bool"),
        ("hydra: {run: 1}\n", "conf/experiment/small.yaml:1: hydra: unknown key; Hydra's own settings"),
        ("defaults: [nowhere]\n", "small.yaml:1: defaults: no conf/experiment/nowhere.yaml"),
        ("search:\n  points: [{}, 3]\n", "conf/experiment/small.yaml:2: search.points[1]: must be a list of mappings"),
        (b"name: \xff\n", "small.yaml:1: not UTF-8 text"),
        ("params: " + "[" * 3000, "small.yaml:1: nested too deeply"),
        ("experiment: a.py\n", "small.yaml:1: an experiment's config begins with the line `# @package _global_`"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(project: Path, text: str | bytes, told: str) -> None:
    write(project, "conf/experiment/small.yaml", text)
    header = "# @package _global_\n"
    if told.startswith("conf/"):  # the header moves lines by one
        write(project, "conf/experiment/small.yaml", header + str(text))
        told = told.replace(":2:", ":3:").replace(":1:", ":2:")
    assert told in problems(experiment=None)


def test_nested_aliases_are_refused_before_they_are_expanded(project: Path) -> None:
    lines = ["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]
    write(project, "conf/experiment/small.yaml", "\n".join(lines))
    assert "aliases expanded" in problems()


def test_references_that_grow_without_bound_are_refused(empty: Path) -> None:
    chain = [
        f"params.p{n}='{'${params.p' + str(n - 1) + '}' * 1}{'${params.p' + str(n - 1) + '}'}'" for n in range(1, 40)
    ]
    assert "cannot be resolved" in problems("params.p0=xxxxxxxx", *chain, experiment="a.py")


def test_scientific_notation_in_yaml_is_a_number(project: Path) -> None:
    write(project, "conf/experiment/small.yaml", "# @package _global_\nexperiment: a.py\nparams: {lr: 1e-4}\n")
    assert load().params == {"lr": 1e-4}


def test_empty_files_and_sections_count_as_not_given(project: Path) -> None:
    write(project, "conf/experiment/small.yaml", "# @package _global_\nexperiment: a.py\nparams:\nsearch:\n  space:\n")
    write(project, "conf/config.yaml", "defaults: [experiment: small]\n")
    assert load() == load_config("a.py", [], config_dir=None)


def test_references_take_the_final_value(project: Path) -> None:
    config = load("name=mine", "params.label='${name}-${train.epochs}'")
    assert config.params["label"] == "mine-3"
    assert config.tracking.mlflow_experiment == "mine"


def test_a_config_folder_elsewhere_finds_its_experiments(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    config = load_config(None, [], config_dir=project / "conf")
    assert config.experiment is not None
    assert Path(config.experiment).resolve() == (project / "models/a.py").resolve()


def test_a_missing_config_name_suggests(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"no confg.yaml in conf; did you mean config."):
        load(config_name="confg")


def test_further_groups_can_be_chosen(project: Path) -> None:
    write(project, "conf/train/fast.yaml", "epochs: 1\n")
    assert load("train=fast").train.epochs == 1
    assert load("train=fast", "train.epochs=2").train.epochs == 2


@pytest.mark.parametrize("override", ["train=fast,slow", "train=../fast", "train=/etc/fast", "train=1.5"])
def test_a_choice_is_the_name_of_one_file(project: Path, override: str) -> None:
    for name in ("fast", "slow"):
        write(project, f"conf/train/{name}.yaml", "epochs: 1\n")
    assert f"command line: {override}: " in problems(override)


def test_defaults_lists_lead_to_further_files_and_the_later_one_wins(project: Path) -> None:
    write(project, "conf/config.yaml", "defaults: [experiment: small, optional train: nowhere]\ntrain: {epochs: 3}\n")
    write(
        project, "conf/experiment/small.yaml", "# @package _global_\ndefaults: [base, /train: [fast, big]]\nseed: 1\n"
    )
    write(project, "conf/experiment/base.yaml", "# @package _global_\nexperiment: a.py\nseed: 2\ntrain: {epochs: 9}\n")
    write(project, "conf/train/fast.yaml", "epochs: 1\nbatch_size: 8\n")
    write(project, "conf/train/big.yaml", "batch_size: 64\n")
    write(project, "conf/rules/stop.yaml", "# @package train.early_stopping\npatience: 7\n")
    config = load("+rules=stop")
    assert (config.experiment, config.seed) == ("a.py", 1)
    assert (config.train.epochs, config.train.batch_size) == (3, 64)
    assert config.train.early_stopping is not None
    assert config.train.early_stopping.patience == 7


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("override experiment: small", "`group: name`"),
        ("experiment@train: small", "`# @package NAME`"),
        ("experiment: '${name}'", "must be one name in the config folder"),
        ("3", "a defaults list has names"),
        ("config", "conf/config.yaml:2: defaults: config.yaml is named twice, or leads back to itself"),
    ],
)
def test_what_a_defaults_list_cannot_hold_is_refused_with_what_to_write(project: Path, item: str, told: str) -> None:
    write(project, "conf/config.yaml", f"defaults:\n  - {item}\n")
    assert problems().startswith("conf/config.yaml:2: defaults: ")
    assert told in problems()


@pytest.mark.parametrize("name", ["plain", "odd 'folder' é"])
def test_a_written_config_loads_equal(project: Path, name: str) -> None:
    config = load(
        "params.note='1e-4'",
        "params.day='2020-01-01'",
        "params.empty=''",
        "train.early_stopping.patience=3",
        "params.more={x: [1, null, true, 'a: b']}",
        "seed=3,4",
    )
    write(project, f"{name}/config.yaml", config_to_yaml(config))
    assert load_config(None, [], config_dir=project / name) == config


def test_a_written_mixed_config_keeps_what_members_leave_out(project: Path) -> None:
    config = load("members.a={experiment: a.py, train: {epochs: 2}}", "~experiment")
    text = config_to_yaml(config)
    assert yaml.safe_load(text)["members"] == {"a": {"experiment": "a.py", "train": {"epochs": 2}}}
    write(project, "again/config.yaml", text)
    assert load_config(None, [], config_dir=project / "again") == config


def test_the_shipped_config_lists_every_default() -> None:
    values, _ = compose_folder(Folder(path=ROOT / "conf", name="config"), {"experiment": (None, "")})
    assert values == default_values()


@pytest.mark.parametrize("file", sorted((ROOT / "conf/experiment").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_experiment_loads_and_opens_with_its_command(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert load(f"experiment={file.stem}").name == file.stem
    assert file.read_text().splitlines()[1].startswith(f"# runner sweep experiment={file.stem}")


def test_schema_and_records_have_the_same_settings() -> None:
    decided_by_the_driver = {"steps_per_round", "epochs_per_round", "compile", "stack", "stack_refused"}
    settings = records.TrainSettings.of({**Train().model_dump(), "steps_per_round": None})
    assert replace(settings, compile="graph") == records.TrainSettings()
    assert {field.name for field in fields(settings)} ^ set(Train.model_fields) <= decided_by_the_driver
    assert records.EarlyStopping(**EarlyStopping().model_dump()) == records.EarlyStopping()
    assert records.ReduceLROnPlateau(**ReduceLROnPlateau().model_dump()) == records.ReduceLROnPlateau()


def test_a_parameters_name_may_be_of_any_script_and_is_read_as_python_reads_it(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "def load_data(ﬁlter=1): ...\ndef build_model(単位: int = 4, 層: int = 1): ...\n"
    Path("a.py").write_text(code, encoding="utf-8")
    folder = tmp_path / "conf"
    folder.mkdir()
    text = "params: {ﬁlter: 2}\nsearch: {space: {params.層: [1, 2]}}\n"
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    config = load_config("a.py", ["params.単位=2,4", "params.ｆilter=3"], config_dir=None)
    (member,) = resolve_members(config)
    assert member.params["filter"] == 3
    assert list(member.space.dimensions) == ["層", "単位"]

    config = load_config("a.py", ["~params.ｆilter", "params.位=8"], config_dir=None)
    with pytest.raises(ConfigError, match=r"command line: params\.位: the experiment has no such parameter"):
        resolve_members(config)


VARIABLES = {"MLFLOW_TRACKING_URI": "sqlite:///team.db", "MLFLOW_EXPERIMENT_NAME": "team", "MLFLOW_RUN_ID": "7"}


def test_mlflows_variables_count_below_the_config_and_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def tracking(*settings: str, **environment: str) -> tuple[str, str, list[str]]:
        tracking = load_config("a.py", settings, config_dir=None, environment=environment).tracking
        told = list(notes(tracking.uri, tracking.mlflow_experiment, environment))
        return tracking.uri, tracking.mlflow_experiment, told

    assert tracking() == ("sqlite:///mlflow.db", "a", [])
    uri, experiment, told = tracking(**VARIABLES)
    assert (uri, experiment) == ("sqlite:///team.db", "team")
    assert told[:2] == [
        "tracking.uri is sqlite:///team.db, from MLFLOW_TRACKING_URI",
        "tracking.mlflow_experiment is team, from MLFLOW_EXPERIMENT_NAME",
    ]
    assert told[2].startswith("MLFLOW_RUN_ID is not used")
    uri, experiment, told = tracking("tracking.uri=sqlite:///b.db", **VARIABLES)
    assert (uri, experiment) == ("sqlite:///b.db", "team")
    assert told[0] == "MLFLOW_TRACKING_URI is not used: the config sets tracking.uri=sqlite:///b.db"


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("https://me:hunter22@team/x", "https://me:hunter22@team/x"),
        ("https://team/x", "https://team/x"),
        ("https://me:hunter22@other/x", "https://team/x"),
        ("http://[::1", "https://team/x"),
        ("", "https://team/x"),
    ],
)
def test_the_variable_gives_credentials_to_the_same_store_alone(given: str, used: str):
    assert with_credentials("https://team/x", {"MLFLOW_TRACKING_URI": given}) == used
    assert with_credentials("https://team/x", {}) == "https://team/x"


def test_the_resolved_config_names_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    config = load_config("a.py", [], config_dir=None, environment=VARIABLES)
    (tmp_path / "config.yaml").write_text(config_to_yaml(config), encoding="utf-8")
    again = load_config(None, [], config_dir=tmp_path, environment={"MLFLOW_TRACKING_URI": "sqlite:///other.db"})
    assert again == config

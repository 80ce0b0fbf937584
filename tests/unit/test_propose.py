"""Config and signatures to members, members to trials."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from runner.config import load_config
from runner.errors import ConfigError
from runner.records import Trial
from runner.search.members import Member, resolve_members
from runner.search.metric_names import infer_goal
from runner.search.proposals import propose_trials

A = """\
import keras
def load_data(noise: float = 0.0, seed: int = 7): ...
def build_model(units: int = 64, learning_rate: float = 1e-3, act: str | None = None):
    model.compile(metrics=["accuracy", keras.metrics.AUC()])
"""
B = "def load_data(): ...\ndef build_model(depth: int, salt=f()): ...\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.py").write_text(A)
    (tmp_path / "b.py").write_text(B)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def members(*overrides: str, experiment: str | None = "a.py") -> tuple[Member, ...]:
    return resolve_members(load_config(experiment, overrides, config_dir=None))


def trials(*overrides: str, experiment: str | None = "a.py") -> tuple[Trial, ...]:
    config = load_config(experiment, overrides, config_dir=None)
    return propose_trials(resolve_members(config), config)


def problems(*overrides: str, experiment: str | None = "a.py") -> str:
    with pytest.raises(ConfigError) as caught:
        trials(*overrides, experiment=experiment)
    return str(caught.value)


def test_no_space_is_one_trial_with_the_signatures_defaults() -> None:
    (trial,) = trials("seed=5")
    assert trial.id == "000"
    assert trial.member == "a"
    assert trial.params == {"noise": 0.0, "seed": 7, "units": 64, "learning_rate": 1e-3, "act": None}
    assert (trial.data_params, trial.model_params) == (("noise", "seed"), ("units", "learning_rate", "act"))
    assert (trial.seed, trial.searched) == (5, ())


def test_a_grid_varies_the_last_dimension_fastest() -> None:
    found = trials("params.units=1,2", "train.batch_size=8,16", "params.learning_rate=1")
    assert [(trial.id, trial.params["units"], trial.train.batch_size) for trial in found] == [
        ("000", 1, 8),
        ("001", 1, 16),
        ("002", 2, 8),
        ("003", 2, 16),
    ]
    assert repr(found[0].params["learning_rate"]) == "1.0"
    assert found[0].searched == ("units", "train.batch_size")


def test_the_trials_seed_and_a_parameter_named_seed_are_two_things() -> None:
    found = trials("seed=1,2", "params.seed=3,4")
    assert [(trial.seed, trial.params["seed"]) for trial in found] == [(1, 3), (2, 3), (1, 4), (2, 4)], (
        "a setting's seeds follow one another"
    )


def test_a_fixed_parameter_named_seed_has_its_own_type() -> None:
    (trial,) = trials("seed=1", "params.seed=-3")
    assert (trial.seed, trial.params["seed"]) == (1, -3)


def test_a_continuous_dimension_makes_the_search_random_and_repeatable() -> None:
    asked = ("params.learning_rate=loguniform(1e-4,1e-1)", "params.units=1,2", "seed=3")
    found = trials(*asked)
    assert len(found) == 16
    assert found == trials(*asked)
    assert found != trials(*asked[:2], "seed=4")
    assert all(1e-4 <= trial.params["learning_rate"] <= 1e-1 for trial in found)
    assert {trial.params["units"] for trial in found} == {1, 2}


@pytest.mark.parametrize(("limit", "count"), [(5, 4), (100, 8)])
def test_random_draws_from_lists_have_no_duplicates(limit: int, count: int) -> None:
    found = trials("search.sampler=random", f"search.max_trials={limit}", "params.units=range(1,5)", "seed=0,1")
    assert len({(trial.params["units"], trial.seed) for trial in found}) == len(found) == count


def test_random_draws_from_a_grid_too_large_to_list() -> None:
    dimensions = [f"params.{name}=range(0,9000)" for name in ("units", "seed")]
    found = trials("search.sampler=random", *dimensions, "train.epochs=range(1,9000)")
    assert len(found) == 16


def test_points_are_trials_as_listed() -> None:
    found = trials("search.points=[{units: 1, seed: 9}, {train.epochs: 2}]", "params.act=x")
    assert [(trial.params["units"], trial.seed, trial.train.epochs) for trial in found] == [(1, 9, 10), (64, 0, 2)]
    assert found[0].searched == found[1].searched == ("units", "seed", "train.epochs")


def test_a_mixed_sweep_searches_each_member() -> None:
    found = trials(
        "members={x: {experiment: a.py, train: {epochs: 2}}, y: {experiment: b.py, params: {depth: 3}}}",
        "members.y.params.depth=3,4",
        "params.units=1,2",
        "train.epochs=7",
        experiment=None,
    )
    assert [trial.id for trial in found] == ["x-000", "x-001", "y-000", "y-001"]
    assert [trial.index for trial in found] == [0, 1, 2, 3]
    assert [trial.train.epochs for trial in found] == [2, 2, 7, 7]
    assert [trial.params.get("units") for trial in found] == [1, 2, None, None]


def test_a_default_that_is_no_literal_is_left_to_the_function() -> None:
    (trial,) = trials("params.depth=2", experiment="b.py")
    assert (trial.params, trial.model_params) == ({"depth": 2}, ("depth",))
    (trial,) = trials("params.depth=2", "params.salt=x", experiment="b.py")
    assert trial.model_params == ("depth", "salt")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["params.unit=3"], "params.unit: the experiment has no such parameter; did you mean units?"),
        (["params.batch_size=3"], "did you mean train.batch_size?"),
        (["params.units=1,x"], "params.units: must be int; got 'x'"),
        (["params.units=abc"], "params.units: must be int; got 'abc'"),
        (["params.units=true"], "params.units: must be int; got true"),
        (["params.units=interval(1,2)"], "must be int, but this search draws floats"),
        (["params.units=2,2"], "params.units: 2 is listed twice"),
        (["params.learning_rate=1,1.0"], "1.0 is listed twice"),
        (["train.batch_size=0,1"], "train.batch_size: must be a whole number above 0; got 0"),
        (["seed=-1,1"], "seed: must be a whole number from 0"),
        (["search.sampler=grid", "params.noise=interval(0,1)"], "grid cannot list every value of noise"),
        (["search.sampler=points"], "points needs search.points"),
        (["search.sampler=grid", "search.points=[{units: 1}]"], "grid does not go with points"),
        (["search.points=[{units: 1}]", "seed=0,1"], "points and space are both given"),
        (["search.points=[{units: 1}, {units: 1}]"], "search.points[1]: the same point is given twice"),
        (["search.points=[{units: 1}, {unit: 1}]"], "search.points[1].unit: the experiment has no such parameter"),
        (["search.max_trials=3", "params.units=1,2", "seed=0,1"], "4 trials (grid), more than 3"),
        (["params.units=range(0,9999)", "seed=range(0,9999)"], "set search.sampler=random"),
        (["search.metric=val_acuracy"], "search.metric: val_acuracy is never produced; did you mean val_accuracy?"),
        (["search.metric=val_charm"], "set search.goal to maximize or minimize"),
        (["train.early_stopping.monitor=val_los"], "monitor: val_los is never produced; did you mean val_loss?"),
        (["train.early_stopping.monitor=charm"], "train.early_stopping.mode: charm is not one of Keras' own metrics"),
        (["search.goal=maximize"], "says nothing without search.metric"),
        (["search.space={units: 3}"], "a fixed value belongs in params"),
    ],
)
def test_a_config_that_does_not_fit_the_experiment_is_explained(overrides: list[str], told: str) -> None:
    assert told in problems(*overrides)


def test_a_parameter_without_default_must_be_given() -> None:
    assert problems(experiment="b.py") == "b.py:2: depth: has no default and no value; set params.depth"
    listed = problems("search.points=[{depth: 1}, {salt: 1}]", experiment="b.py")
    assert "(search.points[1] lack it)" in listed


def test_a_missing_experiment_names_the_place_in_the_config(folder: Path) -> None:
    (folder / "conf").mkdir()
    (folder / "conf/config.yaml").write_text("seed: 1\nexperiment: aa.py\n")
    assert problems(experiment=None) == "conf/config.yaml:2: experiment: aa.py: no such file; did you mean a.py?"


def test_monitors_know_their_direction() -> None:
    (member,) = members("train.early_stopping.monitor=val_auc", "train.reduce_lr_on_plateau.factor=0.5")
    assert member.train.early_stopping is not None
    assert member.train.early_stopping.mode == "max"
    assert member.train.reduce_lr_on_plateau is not None
    assert member.train.reduce_lr_on_plateau.mode == "min"


def test_a_members_training_settings_lie_over_those_of_the_sweep() -> None:
    (member,) = members(
        "members.x={experiment: a.py, train: {early_stopping: {patience: 3}}}",
        "train.early_stopping.monitor=loss",
        "train.steps_per_round=7",
        experiment=None,
    )
    stopping = member.train.early_stopping
    assert stopping is not None
    assert (stopping.monitor, stopping.patience, member.train.steps_per_round) == ("loss", 3, 7)


@pytest.mark.parametrize(
    ("metric", "goal"),
    [
        ("loss", "minimize"),
        ("val_out_loss", "minimize"),
        ("val_accuracy", "maximize"),
        ("head_sparse_categorical_accuracy", "maximize"),
        ("auc_1", "maximize"),
        ("val_mean_absolute_error", "minimize"),
        ("r2_score", "maximize"),
        ("val_f1_score", "maximize"),
        ("binary_io_u", "maximize"),
        ("charm", None),
        ("glossy", None),
    ],
)
def test_the_goal_follows_from_keras_own_names(metric: str, goal: str | None) -> None:
    assert infer_goal(metric) == goal


@pytest.mark.parametrize(
    ("metric", "goal"), [("f1_score/0", "maximize"), ("val_f1_score/12", "maximize"), ("loss/0/1", "minimize")]
)
def test_the_goal_of_a_component_is_that_of_its_metric(metric: str, goal: str) -> None:
    assert infer_goal(metric) == goal


TWO = ("members.a.experiment=a.py", "members.b.experiment=b.py", "members.b.params={depth: 1, salt: 1}", "name=two")


def test_op_determinism_is_for_a_whole_sweep() -> None:
    assert [trial.train.deterministic for trial in trials()] == [False]
    assert trials("train.deterministic=true")[0].settings["train.deterministic"] is True
    both = trials(*TWO, "train.deterministic=true", experiment=None)
    assert [trial.train.deterministic for trial in both] == [True, True]
    assert "tracking.register" in problems(*TWO, "tracking.register=best", experiment=None)
    told = problems(*TWO, "members.b.train.deterministic=true", experiment=None)
    assert "members.b.train.deterministic" in told
    assert "is for a whole sweep, and members differ (a: false, b: true); set train.deterministic at the top" in told
    assert "train.deterministic" in problems("train.deterministic=true,false")


def test_nothing_heavy_is_imported() -> None:
    heavy = {"tensorflow", "keras", "ray", "mlflow", "optuna"}
    code = f"import sys, runner.search.proposals; print(*{heavy} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_a_members_own_rule_has_its_defaults() -> None:
    found = trials("members={b: {experiment: a.py, train: {early_stopping: {patience: 2}}}}", experiment=None)
    rule = found[0].train.early_stopping
    assert rule is not None
    assert (rule.patience, rule.monitor, rule.mode) == (2, "val_loss", "min")


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (
            ["search.max_trials=2", "search.repeats=5", "search.sampler=random", "params.units=1,2"],
            "hold no setting with its 5 seeds",
        ),
        (["search.constraints=['unitz < 3']"], "names 'unitz', which is no parameter; did you mean units?"),
        (["search.points=[{units: 1}]", "search.constraints=['units < 3']"], "do not go with points"),
    ],
)
def test_a_search_that_cannot_be_is_refused(overrides: list[str], told: str) -> None:
    assert told in problems(*overrides)


def test_constraints_at_the_top_of_a_mixed_sweep_are_for_members_that_have_the_parameters() -> None:
    mixed = "members={b: {experiment: a.py, search: {space: {units: [1, 2, 3]}}}}"
    assert "names 'unitz'" in problems(mixed, "search.constraints=['unitz < 3']", experiment=None)
    assert len(trials(mixed, "search.constraints=['units < 3']", experiment=None)) == 2


def test_a_grid_that_is_too_large_to_look_through_is_refused_at_once() -> None:
    large = [f"params.{name}=range(0,2000)" for name in ("units", "seed")]
    assert "set search.sampler=random" in problems(
        *large, "search.constraints=['units > 1900']", "search.max_trials=100"
    )


@pytest.mark.parametrize(
    ("overrides", "remedy"),
    [
        (["search.stop=halving", "train.epochs=2"], "train at least 3 epochs"),
        (["search.stop=halving", "train.epochs=10", "search.min_epochs=5"], "set search.min_epochs to 3 at most"),
        (["search.stop=hyperband", "train.epochs=4", "train.validate_every=4"], "train at least 5 epochs"),
        (["search.stop=median", "train.epochs=1"], "train at least 2 epochs"),
        (["search.stop=median", "train.epochs=4", "search.min_epochs=4"], "set search.min_epochs to 3 at most"),
    ],
)
def test_a_rule_that_would_compare_nothing_says_what_would_help(overrides: list[str], remedy: str) -> None:
    assert f"; {remedy}" in problems(*overrides)
    word, number = (remedy.split()[1], remedy.split()[-3 if "at most" in remedy else -2])
    cure = f"search.min_epochs={number}" if word.startswith("search.min") else f"train.epochs={number}"
    assert trials(*[one for one in overrides if one.split("=")[0] != cure.split("=")[0]], cure)


FOLDED = """\
def load_data(fold: int, folds: int, noise: float = 0.0): ...
def build_model(units: int = 64, learning_rate: float = 1e-3):
    model.compile(metrics=["accuracy"])
"""


def test_folds_are_trials_of_one_setting_with_a_fold_and_a_seed_each(folder: Path) -> None:
    (folder / "f.py").write_text(FOLDED)
    found = trials("params.units=1,2", "search.folds=3", "seed=4", experiment="f.py")
    assert [(one.id, one.params["units"], one.params["fold"], one.params["folds"], one.seed) for one in found] == [
        ("000", 1, 0, 3, 4), ("001", 1, 1, 3, 5), ("002", 1, 2, 3, 6),
        ("003", 2, 0, 3, 4), ("004", 2, 1, 3, 5), ("005", 2, 2, 3, 6),
    ]  # fmt: skip
    assert found[0].searched == ("units", "fold", "seed")
    assert len({one.setting for one in found}) == 2
    assert len({one.data_key for one in found}) == 3
    (drawn, *_) = trials("params.units=int(1,9)", "search.folds=2", "search.max_trials=4", experiment="f.py")
    assert drawn.folds == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["search.folds=3"], "a.py: load_data has no parameter fold and no folds; write load_data(fold: int = 0"),
        (["search.folds=1"], "must be a whole number from 2 to 1000, or null"),
        (["search.folds=3", "search.repeats=2"], "is the number of repeats; remove search.repeats"),
        (["search.folds=3", "seed=1,2"], "seed is a list, which gives the repeats already"),
    ],
)
def test_folds_that_cannot_be(settings: list[str], message: str) -> None:
    assert message in problems("params.units=1,2", *settings)


def test_a_fold_of_ones_own_is_refused(folder: Path) -> None:
    (folder / "f.py").write_text(FOLDED)
    assert "do not give params.fold too" in problems("search.folds=3", "params.fold=1", experiment="f.py")
    assert "do not give params.fold too" in problems("search.folds=3", "params.fold=0,1", experiment="f.py")


def test_points_come_from_a_file(folder: Path) -> None:
    (folder / "settings.csv").write_text('\ufeffunits, learning_rate,act,seed\n8,0.1,relu,1\n\n16,,"a, b",2\n')
    found = trials("search.points=settings.csv")
    chosen = [(one.params["units"], one.params["learning_rate"], one.params["act"], one.seed) for one in found]
    assert chosen == [(8, 0.1, "relu", 1), (16, 1e-3, "a, b", 2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "settings.csv:1: the first line must name a parameter in each column"),
        ("units,\n1,2\n", "settings.csv:1: the first line must name a parameter in each column"),
        ("units,units\n1,2\n", "settings.csv:1: units is there twice"),
        ("units,act\n1\n", "settings.csv:2: has 1 values, and the first line 2 names"),
        ('units\n"int(1,2)"\n', "units: must be int; got 'int(1,2)'"),
        ("unitz\n1\n", "the experiment has no such parameter; did you mean units?"),
        ("units\nmany\n", "units: must be int; got 'many'"),
    ],
)
def test_a_file_of_points_that_is_wrong_says_where(folder: Path, text: str, message: str) -> None:
    (folder / "settings.csv").write_text(text)
    assert message in problems("search.points=settings.csv")


def test_a_file_of_points_that_is_missing_says_so() -> None:
    assert "nothing.csv: cannot be read: No such file or directory" in problems("search.points=nothing.csv")
    assert "a list of mappings, one for each trial, or a CSV file" in problems("search.points=settings.txt")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["params.units=1,2", "train.batch_size=8,16"],
            "varies parameters of the experiment only; fix train.batch_size",
        ),
        ([], "varies searched parameters, and none is; give a range or a list, not search.points"),
        (["search.points=[{units: 1}, {units: 2}]"], "varies searched parameters, and none is"),
        (["params.units=int(1,9)", "search.max_trials=1"], "a trial alone has no other to go on from"),
        (["params.units=1,2", "search.stop=halving"], "does not go with search.stop=halving"),
        (["params.units=1,2", "search.repeats=2"], "repeats of one setting mean nothing; give one seed"),
        (["params.units=1,2", "seed=1,2"], "repeats of one setting mean nothing; give one seed"),
        (["params.units=1,2", "train.epochs=2"], "population.interval: must be below train.epochs=2; got 2"),
        (["params.units=1,2", "train.validate_every=3"], "give a multiple of it; got 2"),
        (["params.units=1,2", "train.early_stopping={}"], "does not go with train.early_stopping"),
        (["params.units=int(1,99)", "search.sampler=tpe"], "tpe does not go with population"),
    ],
)
def test_a_population_that_cannot_be(settings: list[str], message: str) -> None:
    assert message in problems("search.population.interval=2", *settings)

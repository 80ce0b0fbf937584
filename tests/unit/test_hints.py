"""What users of other tools write gets the hint what it is here; nothing is started for that."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from runner.config import hints, load_config
from runner.config.schema import Config, default_values
from runner.errors import ConfigError
from runner.search.members import resolve_members

EXPERIMENT = """\
def load_data(): ...
def build_model({parameters}):
    model.compile("adam", "mse", metrics=["accuracy"])
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    text = EXPERIMENT.format(parameters="units: int = 4, learning_rate: float = 0.1, activation: str = 'relu'")
    (tmp_path / "exp.py").write_text(text, encoding="utf-8")
    (tmp_path / "tuner.py").write_text(EXPERIMENT.format(parameters="hp"), encoding="utf-8")
    return tmp_path


def refused(file: str, *settings: str) -> str:
    with pytest.raises(ConfigError) as error:
        resolve_members(load_config(file, list(settings), config_dir=None))
    return str(error.value)


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("units=16", "did you mean params.units?"),
        ("lr=0.1", "did you mean params.learning_rate?"),
        ("train.units=16", "did you mean params.units?"),
        ("epochs=5", "did you mean train.epochs?"),
        ("num_samples=20", "did you mean search.max_trials?"),
        ("n_trials=20", "did you mean search.max_trials?"),
        ("direction=maximize", "did you mean search.goal?"),
        ("objective=val_loss", "did you mean search.metric?"),
        ("gpus=1", "did you mean resources.num_gpus?"),
        ("max_concurrent_trials=2", "did you mean resources.max_concurrent?"),
        ("optimizer=adam", "`model.compile(...)`"),
        ("train.validation_split=0.2", "load_data returns the validation split"),
        ("executions_per_trial=3", "search.repeats=3"),
        ("search.sampler=asha", "search.stop=halving"),
        ("search.sampler=hyperband", "search.stop=hyperband"),
        ("search.sampler=bayes", "did you mean tpe?"),
        ("search.sampler=GridSampler", "did you mean grid?"),
        ("search.goal=max", "did you mean maximize?"),
        ("search.metric=val_acc", "did you mean val_accuracy?"),
        ("search.metric=acc", "did you mean accuracy?"),
        ("params.units=[16,32]", "to search several values write params.units=16,32"),
        ("params.learning_rate=uniform(0,1)", "did you mean interval(low, high)?"),
        ("params.units=randint(1,5)", "did you mean int(low, high, step)?"),
        ("params.activation=grid_search([relu,tanh])", "did you mean choice(a, b)?"),
    ],
)  # fmt: skip
def test_a_setting_as_other_tools_have_it_gets_a_hint(project: Path, setting: str, hint: str) -> None:
    assert hint in refused("exp.py", setting)


def test_a_file_without_its_ending_gets_a_hint(project: Path) -> None:
    assert "exp: not of the form key=value; did you mean exp.py?" in refused("exp.py", "exp")


def test_build_model_of_kerastuner_gets_a_hint(project: Path) -> None:
    told = refused("tuner.py")
    assert "tuner.py:2: hp: KerasTuner's hp is not passed here: take each hyperparameter by itself" in told


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["sweep", "exp.py", "--epochs", "5"], "as key=value: train.epochs=5"),
        (["sweep", "exp.py", "--gpus=1"], "as key=value: resources.num_gpus=1"),
        (["plan", "--n-trials", "20", "exp.py"], "as key=value: search.max_trials=20"),
        (["sweep", "--params.units=16", "exp.py"], "as key=value: params.units=16"),
        (["sweep", "--seed", "exp.py"], "as key=value: seed=VALUE"),
        (["sweep", "-m", "exp.py"], "params.units=16,32"),
        (["cancel"], "Ctrl-C"),
        (["train", "exp.py"], "`sweep EXPERIMENT.py`"),
        (["exp.py"], "`sweep exp.py`"),
        (["status"], "`results SWEEP`"),
        (["dashboard"], "`ui`"),
        (["swep"], "Did you mean 'sweep'?"),
    ],
)
def test_an_option_or_verb_of_other_tools_gets_a_hint(project: Path, arguments: list[str], hint: str) -> None:
    from runner.cli import cli

    ended = CliRunner().invoke(cli, arguments)
    assert ended.exit_code == 2
    assert hint in " ".join(ended.output.split())


@pytest.mark.parametrize("metric", ["val/accuracy", "validation_accuracy", "val_acc", "accuracy_val"])
def test_a_metrics_other_name_is_known(metric: str) -> None:
    assert hints.for_metric(metric, ["loss", "accuracy", "val_loss", "val_accuracy"]) == "val_accuracy"
    assert hints.for_metric("val_accuracy", ["val_accuracy"]) is None


def test_hints_name_keys_and_verbs_that_there_are() -> None:
    from runner.cli import cli

    sections = {section: found for section, found in default_values().items() if isinstance(found, dict)}
    keys = {f"{section}.{key}" for section, found in sections.items() for key in found}
    assert set(hints.table("keys").values()) <= keys | set(Config.model_fields)
    assert not set(hints.table("verbs")) & set(cli.commands)
    assert not set(hints.table("absent")) & set(Config.model_fields)


def test_a_batch_size_that_a_pipeline_does_not_heed_is_told(project: Path) -> None:
    from types import SimpleNamespace

    from runner.driver.check import unused_settings

    for settings, rows, told in [
        (["train.batch_size=32"], None, True), (["train.batch_size=16,32"], None, True),
        ([], None, False), (["train.batch_size=16"], 96, False),
    ]:  # fmt: skip
        config = load_config("exp.py", settings, config_dir=None)
        prepared = SimpleNamespace(members=resolve_members(config), config=config)
        checked = {"exp": SimpleNamespace(facts=SimpleNamespace(program="plain", rows=rows))}
        assert any("train.batch_size does nothing" in text for text in unused_settings(prepared, checked)) is told

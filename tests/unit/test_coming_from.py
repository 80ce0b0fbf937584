"""docs/coming-from.md: what it says for names of other tools gives the trials that it promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import page, rows, write_files

from runner.config import load_config
from runner.records import Trial
from runner.search.members import resolve_members
from runner.search.proposals import propose_trials

PAGE = page("docs/coming-from.md")
SETTING = re.compile(r"`'?([a-z]+\.[a-z_.]+=[^`…]+?)'?`")
GENERIC = """\
def load_data(): ...
def build_model({}): ...
"""


def settings() -> list[str]:
    """Every `section.key=value` that a table offers for something of another tool."""
    return list(dict.fromkeys(found for row in rows(PAGE, 2) for found in SETTING.findall(row[1])))


@pytest.mark.parametrize("setting", settings())
def test_each_setting_of_the_tables_is_taken(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("units", "units_1", "rate", "bias", "layers", "momentum", "optimizer")
    parameters = ", ".join(f"{name}: object = None" for name in names)
    Path("generic.py").write_text(GENERIC.format(parameters), encoding="utf-8")
    searched = ["params.units=16,64", "params.units_1=16,64", "params.layers=1,2,3", "params.optimizer=adam,sgd"]
    searched.append("search.metric=val_loss")
    given = [text for text in searched if text.split("=")[0] != setting.split("=")[0]]
    if setting.startswith("search.when={momentum"):
        given.append("params.momentum=0,0.9")
    config = load_config("generic.py", [*given, setting, "train.epochs=9"], config_dir=None)
    assert resolve_members(config)


def test_the_tables_offer_settings() -> None:
    assert len(settings()) > 25


def trials_of(name: str) -> tuple[Trial, ...]:
    config = load_config(None, [f"experiment={name}"], config_dir=None)
    return propose_trials(resolve_members(config), config)


def test_the_yaml_of_kerastuner_gives_twenty_settings_with_two_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path)
    trials = trials_of("digits_search")
    assert (len(trials), len({trial.setting for trial in trials}), {trial.seed for trial in trials}) == (40, 20, {0, 1})
    assert {trial.params["optimizer"] for trial in trials} == {"adam"}
    assert {trial.params["units"] for trial in trials} == {32, 64, 96, 128}
    assert {trial.params["units_1"] for trial in trials if trial.params["layers"] == 2} <= {16, 32, 48, 64}
    assert {trial.params["units_1"] for trial in trials if trial.params["layers"] == 1} == {32}


@pytest.mark.parametrize(
    ("theirs", "ours", "values"),
    [
        ('hp.Int("units", 32, 128, step=32)', "params.units=int(32,128,32)", {32, 64, 96, 128}),
        ('hp.Int("units", 32, 128, step=32)', "params.units=range(32,129,32)", {32, 64, 96, 128}),
        ('suggest_int("units", 16, 64, step=16)', "params.units=range(16,65,16)", {16, 32, 48, 64}),
        ("tune.quniform(0, 1, 0.1)", "params.rate=interval(0,1,0.1)", {n / 10 for n in range(11)}),
        ("tune.randint(16, 64)", "params.units=range(16,64)", set(range(16, 64))),
    ],
)
def test_both_columns_of_a_row_mean_the_same_values(
    theirs: str, ours: str, values: set[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert any(f"`{theirs}`" in row[0] and f"`'{ours}'`" in row[1] for row in rows(PAGE, 2))
    monkeypatch.chdir(tmp_path)
    Path("generic.py").write_text(GENERIC.format("units: int = 1, rate: float = 1.0"), encoding="utf-8")
    config = load_config("generic.py", [ours, "search.sampler=random", "search.max_trials=500"], config_dir=None)
    name = ours.split("=")[0].removeprefix("params.")
    found = {trial.params[name] for trial in propose_trials(resolve_members(config), config)}
    assert {round(float(str(value)), 6) for value in found} == values

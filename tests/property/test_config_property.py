"""Whatever is written, the result is a valid config or a ConfigError, soon; and trials are the same every time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runner.config import config_to_yaml, load_config
from runner.config.schema import default_values
from runner.errors import ConfigError
from runner.search.members import resolve_members
from runner.search.proposals import propose_trials

EXPERIMENT = """\
def load_data(noise: float = 0.0): ...
def build_model(units: int = 64, rate: float = 1e-3, act: str | None = None, shape: list[int] = [1], seed=0): ...
"""
THOROUGH = settings.get_current_profile_name() == "thorough"
EXAMPLES = settings.default.max_examples if THOROUGH else settings.default.max_examples // 2
QUICK = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
pytestmark = pytest.mark.timeout(1800 if THOROUGH else 300)
MOST_S = 2.0  # of one input


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    before, path = Path.cwd(), tmp_path_factory.mktemp("project")
    (path / "a.py").write_text(EXPERIMENT)
    (path / "conf").mkdir()
    os.chdir(path)
    yield path
    os.chdir(before)


def _keys(values: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, value in values.items():
        found += [prefix + name, *(_keys(value, f"{prefix}{name}.") if isinstance(value, dict) else ())]
    return found


KEYS = [
    *_keys(default_values()),
    *("params.units", "params.rate", "params.act", "params.shape", "params.seed", "params.x", "search.space.seed"),
    *("search.space.units", "members.m.experiment", "members.m.params.units", "members.m.train.epochs"),
    *("members.m.search.space.rate", "train.early_stopping.monitor", "train.reduce_lr_on_plateau.mode", "hydra.x"),
]
VALUES = [
    *(
        "1",
        "0",
        "-1",
        "2,3",
        "1.5",
        "1e999",
        "nan",
        "null",
        "true",
        "[1,2]",
        "{a: 1}",
        "{}",
        "[]",
        "auto",
        "a.py",
        "''",
    ),
    *("range(1,4)", "range(0,99999999999)", "loguniform(1e-4,1)", "interval(0,1)", "choice(1,x)", "choice(choice(1))"),
    *(
        "${name}",
        "${seed}",
        "${nope}",
        "${oc.env:HOME}",
        "'${'",
        "loss",
        "val_accuracy",
        "grid",
        "random",
        "é",
        "[[1],[2]]",
    ),
    *("[{units: 1}, {rate: 2}]", "9" * 5000, "\x00", "\ud800", "???", "2147483648", "((((", "a.py,b.py"),
]
ARGUMENTS = st.one_of(
    st.builds("{}={}".format, st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.builds("{}={}".format, st.sampled_from(KEYS), st.text(max_size=12)),
    st.builds("{}{}={}".format, st.sampled_from("~+@"), st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.text(max_size=20),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from(VALUES))
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([key.rsplit(".", 1)[-1] for key in KEYS]), inner, max_size=4),
    ),
    max_leaves=12,
)


def _run(experiment: str | None, overrides: list[str]) -> None:
    took_s = _check(experiment, overrides)
    if took_s >= MOST_S:  # a collection of all the garbage of earlier inputs may have been among it: not twice in a row
        took_s = _check(experiment, overrides)
    assert took_s < MOST_S


def _check(experiment: str | None, overrides: list[str]) -> float:
    """Returns the seconds of CPU that it took this process: others may have the machine meanwhile."""
    began_s = time.process_time()
    try:
        config = load_config(experiment, overrides, config_dir=None)
        trials = propose_trials(resolve_members(config), config)
    except ConfigError as err:
        assert all(problem.strip() for problem in err.problems)  # noqa: PT017
        assert "Traceback" not in str(err)  # noqa: PT017
    else:
        assert trials
        assert len({trial.id for trial in trials}) == len(trials)
        assert [trial.index for trial in trials] == list(range(len(trials)))
    return time.process_time() - began_s


@settings(QUICK, max_examples=EXAMPLES if THOROUGH else 3 * EXAMPLES)
@given(experiment=st.sampled_from(["a.py", "a.py", None, "b", ""]), overrides=st.lists(ARGUMENTS, max_size=4))
def test_any_command_line_is_a_config_or_a_config_error(experiment: str | None, overrides: list[str]) -> None:
    Path("conf/config.yaml").unlink(missing_ok=True)
    _run(experiment, overrides)


@QUICK
@given(tree=st.dictionaries(st.sampled_from(list(default_values())), TREES, max_size=5))
@example(tree={"params": {"a": "${params}"}})
def test_any_yaml_is_a_config_or_a_config_error(tree: dict[str, Any]) -> None:
    Path("conf/config.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8", errors="replace")
    _run("a.py", [])
    _run(None, [])


ODD = ["!!python/name:os.system ''", "&a 1", "*a", "0x1F", "1_000", "2026-01-01", "<<: {a: 1}", "- - -", "? [1]", "="]
ODD += ["~", "_target_: os.system", '"\\x"', "|\n  a", "\u2028", "1e400", "-.inf", "%a b", "{a: {b: []}}", "9" * 400]
LEAVES = st.one_of(SCALARS, st.text(max_size=30), st.integers(-(10**30), 10**30), st.sampled_from(ODD))
LINES = st.tuples(st.integers(0, 60), st.sampled_from([*KEYS, "-", "? a", "<<", "&x a", "defaults"]), LEAVES)


@QUICK
@given(
    lines=st.lists(LINES, max_size=12), depth=st.integers(0, 3000), bracket=st.sampled_from(["[", "{", "- ", "{a: "])
)
def test_any_lines_as_yaml_are_a_config_or_a_config_error(
    lines: list[tuple[int, str, Any]], depth: int, bracket: str
) -> None:
    """Odd indents, keys with dots, huge numbers, brackets without end."""
    text = "\n".join(f"{' ' * indent}{key}: {value}" for indent, key, value in lines)
    deep = f"\nparams:\n  {bracket * depth}1" if depth % 3 == 0 else ""
    Path("conf/config.yaml").write_text(text + deep, encoding="utf-8", errors="replace")
    _run("a.py", [])


FILES = ["config", "b", "experiment/x", "experiment/y", "group/deep/z"]
TARGETS = [
    *FILES,
    "x",
    "y",
    "../b",
    "../config",
    "/b",
    "_self_",
    "nowhere",
    "",
    "../../b",
    "x.yaml",
    "${name}",
    "b@params",
]
GROUPS = ["experiment", "group/deep", "override experiment", "optional experiment", "/b", "b@x", "", ".."]
OPTIONS = st.one_of(st.sampled_from(TARGETS), st.none(), st.lists(st.sampled_from(TARGETS), max_size=2))
DEFAULTS = st.lists(
    st.one_of(
        st.sampled_from(TARGETS),
        st.builds(lambda group, option: {group: option}, st.sampled_from(GROUPS), OPTIONS),
        st.sampled_from([{"experiment": "x", "b": None}, {}, 3, None, []]),
    ),
    max_size=4,
)


@QUICK
@given(
    lists=st.fixed_dictionaries({}, optional=dict.fromkeys(FILES, DEFAULTS)),
    seeds=st.fixed_dictionaries({}, optional=dict.fromkeys(FILES, SCALARS)),
    overrides=st.lists(st.sampled_from(["experiment=x", "experiment=y", "~experiment", "experiment=../b"]), max_size=2),
)
@example(lists={"config": ["b"], "b": ["config"]}, seeds={}, overrides=[])
@example(lists={"config": ["config"]}, seeds={}, overrides=[])
@example(lists={"config": [{"experiment": "x"}], "experiment/x": ["y"], "experiment/y": ["x"]}, seeds={}, overrides=[])
@example(lists={"config": ["b"] * 4, "b": ["experiment/x"] * 4, "experiment/x": ["y"] * 4}, seeds={}, overrides=[])
def test_any_defaults_lists_are_a_config_or_a_config_error(
    lists: dict[str, list[Any]], seeds: dict[str, Any], overrides: list[str]
) -> None:
    """Files that lead to each other, to themselves, to nothing and out of the folder."""
    for name in FILES:
        path = Path("conf") / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {key: found[name] for key, found in (("defaults", lists), ("seed", seeds)) if name in found}
        text = yaml.safe_dump(values) if values else ""
        path.write_text(f"# @package _global_\n{text}", encoding="utf-8", errors="replace")
    _run(None, overrides)
    _run("a.py", overrides[:1])


@QUICK
@given(text=st.one_of(st.text(alphabet="abc:-[]{}&*!'\"#|>%@`\n\t ,?0129.$\\", max_size=40), st.binary(max_size=40)))
def test_any_text_as_yaml_is_a_config_or_a_config_error(text: str | bytes) -> None:
    Path("conf/config.yaml").write_bytes(text.encode() if isinstance(text, str) else text)
    _run("a.py", [])


DIMENSIONS = {
    "params.units": st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True).map(str),
    "params.rate": st.sampled_from(["1.0,2.0", "loguniform(1e-4,1)", "interval(0,1)", "0.5"]),
    "train.batch_size": st.sampled_from(["8", "8,16"]),
    "seed": st.sampled_from(["0", "1,2", "range(0,3)"]),
    "search.max_trials": st.sampled_from(["null", "40"]),
    "params.act": st.text(max_size=6).map(lambda text: "'" + text.replace("\\", "").replace("'", "") + "'"),
}


@QUICK
@given(chosen=st.fixed_dictionaries({}, optional=DIMENSIONS), order=st.randoms(use_true_random=False))
def test_expansion_is_order_stable_and_a_written_config_gives_the_same_trials(
    chosen: dict[str, str], order: Any
) -> None:
    Path("conf/config.yaml").unlink(missing_ok=True)
    overrides = [f"search.space.units={chosen.pop('params.units')}"] if "params.units" in chosen else []
    overrides += [f"{key}={value}" for key, value in chosen.items()]
    order.shuffle(overrides)
    try:
        config = load_config("a.py", overrides, config_dir=None)
    except ConfigError:
        return
    trials = propose_trials(resolve_members(config), config)
    assert trials == propose_trials(resolve_members(config), config)
    folder = Path("written")
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(config_to_yaml(config), encoding="utf-8")
    again = load_config(None, [], config_dir=folder)
    assert again == config
    assert propose_trials(resolve_members(again), again) == trials
    assert len({trial.id for trial in trials}) == len(trials)
    if all(not isinstance(written, str) or written.startswith("range") for written in config.search.space.values()):
        searched = [tuple(repr(trial.settings.get(name)) for name in config.search.space) for trial in trials]
        assert len(set(searched)) == len(searched)

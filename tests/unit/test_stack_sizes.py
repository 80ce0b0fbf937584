"""Which trials train in stacks, and of which size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner.autotune.auto import AutoSettings
from runner.autotune.cache import TimingsFile
from runner.autotune.stacking import in_words, is_faster, is_worth_trying, planned, refusals, sizes
from runner.config import load_config
from runner.driver.check import waves_too_small
from runner.driver.prepare import prepare
from runner.errors import ConfigError
from runner.records import Allocation, Checked, Facts, Failure, StackTrial, Trial

FACTS = Facts(
    steps_per_epoch=3, rows=70, validation_rows=None, parameters=1, program="round", program_reason="", inexact="",
    summary="", loadable=True,
)  # fmt: skip


@pytest.fixture
def trials(make_trial: Any) -> list[Trial]:
    """Five of one architecture, three of another, one of a third."""
    units = [8, 8, 8, 8, 8, 16, 16, 16, 32]
    return [
        replace(make_trial(id=f"{i:03d}", params={"units": one}), searched=("units",)) for i, one in enumerate(units)
    ]


@pytest.mark.parametrize(
    ("wanted", "slots", "found"),
    [
        ("off", 1, {}),
        ("auto", 1, {"8": 5, "16": 3}),
        ("auto", 2, {"8": 3, "16": 2}),
        (2, 1, {"8": 2, "16": 2}),
        (64, 3, {"8": 2}),
    ],
)
def test_a_stack_has_the_alike_trials_of_a_slot_and_at_most_what_is_wanted(
    trials: list[Trial], wanted: Any, slots: int, found: dict[str, int]
) -> None:
    assert {str(eval(key[1])[0][1]): size for key, size in sizes(trials, slots, wanted).items()} == found


def test_trials_with_callbacks_are_in_no_stack(trials: list[Trial]) -> None:
    calling = [replace(trial, callback_params=()) for trial in trials]
    assert sizes(calling, 1, 64) == {}


def test_auto_takes_a_stack_that_saves_time_compiling_included() -> None:
    tried = StackTrial(size=8, step_s=2e-3, alone_s=1e-3, compile_s=5.0)
    assert is_faster(tried, 1e-3, 40_000), "40 s alone, 15 s together"
    assert not is_faster(tried, 1e-3, 5_000), "5 s alone, 6 s together"
    assert not is_faster(replace(tried, reason="While"), 1e-3, 40_000)
    assert is_worth_trying(8, 1e-3, 15_000)
    assert not is_worth_trying(8, 1e-3, 14_000)
    assert not is_worth_trying(3, 1e-3, 15_000)


def test_stacks_of_models_that_are_to_be_graphs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("def load_data(): ...\ndef build_model(): ...\n")
    config = load_config("a.py", ["resources.stack=8", "train.compile=graph", "fleet.kind=local"], config_dir=None)
    with pytest.raises(ConfigError, match="stacks are compiled by XLA"):
        prepare(config)


def test_a_refusal_names_the_trials_and_the_operation(trials: list[Trial]) -> None:
    eight, sixteen, _ = dict.fromkeys(trial.likely_program for trial in trials)
    found = {eight: 5, sixteen: 3}
    alone, half = StackTrial(size=5, reason="no stack can have While"), StackTrial(size=2)
    assert refusals(trials, 8, found, {eight: alone, sixteen: half}) == [
        "5 trials (000 and alike) train alone, not in stacks: no stack can have While (what can be stacked: "
        "docs/stacks.md; resources.stack=off does not try it)",
        "3 trials (005 and alike) train in stacks of 2: one of 3 has no room in memory",
    ]
    assert refusals(trials, 8, found, {eight: StackTrial(size=5)}) == []
    assert "no worker has two trials that could be one program" in refusals(trials, 8, {}, {})[0]


def test_the_sizes_of_stacks_are_told(trials: list[Trial]) -> None:
    stacked = [replace(one, train=replace(one.train, stack=5)) for one in trials[:5]]
    assert in_words([*stacked, *trials[5:]]) == "5 trials in stacks of 5, each stack one program"
    assert in_words(trials) == ""


def test_a_plan_tells_what_will_be_tried(trials: list[Trial]) -> None:
    most = max(sizes(trials, 1, 8).values())
    together = sum(trial.likely_program in sizes(trials, 1, 8) for trial in trials)
    expected = f"{together} trials, up to {most} models as one program, once ten steps have equalled the lone model's"
    assert planned(trials, 1, 8) == expected
    assert planned(trials, 1, "auto").endswith("if that is measured to be faster")
    assert (
        planned(trials[:1], 1, 8)
        == "no worker has two trials that could be one program, so that each would train alone"
    )
    assert planned(trials, 1, "off") == ""
    assert planned(trials[:3], 1, "auto") == "", "auto tries no stack of three"
    assert planned(trials, 1, "auto", on_gpu=True) == ""
    assert planned(trials, 1, 8, on_gpu=True) == expected


def test_a_stack_that_takes_the_life_of_the_worker_that_tries_it_is_halved(trials: list[Trial], tmp_path: Path) -> None:
    asked: list[int] = []

    def check(chosen: Sequence[Trial]) -> dict[str, Checked | Failure]:
        answers: dict[str, Checked | Failure] = {}
        for trial in chosen:
            asked.append(trial.train.stack)
            stack = StackTrial(size=trial.train.stack, step_s=1e-3)
            answers[trial.id] = (
                Failure(trial_id=trial.id, kind="oom", message="no memory")
                if stack.size > 3
                else Checked(trial_id=trial.id, facts=FACTS, metrics=(), step_s=1e-3, trace_s=1.0, stacked=stack)
            )
        return answers

    auto = AutoSettings(TimingsFile(tmp_path / "t.json"), Allocation(num_cpus=1), {}, check=check)
    checked = {"test": Checked(trial_id="000", facts=FACTS, metrics=(), step_s=1e-3, trace_s=1.0)}
    found, texts = auto.stacked(trials, trials, checked, 1, 8, {"test": 9})
    assert sorted(asked) == [3, 3, 5]
    assert [trial.train.stack for trial in found] == [3] * 8 + [1]
    assert texts == ["5 trials (000 and alike) train in stacks of 3: one of 5 has no room in memory"]
    asked.clear()
    again, _ = AutoSettings(TimingsFile(tmp_path / "t.json"), Allocation(num_cpus=1), {}, check=check).stacked(
        trials, trials, checked, 1, 3, {"test": 9}
    )
    assert asked == [], "what was tried on this machine is known"
    assert again == found


def test_off_needs_no_quotes_on_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text("def load_data(): ...\ndef build_model(): ...\n")
    assert load_config("a.py", ["resources.stack=off"], config_dir=None).resources.stack == "off"


@pytest.mark.parametrize(("wanted", "size", "proposer", "warns"), [
    (16, 5, object(), True), (16, 5, None, False), (4, 4, object(), False), (16, 1, object(), False),
])  # fmt: skip
def test_a_first_wave_that_is_too_small_for_the_stack_is_told(
    trials: list[Trial], wanted: int, size: int, proposer: object, warns: bool
) -> None:
    stacked = [replace(one, train=replace(one.train, stack=size)) for one in trials]
    config = SimpleNamespace(resources=SimpleNamespace(stack=wanted))
    prepared: Any = SimpleNamespace(config=config, proposer=proposer, most_trials=32)
    told = list(waves_too_small(prepared, stacked))
    assert bool(told) == warns
    assert not told or "a wave of 9 trials, so that stacks have at most 5; search.sampler=random" in told[0]

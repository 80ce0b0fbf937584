"""When XLA is measured, when it is taken, and that a machine decides the same way twice."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from runner.compilation import Timings, choose, is_worth_measuring
from runner.records import Allocation, Checked, Facts
from runner.settle import Settling
from runner.timings import TimingsFile

FACTS = Facts(
    steps_per_epoch=3,
    rows=70,
    validation_rows=None,
    parameters=1,
    program="round",
    program_reason="",
    inexact="",
    summary="",
    loadable=True,
)
FAST_XLA = Timings(graph_s=1e-3, xla_s=1e-4, xla_compile_s=2.0)


def settling(path: Path) -> Settling:
    return Settling(TimingsFile(path), Allocation(num_cpus=1), {"tensorflow": "2"})


def test_short_training_and_long_cpu_steps_are_not_worth_measuring() -> None:
    assert is_worth_measuring(1e-3, 10_000, on_gpu=False)
    assert not is_worth_measuring(1e-3, 100, on_gpu=False)
    assert not is_worth_measuring(0.1, 10_000, on_gpu=False)
    assert is_worth_measuring(0.1, 10_000, on_gpu=True)


def test_xla_must_pay_for_its_compiling() -> None:
    assert choose(FAST_XLA, 10_000) == "xla"
    assert choose(FAST_XLA, 2_000) == "graph"
    assert choose(Timings(graph_s=1e-3), 10**9) == "graph"
    assert choose(Timings(graph_s=1e-3, xla_s=math.inf), 10**9) == "graph"


def test_what_was_measured_is_kept_and_decides_again_without_measuring(make_trial: Any, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "timings.json"
    trials = [make_trial(id=f"{i:03}", epochs=epochs, compile="auto") for i, epochs in enumerate((10_000, 10))]
    assert settling(path).before_check(trials[0]).train.compile == "auto"

    checked = {"test": Checked(trial_id="000", facts=FACTS, metrics=(), timings=FAST_XLA)}
    settled = settling(path).after_check(trials, checked)
    assert [trial.train.compile for trial in settled] == ["xla", "graph"]

    assert settling(path).before_check(trials[0]).train.compile == "graph"
    unmeasured = {"test": Checked(trial_id="000", facts=FACTS, metrics=())}
    assert settling(path).after_check(trials, unmeasured) == settled


def test_a_choice_that_was_made_is_left_alone(make_trial: Any, tmp_path: Path) -> None:
    trial = make_trial(compile="xla")
    checked = {"test": Checked(trial_id="000", facts=FACTS, metrics=())}
    assert settling(tmp_path / "t.json").after_check([trial], checked) == (trial,)


def test_a_file_of_timings_that_cannot_be_read_is_measured_anew(tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    for text in ("{", "[]", '{"k": 3}', '{"k": {"graph_s": "x"}}', '{"k": {"other": 1}}'):
        path.write_text(text)
        assert TimingsFile(path).get("k") is None
    TimingsFile(path).put("k", FAST_XLA)
    assert TimingsFile(path).get("k") == FAST_XLA

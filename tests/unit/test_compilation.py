"""When XLA is measured and taken, how turns are sized, and that a machine decides the same way twice."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.autotune.auto import AutoSettings, with_turns
from runner.autotune.cache import TimingsFile
from runner.autotune.compilation import Timings, choose, is_worth_measuring
from runner.records import Allocation, Checked, EarlyStopping, Facts, Failure, ReduceLROnPlateau, Trial

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


def found(step_s: float, trial_id: str = "000", trace_s: float = 2.0) -> Checked:
    return Checked(trial_id=trial_id, facts=FACTS, metrics=(), step_s=step_s, trace_s=trace_s)


class Timed:
    """A auto whose fleet answers with what XLA would take, and counts how often it is asked."""

    def __init__(
        self, path: Path, xla: Checked | Failure | None = None, slots: int = 1, graph: Checked | None = None
    ) -> None:
        self.asked: list[Trial] = []
        self._xla, self._graph = xla or found(1e-4), graph
        self._slots = slots
        self._auto_settings = AutoSettings(
            TimingsFile(path), Allocation(num_cpus=1), {"tensorflow": "2"}, check=self._check
        )

    def __call__(self, trials: list[Trial], graph_s: float = 1e-3) -> list[str]:
        return [t.train.compile for t in self.decide(trials, graph_s)]

    def decide(self, trials: list[Trial], graph_s: float = 1e-3) -> tuple[Trial, ...]:
        return self._auto_settings.decide(trials, {"test": found(graph_s)}, self._slots)

    def check(self, trials: list[Trial]) -> Mapping[str, Checked | Failure]:
        return self._auto_settings.check(trials)

    def is_known(self, trials: list[Trial]) -> bool:
        return self._auto_settings.is_known(trials)

    def has_checked(self, trials: list[Trial]) -> bool:
        return self._auto_settings.has_checked(trials)

    def _check(self, trials: Sequence[Trial]) -> dict[str, Checked | Failure]:
        self.asked += trials
        return {t.id: self._graph if self._graph and t.train.compile != "xla" else self._xla for t in trials}


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


def test_trials_that_share_a_program_are_compiled_alike_for_all_their_steps(make_trial: Any, tmp_path: Path) -> None:
    # 3 steps an epoch: one trial of 1,000 epochs trains 3 s as a graph, four of them in one slot 12 s.
    trials = [make_trial(id=f"{i:03}", epochs=1_000, compile="auto") for i in range(4)]
    assert Timed(tmp_path / "one")(trials[:1]) == ["graph"]
    assert Timed(tmp_path / "one slot")(trials) == ["xla"] * 4
    assert Timed(tmp_path / "four slots", slots=4)(trials) == ["graph"] * 4


def test_trials_of_different_shapes_do_not_pay_for_each_others_compiling(make_trial: Any, tmp_path: Path) -> None:
    def trials(name: str, values: list[Any]) -> list[Trial]:
        made = [make_trial(id=f"{i:03}", epochs=1_000, compile="auto") for i in range(len(values))]
        return [replace(t, params={**t.params, name: v}, searched=(name,)) for t, v in zip(made, values, strict=True)]

    assert Timed(tmp_path / "shapes")(trials("units", [8, 16, 32, 64])) == ["graph"] * 4
    assert Timed(tmp_path / "rates")(trials("learning_rate", [0.1, 0.2, 0.3, 0.4])) == ["xla"] * 4


def test_what_was_measured_is_kept_and_decides_again_without_measuring(make_trial: Any, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "timings.json"
    trials = [make_trial(epochs=10_000, compile="auto")]
    first, second = Timed(path), Timed(path, xla=found(1.0))
    assert first(trials) == second(trials, graph_s=1.0) == ["xla"]
    assert [trial.train.compile for trial in first.asked] == ["xla"]
    assert second.asked == []
    assert Timed(path)([make_trial(epochs=10, compile="auto")]) == ["graph"]


def test_a_sweep_is_known_where_its_check_has_nothing_to_measure(make_trial: Any, tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    long, short, as_graph = (
        make_trial(params={"case": case}, epochs=epochs, compile=how)
        for case, epochs, how in [("functional", 10_000, "auto"), ("dropout", 1, "auto"), ("sequential", 1, "graph")]
    )
    for trial, was_measured in [(long, True), (short, False), (as_graph, True)]:
        timed = Timed(path)
        assert not timed.is_known([trial])
        assert not timed.has_checked([trial])
        timed([trial])
        assert timed.has_checked([trial])
        assert timed.is_known([trial]) == was_measured, "XLA may be measured yet where training was too short for it"
    both = [long, replace(short, member="another")]
    assert not Timed(path).is_known(both)
    assert Timed(path).has_checked(both)
    assert not Timed(path).has_checked([*both, replace(short, member="a third", params={"case": "new"})])


def test_a_step_that_xla_cannot_compile_runs_as_a_graph(make_trial: Any, tmp_path: Path) -> None:
    refused = Failure(trial_id="000", kind="build", message="no kernel")
    trials = [make_trial(epochs=10_000, compile="auto")]
    assert Timed(tmp_path / "t.json", xla=refused)(trials) == ["graph"]
    again = Timed(tmp_path / "t.json")
    assert again(trials) == ["graph"]
    assert again.asked == []


def test_a_check_compiles_as_the_last_sweep_did(make_trial: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    trials = [make_trial(epochs=10_000, compile="auto")]
    first = Timed(path)
    first.check(trials)
    assert first(trials) == ["xla"]
    second = Timed(path)
    assert second.check(trials) == {"000": found(1e-4)}
    assert [trial.train.compile for trial in (*first.asked, *second.asked)] == ["auto", "xla", "xla"]
    assert Timed(path)([make_trial(epochs=10, compile="auto")]) == ["graph"]
    third = Timed(path)
    third.check(trials)
    assert [trial.train.compile for trial in third.asked] == ["auto"]


@pytest.mark.parametrize(("kind", "later"), [("build", ["graph"]), ("oom", ["xla"])])
def test_a_check_that_xla_spoils_is_repeated_without_it_and_so_is_training(
    make_trial: Any, tmp_path: Path, kind: Any, later: list[str]
) -> None:
    path, trials = tmp_path / "t.json", [make_trial(epochs=10_000, compile="auto")]
    assert Timed(path)(trials) == ["xla"]
    spoilt = Timed(path, xla=Failure(trial_id="000", kind=kind, message="no kernel"), graph=found(1e-3))
    assert spoilt.check(trials) == {"000": found(1e-3)}
    assert [trial.train.compile for trial in spoilt.asked] == ["xla", "auto"]
    assert spoilt(trials) == ["graph"]
    assert Timed(path)(trials) == later, "memory may be free another time"


def test_data_that_cannot_be_loaded_are_not_loaded_again(make_trial: Any, tmp_path: Path) -> None:
    path, trials = tmp_path / "t.json", [make_trial(epochs=10_000, compile="auto")]
    Timed(path)(trials)
    spoilt = Timed(path, xla=Failure(trial_id="000", kind="data", message="no such file"))
    spoilt.check(trials)
    assert len(spoilt.asked) == 1


def test_a_choice_that_was_made_is_left_alone(make_trial: Any, tmp_path: Path) -> None:
    timed = Timed(tmp_path / "t.json")
    trial = make_trial(compile="xla", steps_per_round=2)
    assert timed.decide([trial]) == (trial,)
    assert timed.asked == []


@pytest.mark.parametrize(
    ("step_s", "length", "turn"),
    [
        (1e-4, 100, {"epochs_per_round": 20}),
        (1e-3, 100, {"epochs_per_round": 10}),
        (1e-3, 90, {"epochs_per_round": 10}),
        (1e-3, 1_000, {"steps_per_round": 1_000}),
        (1e-3, 1_001, {"steps_per_round": 501}),
        (1e-3, 9_000, {"steps_per_round": 563}),
        (10.0, 3, {"steps_per_round": 1}),
        (0.3, 7, {"steps_per_round": 2}),
    ],
)
def test_training_is_halved_until_a_turn_takes_about_a_second(
    make_trial: Any, step_s: float, length: int, turn: dict[str, int]
) -> None:
    trial = make_trial(epochs=20, steps_per_epoch=length)
    assert with_turns(trial, FACTS, step_s) == replace(trial.train, **turn)


@pytest.mark.parametrize(
    ("facts", "train", "epochs"),
    [
        ({}, {}, 20),
        ({"rows": None}, {}, 1),  # a pipeline: how long it validates is unknown
        ({"validation_rows": 3_200}, {}, 10),  # as long as 100 training steps, most
        ({"validation_rows": 3_200}, {"validate_every": 10}, 20),
        ({}, {"early_stopping": EarlyStopping()}, 1),
        ({}, {"reduce_lr_on_plateau": ReduceLROnPlateau()}, 1),
        ({}, {"steps_per_round": 1_000}, 1),
        ({}, {"epochs_per_round": 7}, 7),  # settled before
    ],
)
def test_several_epochs_make_a_turn_where_nothing_is_decided_between_them(
    make_trial: Any, facts: dict[str, Any], train: dict[str, Any], epochs: int
) -> None:
    trial = make_trial(epochs=20, steps_per_epoch=100, **train)
    assert with_turns(trial, replace(FACTS, **facts), 4.5e-4).epochs_per_round == epochs


@pytest.mark.parametrize(
    ("turn", "ends"),
    [
        ({}, [4, 8, 12, 16, 20]),
        ({"steps_per_round": 3}, [3, 4, 7, 8, 11, 12, 15, 16, 19, 20]),
        ({"steps_per_round": 99}, [4, 8, 12, 16, 20]),
        ({"epochs_per_round": 2}, [8, 16, 20]),
        ({"epochs_per_round": 9}, [20]),
    ],
)
def test_a_turn_is_within_an_epoch_or_whole_epochs(make_trial: Any, turn: dict[str, Any], ends: list[int]) -> None:
    train, found = make_trial(epochs=5, **turn).train, [0]
    while found[-1] < 20:
        found.append(found[-1] + train.steps_in_turn(4, found[-1]))
    assert found[1:] == ends


def test_turns_are_sized_by_the_step_as_it_is_compiled(make_trial: Any, tmp_path: Path) -> None:
    settled = Timed(tmp_path / "t.json").decide([make_trial(epochs=3, steps_per_epoch=8_000, compile="auto")])
    assert (settled[0].train.compile, settled[0].train.steps_per_round) == ("xla", 8_000)
    graph = Timed(tmp_path / "t.json").decide([make_trial(epochs=3, steps_per_epoch=8_000, compile="graph")])
    assert graph[0].train.steps_per_round == 1_000


def test_a_file_of_timings_that_cannot_be_read_is_measured_anew(tmp_path: Path) -> None:
    path = tmp_path / "timings.json"
    for text in ("{", "[]", '{"k": 3}', '{"k": {"graph_s": "x"}}', '{"k": {"other": 1}}'):
        path.write_text(text)
        assert TimingsFile(path).get("k") is None
    TimingsFile(path).put("k", FAST_XLA)
    assert TimingsFile(path).get("k") == FAST_XLA

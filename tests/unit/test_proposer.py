"""Waves: what is proposed when, and that it depends on results alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.config import load_config
from runner.records import Epoch, Failure, Report, Trial, Turn, Verdict
from runner.search.cohorts import Scoring
from runner.search.members import resolve_members
from runner.search.proposer import WaveProposer, make_proposer

LOSS = Scoring("loss", "minimize")
KEEP, DONE, LOST = Verdict(kind="keep"), Verdict(kind="complete"), Verdict(kind="stop", by="halving")
CODE = "def load_data(): ...\ndef build_model(units: int = 1, rate: float = 0.1): ...\n"


@pytest.fixture
def proposer_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.py").write_text(CODE)

    def make(*settings: str) -> WaveProposer:
        space = ("params.units=int(1,100)", "params.rate=loguniform(1e-3,1)", "search.sampler=tpe", "train.epochs=9")
        config = load_config("a.py", [*space, *settings], config_dir=None)
        proposer = make_proposer(config.search, resolve_members(config), 0, prefix=False)
        assert proposer is not None
        return proposer

    return make


def report(trial: Trial, epoch: int) -> Report:
    loss = abs(trial.params["units"] - 50) / epoch  # type: ignore[operator]
    epochs = (Epoch(number=epoch, metrics={"loss": loss}, ended_s=0.0),)
    turn = Turn(pid=1, started_s=0.0, ended_s=0.0, compute_s=0.0)
    return Report(trial_id=trial.id, round=0, step=epoch, epoch=epoch, running={}, epochs=epochs, turn=turn)


def told(proposer: WaveProposer, trials: Sequence[Trial], epoch: int, verdict: Verdict) -> Sequence[Trial]:
    reports = {trial.id: report(trial, epoch) for trial in trials}
    return proposer.propose(reports, dict.fromkeys(reports, verdict))


def begun(proposer: WaveProposer, wave: int = 4) -> list[Trial]:
    trials = proposer.first()
    proposer.settle(trials, LOSS, wave)
    return trials


def test_the_first_wave_is_at_random_and_the_next_comes_when_all_of_it_have_ended(proposer_of: Any) -> None:
    proposer = proposer_of("search.max_trials=20")
    first = begun(proposer)
    assert [trial.id for trial in first] == [f"{n:03}" for n in range(10)]
    assert told(proposer, first[:9], 9, DONE) == []
    second = told(proposer, first[9:], 9, DONE)
    assert [(trial.id, trial.index) for trial in second] == [(f"{n:03}", n) for n in range(10, 14)]
    assert [trial.id for trial in told(proposer, second, 9, DONE)] == [f"{n:03}" for n in range(14, 18)]


def test_the_order_of_reports_changes_no_proposal(proposer_of: Any) -> None:
    found = []
    for order in (1, -1):
        proposer = proposer_of("search.max_trials=20")
        first = begun(proposer)
        for trial in first[::order]:
            second = told(proposer, [trial], 9, DONE)
        found.append([trial.params for trial in second])
    assert found[0] == found[1]


def test_the_last_wave_has_what_is_left(proposer_of: Any) -> None:
    proposer = proposer_of("search.max_trials=12")
    assert len(told(proposer, begun(proposer), 9, DONE)) == 2
    assert list(proposer.exhausted()) == []


def test_a_bracket_is_a_wave_and_the_next_begins_after_its_first_rung(proposer_of: Any) -> None:
    proposer = proposer_of("search.max_trials=27", "search.stop=halving")
    first = begun(proposer)
    assert len(first) == 9
    best = sorted(first, key=lambda trial: abs(trial.params["units"] - 50))[:3]  # type: ignore[operator]
    told(proposer, best, 1, KEEP)
    second = told(proposer, [trial for trial in first if trial not in best], 1, LOST)
    assert len(second) == 9
    assert told(proposer, second[:3], 1, KEEP) == []
    assert told(proposer, second[3:], 1, LOST) == [], "the first bracket has not ended"
    third = told(proposer, best, 9, DONE)
    assert len(third) == 9


def test_what_survivors_do_after_the_rung_changes_no_proposal(proposer_of: Any) -> None:
    found = []
    for later in (None, report, Failure):
        proposer = proposer_of("search.max_trials=18", "search.stop=halving")
        first = begun(proposer)
        told(proposer, first[:3], 1, KEEP)
        told(proposer, first[3:8], 1, LOST)
        if later is report:
            told(proposer, first[:1], 2, KEEP)
        if later is Failure:
            failure = Failure(trial_id="000", kind="train", message="x")
            proposer.propose({"000": failure}, {"000": Verdict(kind="fail")})
        found.append([trial.params for trial in told(proposer, first[8:], 1, LOST)])
    assert len(found[0]) == 9
    assert found[0] == found[1] == found[2]


def test_repeats_are_trials_of_one_proposal(proposer_of: Any) -> None:
    proposer = proposer_of("search.max_trials=31", "search.repeats=3")
    first = begun(proposer)
    assert len(first) == 30
    assert [trial.seed for trial in first[:6]] == [0, 1, 2, 0, 1, 2]
    assert first[0].params == first[2].params != first[3].params
    assert told(proposer, first, 9, DONE) == [], "31 trials hold ten settings of three"


def test_an_exhausted_space_is_said(proposer_of: Any) -> None:
    proposer = proposer_of("search.max_trials=20", "params.units=1,2", "params.rate=0.1", "search.space.rate=[0.1,0.2]")
    first = begun(proposer)
    assert len(first) == 4
    assert told(proposer, first, 9, DONE) == []
    assert list(proposer.exhausted()) == ["a: the space has no more settings; 4 of search.max_trials=20 trials"]


def test_later_trials_are_compiled_as_the_first(proposer_of: Any) -> None:
    proposer = proposer_of("search.max_trials=20")
    trials = proposer.first()
    from dataclasses import replace

    proposer.settle([replace(one, train=replace(one.train, compile="xla")) for one in trials], LOSS, 4)
    assert {one.train.compile for one in told(proposer, trials, 9, DONE)} == {"xla"}


def test_a_replay_proposes_what_comes_next_alike(proposer_of: Any) -> None:
    live = proposer_of("search.max_trials=30", "search.wave=4")
    first = begun(live)
    second = list(told(live, first, 9, DONE))
    third = told(live, second, 9, DONE)

    again = proposer_of("search.max_trials=30", "search.wave=4")
    again.settle(first, LOSS, 1)
    turns = {trial.id: ((report(trial, 9), DONE),) for trial in (*first, *second[:2])}
    trials, ended = [*first, *second], turns.keys()
    assert again.replay(trials, lambda trial: turns.get(trial.id, ()), ended)
    assert told(again, second[2:], 9, DONE) == third


def test_a_replay_that_differs_goes_on_from_what_was_recorded(proposer_of: Any) -> None:
    first = begun(proposer_of("search.max_trials=30"))
    found = []
    for _ in range(2):
        other = proposer_of("search.max_trials=30", "search.seed=5", "search.wave=4")
        other.settle(first, LOSS, 4)
        assert not other.replay(first, lambda _: (), ())
        found.append(told(other, first, 9, DONE))
    assert [trial.id for trial in found[0]] == ["010", "011", "012", "013"]
    assert found[0] == found[1]


def test_a_replay_goes_on_if_trials_of_an_earlier_wave_do(proposer_of: Any) -> None:
    live = proposer_of("search.max_trials=30", "search.wave=4")
    first = begun(live)
    second = list(told(live, first, 9, DONE))
    again = proposer_of("search.max_trials=30", "search.wave=4")
    again.settle(first, LOSS, 1)
    again.replay([*first, *second], lambda _: (), ())
    assert [trial.id for trial in told(again, [*first, *second], 9, DONE)] == ["014", "015", "016", "017"]


@pytest.mark.parametrize("slots", [4, 16])
def test_the_first_wave_is_the_same_for_any_number_of_slots(proposer_of: Any, slots: int) -> None:
    proposer = proposer_of("search.max_trials=40")
    first = begun(proposer, wave=slots)
    assert len(told(proposer, first, 9, DONE)) == slots
    resumed = proposer_of("search.max_trials=40", f"search.wave={slots}")
    resumed.settle(first, LOSS, 1)
    assert resumed.replay(first, lambda _: (), ())

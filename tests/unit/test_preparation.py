"""What a sweep knows of its models before its slots are planned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.driver.probing import _probed
from runner.records import Checked, Failure, Trial
from runner.testing import FakeFleet


class FragileFleet(FakeFleet):
    """One whose worker dies over some models, and with it over all that wait behind them."""

    deadly: Sequence[str] = ("001",)

    def probe(self, trials: Sequence[Trial]) -> Mapping[str, Checked | Failure]:
        found, dead = {}, False
        for trial in trials:
            dead = dead or trial.id in self.deadly
            lost = Failure(trial_id=trial.id, kind="worker", message="died")
            found[trial.id] = lost if dead else super().probe([trial])[trial.id]
        return found


def test_models_that_waited_behind_one_that_kills_its_worker_are_measured_all_the_same(make_trial: Any) -> None:
    trials = [make_trial(id=f"00{number}") for number in range(3)]
    found = {trial.id: answer for trial, answer in _probed(trials, FragileFleet(slots=[0]))}
    assert [isinstance(found[trial.id], Checked) for trial in trials] == [True, False, True]

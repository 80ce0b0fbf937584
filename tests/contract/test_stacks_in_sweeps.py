"""Stacks in whole sweeps: they shrink with the rungs, and a killed sweep goes on as if it had not been."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from moments import Result, moments, photographed_sweep, resumed

from runner.driver.context import Context
from runner.driver.replaying import replay
from runner.journal import JournalReader
from runner.loop import stack_sizes
from runner.views.watchers import Silent

pytestmark = pytest.mark.slow
SETTINGS = (
    "fleet.kind=local", "name=s", "search.sampler=random", "search.max_trials=8", "search.stop=halving",
    "search.factor=2", "search.min_epochs=2", "resources.stack=8", "params.units=8",
    "params.learning_rate=loguniform(1e-4,1e-1)", "params.dropout=interval(0,0.5)", "train.epochs=8",
    "train.early_stopping={monitor: val_loss, patience: 1}",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def small_programs_pay() -> Iterator[None]:
    """Sweeps here are too short for a smaller program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack_sizes, "_WORTHWHILE_STEPS", 0)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    return photographed_sweep(tmp_path_factory, SETTINGS)


def test_a_stack_shrinks_with_the_rungs_and_mlflow_has_its_sizes(undisturbed: tuple[Path, Result]) -> None:
    root, result = undisturbed
    decided = {(step, by, arguments) for _, step, kind, by, _, arguments in result.decisions if kind == "stack"}
    assert decided == {(90, "halving", "{'size': 2}"), (180, "halving", "{'size': 1}")}
    assert {reason.split(":")[0] for _, _, _, reason in map(tuple, result.trials)} >= {"halving", "early_stopping"}
    (folder,) = (root / "sweeps").iterdir()
    client = MlflowClient(f"sqlite:///{root}/m.db")
    with JournalReader(folder) as reader:
        turns = [row.turn for row in reader.turns()]
        whole_s = max(turn.ended_s for turn in turns) - min(turn.started_s for turn in turns)
        seats_s = sum(turn.seat_s for turn in turns)  # before the first turn begins
        assert sum(record.seconds for record in reader.trials()) < whole_s + seats_s
        for record in reader.trials():
            tags = client.get_run(str(record.run_id)).data.tags
            assert (tags["stacked"], tags["exact"]) == ("4", "false")
            sizes = ", ".join(
                ["4", *(str(one.arguments["size"]) for one in reader.decisions(record.id) if one.kind == "stack")]
            )
            assert tags.get("stacked.sizes", "4") == sizes


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_killed_sweep_of_stacks_goes_on_as_if_it_had_not_been(undisturbed: tuple[Path, Result], place: int) -> None:
    root, result = undisturbed
    found = moments(root)
    assert Result.of(resumed(found[len(found) * place // 4], root)) == result


def test_every_trial_is_trained_again_alone_bit_for_bit(undisturbed: tuple[Path, Result]) -> None:
    (folder,) = (undisturbed[0] / "sweeps").iterdir()
    with JournalReader(folder) as reader:
        ids = [record.id for record in reader.trials()]
    for trial_id in ids[::3]:
        found = replay(folder, trial_id, Context(watcher=Silent()))
        assert found.is_same, list(found.lines())

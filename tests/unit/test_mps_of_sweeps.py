"""What a sweep does about MPS: what the config wants, a daemon that does not start, and workers that do not use one."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runner.config import Config, load_config
from runner.driver import machines, mps_proof
from runner.driver.machines import machines_of, with_mps
from runner.driver.mps import with_daemon
from runner.driver.mps_proof import proven
from runner.driver.prepare import Prepared, request_of
from runner.errors import ConfigError, MpsError
from runner.host.mps_daemon import MpsDaemon
from runner.loop.slots import Shares
from runner.placement import Gpu, Machine, Request, plan_slots
from runner.records import Mps, MpsKind, Report, Turn, Verdict, Work
from runner.testing import MemoryJournal

GPU = Gpu(id="1", uuid="GPU-a", name="A", memory_mib=24_000, free_mib=23_000)
FOUND = Mps(kind="own", reason="no daemon serves yet")
ROOT = Path(__file__).parents[2]


def config_of(monkeypatch: pytest.MonkeyPatch, *settings: str) -> Config:
    monkeypatch.chdir(ROOT)
    return load_config(None, list(settings), config_dir=None)


@pytest.mark.parametrize(
    ("settings", "found", "kind"),
    [
        ([], FOUND, "own"),
        (["resources.mps=on"], FOUND, "own"),
        (["resources.mps=off"], FOUND, "off"),
        (["resources.mps=off"], Mps(kind="foreign"), "off"),
        (["fleet.kind=local"], FOUND, "unavailable"),
        (["fleet.kind=local", "resources.mps=on"], FOUND, "unavailable"),
        ([], Mps(kind="unavailable", reason="R"), "unavailable"),
        (["resources.mps=on"], Mps(kind="unavailable", reason="MIG divides GPU 1"), None),
    ],
)
def test_the_config_decides_what_is_used_of_what_there_is(
    monkeypatch: pytest.MonkeyPatch, settings: list[str], found: Mps, kind: MpsKind | None
) -> None:
    monkeypatch.setattr(machines, "this_machine", lambda: Machine(cpus=8, memory_mib=1, gpus=(GPU,), mps=found))
    config = config_of(monkeypatch, *settings)
    if kind is None:
        with pytest.raises(MpsError, match=r"resources\.mps=on: MIG divides GPU 1; resources\.mps=auto"):
            machines_of(config)
    else:
        assert machines_of(config)[""].mps.kind == kind


def test_words_for_mps_need_no_quotes_and_others_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config_of(monkeypatch, "resources.mps=false").resources.mps == "off"
    assert config_of(monkeypatch, 'resources.mps="on"').resources.mps == "on"
    with pytest.raises(ConfigError, match="must be auto, on or off"):
        config_of(monkeypatch, "resources.mps=maybe")
    assert "mps" not in Request.__dataclass_fields__
    assert request_of(config_of(monkeypatch, "resources.mps=off")) == Request()


def test_a_daemon_of_chosen_gpus_numbers_them_itself_so_that_uuids_name_them(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(cpus=8, memory_mib=1, gpus=(GPU,))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert with_mps(machine, FOUND).gpus[0].id == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert with_mps(machine, FOUND).gpus[0].id == "GPU-a"
    assert with_mps(machine, Mps(kind="foreign")).gpus[0].id == "1"


def planner(config: Config, trials: int = 2, **request: Any) -> Any:
    def plan(mps: Mps | None) -> Prepared:
        machine = Machine(cpus=8, memory_mib=1, gpus=(GPU,), mps=FOUND if mps is None else mps)
        slots = plan_slots(Request(**request), machine, trials)
        return Prepared(config=config, members=(), trials=(), slots=slots, machines={"": machine})

    return plan


def test_a_daemon_is_started_where_a_gpu_is_shared_and_a_plan_without_follows_if_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[str] = []
    monkeypatch.setattr(MpsDaemon, "start", lambda self, gpus: started.append(gpus[0].id) or "/pipes")
    warned: list[str] = []
    config = config_of(monkeypatch)
    with ExitStack() as ending:
        alone = with_daemon(planner(config, num_gpus=1), ending, warned.append)
        assert (started, alone.slots[0].allocation.mps) == ([], "off")
        shared = with_daemon(planner(config, num_gpus=0.5), ending, warned.append)
        assert (started, shared.mps, warned) == (["1"], replace(FOUND, pipes="/pipes"), [])

        def fails(self: MpsDaemon, gpus: Any) -> str:
            raise MpsError("broken")

        monkeypatch.setattr(MpsDaemon, "start", fails)
        without = with_daemon(planner(config, num_gpus=0.5), ending, warned.append)
        assert without.mps == Mps(kind="unavailable", reason="broken")
        assert {slot.allocation.mps_thread_percentage for slot in without.slots} == {None}
        assert "broken" in warned[0]
        with pytest.raises(MpsError, match=r"resources\.mps=on: broken"):
            with_daemon(planner(config_of(monkeypatch, "resources.mps=on"), num_gpus=0.5), ending, warned.append)


def test_a_worker_that_is_no_client_is_recorded_without_mps_and_asked_about_once(
    monkeypatch: pytest.MonkeyPatch, make_trial: Any
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(mps_proof, "clients_of", lambda pipes, _: asked.append(pipes) or frozenset({10}))
    machine = Machine(cpus=8, memory_mib=1, gpus=(GPU,), mps=replace(FOUND, pipes="/pipes"))
    shares = Shares(plan_slots(Request(num_gpus=0.5), machine, 2), {"": machine})
    inner, warned = MemoryJournal(), []
    journal = proven(inner, machine.mps, shares, warned.append)
    trials = [make_trial(id=name) for name in ("000", "001")]
    for number in range(2):
        journal.assign({slot: (Work(trial=trial, round=number),) for slot, trial in enumerate(trials)})
        reports = {
            trial.id: Report(
                trial_id=trial.id, round=number, step=1, epoch=1, running={},
                turn=Turn(pid=10 + slot, started_s=0.0, ended_s=1.0, compute_s=0.1),
            )
            for slot, trial in enumerate(trials)
        }  # fmt: skip
        journal.commit(reports, dict.fromkeys(reports, Verdict(kind="keep")), {})
    assert asked == ["/pipes"]
    assert list(inner.resized) == [1]
    assert (inner.resized[1].mps, inner.resized[1].mps_thread_percentage) == ("unavailable", None)
    assert shares.of(1) == inner.resized[1]
    assert shares.of(0).mps == "own"
    assert len(warned) == 1
    assert "slot 1" in warned[0]
    assert proven(inner, FOUND, shares, warned.append) is inner, "without a daemon there is nothing to prove"

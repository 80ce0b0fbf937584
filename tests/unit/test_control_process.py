"""Ray's control process ends: whoever waits for workers ends in good order, long before Ray would give up."""

from __future__ import annotations

import subprocess

import pytest

from runner.errors import FleetError
from runner.fleet.ray import session
from runner.fleet.ray.calls import Call
from runner.fleet.ray.fleet import RayFleet
from runner.records import Allocation, Slot

SLOTS = (Slot(index=0, allocation=Allocation(num_cpus=1)),)


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes that all of Ray's processes were killed."""
    found: list[str] = []
    monkeypatch.setattr(session, "kill_all", lambda: found.append("all"))
    return found


@pytest.mark.parametrize("ended", [True, False])
def test_whoever_waits_for_workers_notices(killed: list[str], ended: bool) -> None:
    fleet = RayFleet(SLOTS, address=None, cpus=1)
    with subprocess.Popen(["sleep", "0" if ended else "60"]) as control:
        fleet._session._control = control
        if ended:
            control.wait()
            with pytest.raises(FleetError, match=rf"control process \(GCS, process {control.pid}\) has ended"):
                fleet._gather({"000": Call(slot=0, future=None, limit_s=1.0)})
            with pytest.raises(FleetError, match="has ended"):
                fleet._workers._stopped()
            assert killed
        else:
            (lost,) = fleet._gather({"000": Call(slot=0, future=None, limit_s=1.0)}).values()
            assert lost.message == "the worker had ended before the call"
            assert not fleet._workers._stopped()
            assert not killed
        control.kill()


def test_another_clusters_control_process_is_its_own_affair(killed: list[str]) -> None:
    session.RaySession((), address="127.0.0.1:1").check()
    assert not killed


@pytest.mark.parametrize(("address", "dashboard"), [("local", {"include_dashboard": False}), ("127.0.0.1:1", {})])
def test_ray_prints_no_logs_of_workers_and_has_no_dashboard(
    address: str, dashboard: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, object] = {}
    monkeypatch.setattr(session.ray, "init", given.update)
    monkeypatch.setattr(session, "shut_down", lambda: None)
    with session.RaySession((), address=address, num_cpus=1):
        pass
    given.pop("_temp_dir", None)
    assert given == {"address": address, "num_cpus": 1, "log_to_driver": False, "logging_level": "ERROR", **dashboard}

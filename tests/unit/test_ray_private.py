"""What is changed in Ray's own code while it starts: put back afterwards, and left out where Ray has no such thing."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from runner.fleet.ray import patches  # sets Ray's environment, so it comes before Ray

import ray  # isort: skip
from ray._private import services, utils, worker  # isort: skip
from ray._private.node import Node  # isort: skip
from ray.job_config import JobConfig  # isort: skip

CHANGED = [(Node, name) for name in patches._UNUSED_PROCESSES]
CHANGED += [(services, patches._AGENTS_PYTHON), (services, "get_node"), (utils, "get_dashboard_dependency_error")]


@pytest.mark.parametrize(("owner", "name"), CHANGED, ids=[name for _, name in CHANGED])
def test_a_change_lasts_as_long_as_ray_starts(owner: object, name: str) -> None:
    before = getattr(owner, name)
    with patches.lean():
        assert getattr(owner, name) is not before
    assert getattr(owner, name) is before


def test_raylets_reports_are_not_printed() -> None:
    before = worker.listen_error_messages
    with patches.quiet():
        assert worker.listen_error_messages is not before
    assert worker.listen_error_messages is before


def test_what_a_version_of_ray_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in CHANGED:
        monkeypatch.delattr(owner, name)
    with patches.lean():
        assert not [name for owner, name in CHANGED if hasattr(owner, name)]


def test_ray_takes_itself_for_one_without_a_dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "ray.dashboard.optional_deps"
    monkeypatch.setitem(sys.modules, name, ModuleType(name))  # as with ray[default]
    assert utils.get_dashboard_dependency_error() is None
    with patches.lean():
        assert isinstance(utils.get_dashboard_dependency_error(), ImportError)


class Server:
    """Ray's, which knows the raylet when it is asked for the third time."""

    def __init__(self, address: str) -> None:
        self.asked = [bytes([1]), bytes([2])]

    def get_all_node_info(self, timeout: float) -> dict[Any, None]:
        known = len(self.asked) < 2
        self.asked.pop()
        return dict.fromkeys([bytes([9]), *([bytes([255])] if known else [])])


@pytest.mark.parametrize(
    "server", [Server, None, lambda address: object()], ids=["known", "no client", "another client"]
)
def test_a_raylet_is_looked_for_and_then_ray_asks(monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    slept: list[float] = []
    monkeypatch.setattr(patches, "time", SimpleNamespace(monotonic=time.monotonic, sleep=slept.append))
    monkeypatch.setattr(ray._raylet, "GcsClient", server)
    monkeypatch.setattr(patches, "_GET_NODE", lambda address, node: f"{node} at {address}")
    assert patches._get_node("127.0.0.1:1", "ff") == "ff at 127.0.0.1:1"
    assert len(slept) == (1 if server is Server else 0)


def test_workers_get_none_of_the_drivers_folders_before_pythons_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not JobConfig()._runtime_env_has_working_dir()
    with patches.without_drivers_folders():
        assert JobConfig()._runtime_env_has_working_dir()  # Ray then adds neither the current nor the script's folder
    assert not JobConfig()._runtime_env_has_working_dir()

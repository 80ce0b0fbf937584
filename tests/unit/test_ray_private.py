"""What is changed in Ray's own code while it starts: put back afterwards; what Ray lacks is left out and reported."""

from __future__ import annotations

import re
import sys
import time
import tomllib
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from runner.fleet.ray import patches, session  # sets Ray's environment, so it comes before Ray
from runner.fleet.ray.fleet import RayFleet

import ray  # isort: skip
from ray._private import services, utils, worker  # isort: skip
from ray._private.node import Node  # isort: skip
from ray.job_config import JobConfig  # isort: skip

REPLACED = [(Node, name) for name in patches._UNUSED_PROCESSES]
REPLACED += [(services, patches._AGENTS_PYTHON), (utils, "get_dashboard_dependency_error"), (services, "get_node")]


@pytest.mark.parametrize(("owner", "name"), REPLACED, ids=[name for _, name in REPLACED])
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


def test_parts_that_a_version_of_ray_lacks_are_left_out_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in REPLACED:
        monkeypatch.delattr(owner, name)
    with patches.lean() as missing:
        assert not [name for owner, name in REPLACED if hasattr(owner, name)]
    assert [part.rpartition(".")[2] for part in missing] == [name for _, name in REPLACED]


def test_this_version_of_ray_has_all_parts() -> None:
    changes = (patches.lean(), patches.quiet(), patches.reachable(True), patches.without_drivers_folders())
    with ExitStack() as changed:
        assert [part for change in changes for part in changed.enter_context(change)] == []


def test_a_fleet_warns_once_of_parts_that_ray_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(worker, "listen_error_messages")
    monkeypatch.delattr(Node, "kill_all_processes")
    monkeypatch.setattr(session.ray, "init", lambda **_: None)
    monkeypatch.setattr(session, "shut_down", lambda: None)
    warnings: list[str] = []
    with RayFleet((), address=None, cpus=1, warn=warnings.append):
        pass
    (warning,) = warnings
    parts = "ray._private.worker.listen_error_messages, ray._private.node.Node.kill_all_processes"
    assert warning.startswith(f"warning: ray {ray.__version__} has no {parts}, which this program replaces; ")
    assert warning.endswith(f"pip install 'ray{patches.TESTED_RAY}'")
    assert "\n" not in warning


def test_a_fleet_says_nothing_if_ray_has_all_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session.ray, "init", lambda **_: None)
    monkeypatch.setattr(session, "shut_down", lambda: None)
    warnings: list[str] = []
    with RayFleet((), address=None, cpus=1, warn=warnings.append):
        pass
    assert not warnings


def test_the_tested_versions_are_those_that_the_package_requires() -> None:
    root = Path(__file__).parents[2]
    dependencies = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert f"ray{patches.TESTED_RAY}" in dependencies
    pin = re.search(r"^ray==(\S+)", (root / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
    assert pin is not None
    assert pin[1] in SpecifierSet(patches.TESTED_RAY)


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

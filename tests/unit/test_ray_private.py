"""Private parts of Ray that are replaced while it starts: restored afterwards, and named in a warning if missing."""

from __future__ import annotations

import sys
import time
import tomllib
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from runner.fleet.ray import patches  # sets Ray's environment, so it comes before Ray

import ray  # isort: skip
import ray.dashboard.utils  # isort: skip
from ray._private import utils, worker  # isort: skip
from ray.job_config import JobConfig  # isort: skip

LEAN = (*patches._UNUSED_PROCESSES, patches._AGENT_COMMAND, patches._FIND_NODE, patches._DASHBOARD_ERROR)
CHANGED = [(resolve_name(part.rpartition(".")[0]), part.rpartition(".")[2]) for part in LEAN if "Node." in part]
CHANGED += [(resolve_name(part.partition(":")[0]), part.partition(":")[2]) for part in LEAN if "Node." not in part]


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


def test_what_a_version_of_ray_lacks_is_left_out_and_named_in_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in CHANGED:
        monkeypatch.delattr(owner, name)
    with patches.lean():
        assert not [name for owner, name in CHANGED if hasattr(owner, name)]
    warning = patches.warning()
    assert warning is not None
    assert f"Ray {ray.__version__} lacks " in warning
    assert f"pip install 'ray{patches.TESTED}'" in warning
    assert {part for part in patches.PARTS if part.replace(":", ".") in warning} == set(LEAN)


def test_a_module_of_ray_that_is_gone_is_named_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray.dashboard.utils", None)
    warning = patches.warning()
    assert warning is not None
    assert "lacks ray.dashboard.utils.get_all_modules, which" in warning


def test_the_ray_that_is_installed_has_every_part_and_is_a_tested_version() -> None:
    assert patches.warning() is None
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"ray{patches.TESTED}" in project["dependencies"]
    assert Version(ray.__version__) in SpecifierSet(patches.TESTED)


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
    assert patches._find_node("127.0.0.1:1", "ff") == "ff at 127.0.0.1:1"
    assert len(slept) == (1 if server is Server else 0)


def test_workers_get_none_of_the_drivers_folders_before_pythons_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not JobConfig()._runtime_env_has_working_dir()
    with patches.without_drivers_folders():
        assert JobConfig()._runtime_env_has_working_dir()  # Ray then adds neither the current nor the script's folder
    assert not JobConfig()._runtime_env_has_working_dir()

"""What is changed in Ray's own code while it starts: put back afterwards, and left out where Ray has no such thing."""

from __future__ import annotations

from typing import Any

import pytest
from ray._private import services, utils
from ray._private.node import Node

from runner.fleet import ray_private

CHANGED = [(Node, name) for name in ray_private._UNUSED_PROCESSES]
CHANGED += [(services, ray_private._AGENTS_PYTHON), (services, "get_node"), (utils, "get_dashboard_dependency_error")]


@pytest.mark.parametrize(("owner", "name"), CHANGED, ids=[name for _, name in CHANGED])
def test_a_change_lasts_as_long_as_ray_starts(owner: object, name: str) -> None:
    before = getattr(owner, name)
    with ray_private.lean():
        assert getattr(owner, name) is not before
    assert getattr(owner, name) is before


def test_what_a_version_of_ray_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in CHANGED:
        monkeypatch.delattr(owner, name)
    with ray_private.lean():
        assert not [name for owner, name in CHANGED if hasattr(owner, name)]


def test_a_raylet_is_looked_for_until_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = [[], [{"NodeID": "another"}], [{"NodeID": "another"}, {"NodeID": "this"}]]
    asked = []

    class State:
        def _initialize_global_state(self, options: Any) -> None: ...

        def node_table(self) -> Any:
            return tables.pop(0)

    def get_node(address: str, node: str) -> str:
        asked.append((address, node, len(tables)))
        return "its record"

    monkeypatch.setattr(ray_private, "GlobalState", State)
    monkeypatch.setattr(ray_private, "_GET_NODE", get_node)
    assert ray_private._get_node("127.0.0.1:1", "this") == "its record"
    assert asked == [("127.0.0.1:1", "this", 0)]

"""A wrong `fleet.address` is told at once."""

from __future__ import annotations

import socket

import pytest

from runner.config.schema import Config, Fleet
from runner.driver.machines import machines_of
from runner.errors import ConfigError, FleetError


def config(address: str) -> Config:
    return Config(fleet=Fleet(address=address))


def test_an_address_where_nothing_listens_is_an_error_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and nobody listens
        with pytest.raises(FleetError, match=r"no Ray answers there: .*refused"):
            machines_of(config(f"127.0.0.1:{taken.getsockname()[1]}"))


@pytest.mark.parametrize("address", ["somewhere", ":6379", "host:port"])
def test_what_is_no_address_is_told(address: str) -> None:
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        machines_of(config(address))


def test_a_ray_that_does_not_start_is_an_infrastructure_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from runner.fleet.ray import session

    def init(**_: object) -> None:
        raise Exception("The current node timed out during startup.")  # as Ray's own class is

    monkeypatch.setattr(session.ray, "init", init)
    with pytest.raises(FleetError, match=r"Ray did not start: The current node timed out .* runner doctor"):
        session.RaySession([], address="127.0.0.1:9").__enter__()

"""Large imports are not searched for garbage, and everything after them is."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from runner.host.processes import without_collecting


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.enable()


def test_nothing_is_searched_meanwhile() -> None:
    with without_collecting():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_ends_it_too() -> None:
    with pytest.raises(ImportError), without_collecting():
        raise ImportError
    assert gc.isenabled()


def test_a_program_that_never_collects_is_left_so() -> None:
    gc.disable()
    with without_collecting():
        pass
    assert not gc.isenabled()

"""Large imports are not searched for garbage, and everything after them is."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from runner.collecting import without_collecting


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


def test_nothing_is_searched_meanwhile_and_what_was_made_never_is() -> None:
    with without_collecting():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]  # type: ignore[var-annotated]
    assert gc.isenabled()
    assert not {id(one) for one in made} & {id(one) for one in gc.get_objects()}, "frozen: not looked at again"


def test_an_error_ends_it_too() -> None:
    with pytest.raises(ImportError), without_collecting():
        raise ImportError
    assert gc.isenabled()


def test_a_program_that_never_collects_is_left_so() -> None:
    gc.disable()
    with without_collecting():
        pass
    assert not gc.isenabled()

"""Any text can be stored, and comes back exactly."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from runner.texts.storable import original, shown, storable

PIECES = [
    "\\",
    "\0",
    "\udce9",
    "\ud83d",
    "\ude00",
    "x00",
    "ud83d",
    "udce9",
    "\\x00",
    "\\udce9",
    "é",
    "😀",
    "C:\\new",
    "\n",
]
TEXTS = st.text(alphabet=st.characters(codec=None)) | st.lists(st.sampled_from(PIECES)).map("".join)


@given(TEXTS)
@example("caf\udce9 \\udce9 \\\\udce9 \\\udce9 \0\\x00")
def test_what_is_stored_is_valid_and_comes_back(text: str) -> None:
    stored = storable(text)
    assert "\0" not in stored
    assert stored.encode().decode() == stored
    assert original(stored) == text


@given(TEXTS)
def test_what_is_shown_is_valid_and_the_same_the_second_time(text: str) -> None:
    assert "\0" not in shown(text)
    assert shown(text).encode().decode() == shown(shown(text)) == shown(text)


@given(st.text(alphabet="ab\\ \n'\"xu0é😀"))
def test_text_without_such_characters_stays_as_it_is(text: str) -> None:
    assert shown(text) == text
    if "\\x00" not in text:
        assert storable(text) == text

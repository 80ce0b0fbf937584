"""What holds for any text: ordinary ones are not masked, and what is masked once stays so."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.texts.redaction import redact, secret_shape

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = st.text(LETTERS, min_size=1, max_size=14)
HEX = st.text("0123456789abcdef", min_size=4, max_size=64)
HYPHENATED = st.lists(WORDS, min_size=1, max_size=8).map("-".join)
SNAKE = st.lists(WORDS, min_size=1, max_size=6).map("_".join)
CAMEL = st.lists(WORDS.map(str.capitalize), min_size=1, max_size=6).map("".join)
SWEEPS = st.builds("{}-{:08d}-{:06d}-{:04x}".format, SNAKE, st.integers(0, 10**8 - 1), st.integers(0, 10**6 - 1),
                   st.integers(0, 2**16 - 1))  # fmt: skip
NUMBERS = st.one_of(st.integers().map(str), st.floats().map(repr), st.floats().map("{:.4g}".format))
TIMES = st.one_of(st.datetimes().map(str), st.datetimes().map("{:%Y%m%dT%H%M%S}".format), st.uuids().map(str))
PATHS = st.lists(st.one_of(HYPHENATED, SNAKE, HEX), min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts))
PLACES = st.builds("{}.py:{}".format, PATHS, st.integers(1, 9999))
ADDRESSES = st.builds("https://{}.org:{}{}?page={}".format, WORDS, st.integers(1, 65535), PATHS, st.integers(0, 99))
VALUES = st.builds(
    "{}={}".format, st.sampled_from(["units", "loss", "val_accuracy", "train.epochs", "key_dim"]), NUMBERS
)
ORDINARY = st.one_of(HYPHENATED, SNAKE, CAMEL, HEX, SWEEPS, NUMBERS, TIMES, PATHS, PLACES, ADDRESSES, VALUES)
TEXTS = st.lists(ORDINARY, max_size=12).flatmap(
    lambda parts: st.sampled_from([" ", ", ", "\n", "; "]).map(lambda s: s.join(parts))
)
SECRET_PARTS = st.sampled_from(
    ["://", "@", ":", "password=", "token: ", "'", '"', "&", "?", "sk-", "ghp_", "eyJ", ".", "=", ";",
     "-----BEGIN PRIVATE KEY-----", "0123456789abcdef", "Ab3", " ", "\n", "***", "…"]
)  # fmt: skip


@given(TEXTS)
def test_an_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text
    assert secret_shape(text) is None


@given(st.lists(SECRET_PARTS, max_size=30).map("".join))
def test_what_is_masked_once_is_not_changed_again(text: str) -> None:
    once = redact(text)
    assert redact(once) == once


@given(TEXTS, TEXTS)
def test_a_token_is_masked_whatever_stands_around_it(before: str, after: str) -> None:
    token = "ghp_" + "Ab3dEf6hI" * 4
    assert redact(f"{before} {token} {after}") == f"{before} *** {after}"

"""Search spaces: one grammar for the command line and YAML."""

from __future__ import annotations

import re

import pytest

from runner.config.overrides import parse_settings
from runner.config.space import Choice, Dimension, Range, dimension_of, parse_value


@pytest.mark.parametrize(
    ("written", "dimension"),
    [
        ([32, 64], Choice((32, 64))),
        ([[64], [64, 32]], Choice(([64], [64, 32]))),
        ("32, 64", Choice((32, 64))),
        ("choice(relu, gelu)", Choice(("relu", "gelu"))),
        ("choice(1)", Choice((1,))),
        ("range(1, 4)", Choice((1, 2, 3))),
        ("range(3)", Choice((0, 1, 2))),
        ("range(4, 0, -2)", Choice((4, 2))),
        ("interval(0, 1)", Range(0.0, 1.0)),
        ("interval(0, 1, 0.25)", Range(0.0, 1.0, step=0.25)),
        ("loguniform(1e-4, 1e-1)", Range(1e-4, 1e-1, log=True)),
        ("int(1, 8)", Range(1, 8, whole=True, step=1)),
        ("int(16, 64, 16)", Range(16, 64, whole=True, step=16)),
        ("logint(8, 1024)", Range(8, 1024, log=True, whole=True, step=1)),
    ],
)
def test_a_written_search_is_read(written: object, dimension: Dimension) -> None:
    assert dimension_of(written) == dimension


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ([], "an empty list"),
        (32, "a fixed value belongs in params"),
        ("relu", "a fixed value belongs in params"),
        ("", "not a search; got ''"),
        ("choice()", "at least one value"),
        ("range(0, 1, 0.1)", "range takes whole numbers"),
        ("range(1, 5, 0)", "a step other than 0"),
        ("range(5, 1)", "empty"),
        ("interval(1, 1)", "low bound below its high bound"),
        ("interval(0, x)", "takes two finite numbers"),
        ("interval(0, inf)", "finite"),
        ("loguniform(0, 1)", "above 0"),
        ("loguniform(1)", "wrong arguments"),
        ("uniform(0, 1)", "unknown function; allowed: choice, range, int, logint, interval, loguniform"),
        ("int(1, 8.5)", "int takes whole numbers; for fractions use interval(low, high)"),
        ("int(8, 8)", "low bound below its high bound; got 8 and 8"),
        ("int(1, 8, 0)", "a step above 0"),
        ("int(1, 8, 9)", "no longer than from 1 to 8"),
        ("int(true, 8)", "takes whole numbers"),
        ("logint(0, 8)", "a low bound above 0; got 0"),
        ("interval(0, 1, -1)", "a step above 0"),
        ("int(0, 99999999999999999999)", "at most 9007199254740992"),
        ("choice(1, range(2))", "cannot be nested"),
        ([float("nan")], "not a finite number"),
        ("choice(" + "[" * 200 + "]" * 200 + ")", "nested too deeply"),
        ("choice(" + "a, " * 40_000 + "b)", "too long"),
        ("loguniform(1, 2", "cannot be read"),
        ("{a:1}", "'a:1' has no value; write a space after the colon"),
        ("[{a:1, b: 2}]", "'a:1' has no value"),
    ],
)
def test_a_wrong_search_says_what_is_allowed(written: object, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        dimension_of(written)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-.5", -0.5),
        (".5e3", 500.0),
        ("{a: 1, b: }", {"a": 1, "b": None}),
        ("-3", -3),
        ("TRUE", True),
        ("null", None),
        ("", ""),
        ("two words", "two words"),
        ("é", "é"),
        ("2020-01-01", "2020-01-01"),
        ("sqlite:///a.db", "sqlite:///a.db"),
        ("'1e-4'", "1e-4"),
        ('"a, b"', "a, b"),
        ("{a: [1, x], b: {c: 2.5}}", {"a": [1, "x"], "b": {"c": 2.5}}),
        ("${name}-${seed}", "${name}-${seed}"),
        ("'a', \"b, c\"", Choice(("a", "b, c"))),
        ("[1], [2, 3]", Choice(([1], [2, 3]))),
        ("${name}, x", Choice(("${name}", "x"))),
    ],
)
def test_a_value_is_read_as_yaml(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("run #3", "put quotes around a value with special characters"),
        ("note: x", "put quotes around a value with special characters"),
        ("&a 1", "put quotes around a value with special characters"),
        ("a\nb", "put quotes around a value with special characters"),
        ("[1", "put quotes around a value with special characters"),
        ("1]", "put quotes around a value with special characters"),
        (r"a\, b", "put quotes around a value with special characters"),
        ("1,", "put quotes around a value with special characters"),
        ("%x", "put quotes around a value with special characters"),
        ("f(x", "put quotes around text with brackets"),
        ("[choice(1, 2)]", "cannot be nested"),
        ("no", "YAML reads no as true or false"),
        ("010", "YAML reads 010 in base 8 or 60"),
        ("!!python/name:os.system x", "the tag !!python/name:os.system is not allowed"),
        ('"\\0"', "control characters are not allowed"),
        ("{a: 1, a: 2}", "a: given twice"),
        ("{_target_: x}", "_target_ is not supported"),
        ("9" * 5000, "cannot be read as int"),
        ("1e999", "inf is not a finite number"),
    ],
)
def test_a_value_that_yaml_would_change_is_refused(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        parse_value(text)


def test_the_command_line_reads_the_same_grammar() -> None:
    settings, problems = parse_settings(["params.a=1,2", "params.b=range(3)", "params.c=[1,2]"])
    assert not problems
    assert [(setting.kind, setting.value) for setting in settings] == [
        ("search", [1, 2]),
        ("search", "range(3)"),
        ("set", [1, 2]),
    ]

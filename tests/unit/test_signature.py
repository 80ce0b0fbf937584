"""Signatures, types and sources: read without importing anything."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from runner.errors import ConfigError
from runner.experiment.annotations import MismatchError, converted, type_of_annotation
from runner.experiment.signature import Signature, Unknown, parse_python, read_signature
from runner.experiment.source import read_source

DATA = "def load_data(): ...\n"


def signature(text: str) -> Signature:
    return read_signature(parse_python(text, "x.py"), "x.py")


def defaults(text: str) -> dict[str, Any]:
    return {name: parameter.default for name, parameter in signature(text).parameters.items()}


def test_names_and_literal_defaults_are_read() -> None:
    text = (
        "UNITS = 64\ndef load_data(noise: float = 0.5): ...\ndef build_model(units: int = UNITS, *, act='relu'): ...\n"
    )
    assert defaults(text) == {"noise": 0.5, "units": 64, "act": "relu"}


def test_callbacks_are_an_optional_third_function_with_parameters_of_their_own() -> None:
    text = "def load_data(n=1): ...\ndef build_model(units: int = 2): ...\n"
    assert signature(text).callbacks is None
    with_callbacks = signature(text + "def callbacks(units: int = 2, patience: int = 3): ...")
    assert list(with_callbacks.callbacks or ()) == ["units", "patience"]
    assert list(with_callbacks.parameters) == ["n", "units", "patience"]


@pytest.mark.parametrize("text", ["from keras import callbacks", "import callbacks", "callbacks = tf.keras.callbacks"])
def test_another_thing_called_callbacks_is_left_alone(text: str) -> None:
    assert signature(f"{text}\ndef load_data(): ...\ndef build_model(): ...").callbacks is None


@pytest.mark.parametrize("text", ["callbacks = [Mine()]", "from helpers import callbacks", "callbacks = make"])
def test_callbacks_that_are_meant_are_not_ignored(text: str) -> None:
    with pytest.raises(
        ConfigError, match=r"callbacks: is not defined with `def` here; write `def callbacks\(\.\.\.\):`"
    ):
        signature(f"{text}\ndef load_data(): ...\ndef build_model(): ...")


def test_a_default_that_is_no_literal_is_unknown() -> None:
    found = defaults(DATA + "import os\nN = 1\nN = 2\ndef build_model(a=os.sep, n=N): ...\n")
    assert isinstance(found["a"], Unknown)
    assert isinstance(found["n"], Unknown)


def test_a_shared_name_is_one_value_with_one_default() -> None:
    both = signature("def load_data(features, classes=3): ...\ndef build_model(features=4, classes: int = 3): ...\n")
    assert {name: parameter.default for name, parameter in both.parameters.items()} == {"features": 4, "classes": 3}
    assert list(both.load_data) == ["features", "classes"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("def load_data(): ...\ndef bild_model(): ...\n", "x.py: build_model: missing"),
        ("def load_data(): ...\ndef bild_model(): ...\n", "did you mean bild_model?"),
        (DATA + "from b import build_model\n", "x.py:2: build_model: is not defined with `def` here"),
        (DATA + "async def build_model(): ...\n", "x.py:2: build_model: is an async function"),
        (DATA + "def build_model(a, /): ...\n", "x.py:2: build_model: positional-only parameters (a)"),
        (DATA + "def build_model(*rest): ...\n", "*rest is not supported"),
        (DATA + "def build_model(**rest): ...\n", "**rest is not supported"),
        ("def load_data(a=1): ...\ndef build_model(a=2): ...\n", "x.py:2: a: defaults differ: 1 in load_data, 2 in"),
        ("def load_data(a=1): ...\ndef build_model(a=1.0): ...\n", "defaults differ"),
        ("def load_data(a=f()): ...\ndef build_model(a=g()): ...\n", "defaults cannot be compared"),
        ("def load_data(:\n", "x.py:1: not valid Python"),
        ("x = '\0'\n", "x.py"),
    ],
)
def test_what_cannot_be_called_by_name_is_explained(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        signature(text)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("annotation", "value", "result"),
    [
        ("float", 1, 1.0),
        ("int", 3, 3),
        ("int | None", None, None),
        ("Optional[float]", 2, 2.0),
        ("typing.Union[int, str]", "x", "x"),
        ("float | int", 2, 2),
        ("'str | None'", "x", "x"),
        ("Literal['a', 2]", 2, 2),
        ("list[float]", [1, 2], [1.0, 2.0]),
        ("tuple[int, ...]", [1, 2, 3], (1, 2, 3)),
        ("tuple[int, str]", [1, "x"], (1, "x")),
        ("dict[str, float]", {"x": 1}, {"x": 1.0}),
        ("np.ndarray", "anything", "anything"),
        ("int | np.ndarray", "anything", "anything"),
    ],
)
def test_a_value_is_converted_as_its_annotation_asks(annotation: str, value: object, result: object) -> None:
    found = converted(value, type_of_annotation(ast.parse(annotation, mode="eval").body))
    assert repr(found) == repr(result)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("float", "abc"),
        ("float", True),
        ("float", None),
        ("float", 10**400),
        ("int", True),
        ("int", 1.0),
        ("str", 1),
        ("bool", 1),
        ("Literal['a', 1]", True),
        ("Literal['a']", ["a"]),
        ("list[int]", [1, "x"]),
        ("tuple[int, int]", [1]),
        ("int | None", "x"),
        ("dict", []),
    ],
)
def test_a_value_of_another_type_is_refused(annotation: str, value: object) -> None:
    with pytest.raises(MismatchError):
        converted(value, type_of_annotation(ast.parse(annotation, mode="eval").body))


def test_a_source_holds_the_neighbours_it_imports_and_no_others(tmp_path: Path) -> None:
    files = {
        "main.py": "import os, helper\nfrom pkg.sub import thing\n\ndef f():\n    import late\n",
        "helper.py": "from deeper import x\n",
        "deeper.py": "import main\n",
        "late.py": "",
        "unused.py": "",
        "pkg/__init__.py": "from . import beside\n",
        "pkg/sub.py": "from .. import nothing\n",
        "pkg/beside.py": "",
        "pkg/unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    source = read_source(str(tmp_path / "main.py"))
    assert [name for name, _ in source.files] == [
        "main.py", "deeper.py", "helper.py", "late.py", "pkg/__init__.py", "pkg/beside.py", "pkg/sub.py",
    ]  # fmt: skip
    assert source.module == "main.py"
    assert source.root == str(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("other.py", b"", "no such file; did you mean"),
        ("main.py", b"def f(:\n", "main.py:1: not valid Python"),
        ("main.py", b"x = 'caf\xe9'\n", "main.py:1: not Python text"),
    ],
)
def test_an_unreadable_source_is_explained(tmp_path: Path, name: str, content: bytes, told: str) -> None:
    (tmp_path / "main.py").write_bytes(content)
    asked = "mian.py" if name == "other.py" else name
    with pytest.raises(ConfigError) as caught:
        read_source(str(tmp_path / asked))
    assert told in str(caught.value)

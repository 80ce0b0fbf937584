"""Parameters as JSON that keeps Python's types: a tuple is not a list, and a key may be a number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Plain = Mapping[str, Any]
"""An object as `json.loads` gives it."""

_MARK = "!"  # begins the only key of an object that stands for a value of a type that JSON lacks


def encode(value: object) -> object:
    """The value in types that JSON has; a value that no Python literal can write stays as it is."""
    match value:
        case tuple():
            return _marked("tuple", [encode(item) for item in value])
        case list():
            return [encode(item) for item in value]
        case set() | frozenset():
            return _marked(type(value).__name__, [encode(item) for item in sorted(value, key=repr)])
        case bytes():
            return _marked("bytes", value.hex())
        case complex():
            return _marked("complex", [value.real, value.imag])
        case Mapping() if all(isinstance(key, str) and not key.startswith(_MARK) for key in value):
            return {key: encode(item) for key, item in value.items()}
        case Mapping():
            return _marked("dict", [[encode(key), encode(item)] for key, item in value.items()])
    return value


def decode(value: Any) -> Any:
    """The value that was given to `encode`."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    if len(value) == 1 and next(iter(value)).startswith(_MARK):
        ((key, held),) = value.items()
        return _unmarked(key.removeprefix(_MARK), held)
    return {key: decode(item) for key, item in value.items()}


def json_text(value: object, *, sort_keys: bool = False) -> str:
    """The value as JSON that people and other programs read: what JSON lacks, keys included, as Python writes it.

    Example:
        >>> json_text({"shape": {(1, 2): {3}}})
        '{"shape": {"(1, 2)": "{3}"}}'
    """
    return json.dumps(_with_text_keys(value), sort_keys=sort_keys, default=str)


def _with_text_keys(value: object) -> object:
    match value:
        case Mapping():
            return {key if isinstance(key, str) else _key(key): _with_text_keys(item) for key, item in value.items()}
        case list() | tuple():
            return [_with_text_keys(item) for item in value]
    return value


def _key(key: object) -> str:
    """As JSON writes a key that is a number, a truth value or None; another one as Python does."""
    return json.dumps(key) if isinstance(key, int | float | None) else str(key)


def _marked(kind: str, held: object) -> dict[str, object]:
    return {_MARK + kind: held}


def _unmarked(kind: str, held: Any) -> Any:
    match kind:
        case "bytes":
            return bytes.fromhex(held)
        case "complex":
            return complex(*held)
        case "dict":
            return {decode(key): decode(item) for key, item in held}
    return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](decode(item) for item in held)

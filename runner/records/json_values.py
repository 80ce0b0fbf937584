"""Parameters as JSON that keeps Python's types: a tuple is not a list, and a key may be a number."""

from __future__ import annotations

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

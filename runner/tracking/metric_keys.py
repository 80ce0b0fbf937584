"""Names in the characters that MLflow takes: distinct names stay distinct. Pure.

MLflow treats a key as a path, so that a key must not resolve to another one.

Source: mlflow 3.17, `mlflow/utils/validation.py`: `validate_param_and_metric_name` and `path_not_unique`, which hold
for metrics, params and tags alike.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import PurePosixPath

MAX_KEY = 250  # characters; MLflow's own limit
ENTITIES_PER_CALL = 1000  # metrics, params and tags together, as well
_HASH = 8  # hexadecimal digits
_NOT_IN_KEYS = re.compile(r"[^\w\-. :/]")  # letters and digits of any script are allowed
_NOT_IN_PATHS = re.compile(r"[^\w\-. /]")  # a store that speaks HTTP cuts a path at "#" and "?"


def mlflow_key(name: str) -> str:
    """A metric's, param's or tag's name as MLflow takes it.

    A name that MLflow takes stays as it is. Any other name gets a hash of itself, so that names that differ only in
    what is replaced here stay apart.
    """
    plain = _plain_path(_NOT_IN_KEYS.sub("_", name))
    if plain == name and len(name) <= MAX_KEY:
        return name
    return f"{plain[: MAX_KEY - _HASH - 1]}-{_hash(name)}"


def artifact_path(path: str) -> str:
    """The path of an artifact that every kind of store keeps apart from others; the suffix stays the last part."""
    plain = _plain_path(_NOT_IN_PATHS.sub("_", path))
    if plain == path:
        return path
    split = PurePosixPath(plain)
    return str(split.with_name(f"{split.stem}-{_hash(path)}{split.suffix}"))


def _plain_path(name: str) -> str:
    """The name as a path that resolves to itself, below where it begins."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    below = "/".join("__" if part == ".." else part for part in parts)
    return re.sub(r"^\.\.", "__", below) or "_"  # MLflow refuses "..name" too


def _hash(name: str) -> str:
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]

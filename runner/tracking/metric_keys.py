"""Names that MLflow accepts; distinct names stay distinct. Pure.

MLflow treats a key as a path, so a key must not resolve to another key.

Source: mlflow 3.17, `mlflow/utils/validation.py`: `validate_param_and_metric_name` and `path_not_unique`, which apply
to metrics, params and tags.
"""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import PurePosixPath

MAX_KEY = 250  # characters; MLflow's limit
ENTITIES_PER_CALL = 1000  # metrics, params and tags together; MLflow's limit
_HASH = 8  # hexadecimal digits
_NOT_IN_KEYS = re.compile(r"[^\w\-. :/]")  # letters and digits of any script are allowed
_NOT_IN_PATHS = re.compile(r"[^\w\-. /]")  # a store that speaks HTTP cuts a path at "#" and "?"


def mlflow_key(name: str) -> str:
    """The name of a metric, param or tag as MLflow accepts it.

    A name that MLflow accepts does not change. Any other name ends in a hash of itself, so that names that differ only
    in the replaced characters stay distinct.
    """
    plain = _plain_path(_NOT_IN_KEYS.sub("_", name))
    if plain == name and len(name) <= MAX_KEY:
        return name
    return f"{plain[: MAX_KEY - _HASH - 1]}-{_hash(name)}"


def artifact_path(path: str) -> str:
    """The path of an artifact as every store accepts it, distinct from others; keeps the suffix."""
    plain = _plain_path(_NOT_IN_PATHS.sub("_", path))
    if plain == path:
        return path
    split = PurePosixPath(plain)
    return str(split.with_name(f"{split.stem}-{_hash(path)}{split.suffix}"))


def _plain_path(name: str) -> str:
    """The name as a relative path that resolves to itself."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    below = "/".join("__" if part == ".." else part for part in parts)
    return re.sub(r"^\.\.", "__", below) or "_"  # MLflow refuses "..name" too


def _hash(name: str) -> str:
    return sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]

"""Tags of the user's own, on a sweep and its trials: what they may be called."""

from __future__ import annotations

import re

MAX_TAG_KEY = 250  # characters; MLflow's limit
MAX_TAG_VALUE = 5000  # characters; MLflow's documented limit, which every store takes
_KEY = re.compile(r"[\w\-. :/]+")
_OWN_PREFIXES = ("mlflow.", "sweep.", "trial.", "model.", "time.", "share.", "version.", "best.", "stop.", "param.")
_OWN = {"member", "program", "program.reason", "exact", "exact.reason", "code.outside", "failure", "failures"}
_OWN |= {"diverged", "lineage", "slot", "allocation"}


def tag_problem(key: str, value: str) -> str | None:
    """What is wrong with a tag of the user's own; None if nothing is."""
    if not _KEY.fullmatch(key) or len(key) > MAX_TAG_KEY or key.strip() != key:
        return f"{key!r}: a tag's name has letters, digits, and _ - . : / and spaces, at most {MAX_TAG_KEY} of them"
    if key.startswith("/") or any(part in ("", ".", "..") for part in key.split("/")):
        return f"{key!r}: a tag's name is no path: no part of it between / may be empty, . or .."
    if key in _OWN or key.startswith(_OWN_PREFIXES):
        return (
            f"{key!r}: this program sets such a tag itself; choose another name, such as {'my.' + key.split('.')[-1]}"
        )
    if len(value) > MAX_TAG_VALUE:
        return f"{key!r}: a tag's value has at most {MAX_TAG_VALUE} characters, got {len(value)}"
    return None

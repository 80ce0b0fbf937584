"""Parameter names as Python reads them: an identifier of any script is normalised (NFKC) where it is defined."""

from __future__ import annotations

import unicodedata
from typing import Any


def as_python(name: str) -> str:
    """The name that Python's parser makes of an identifier.

    Source: Python's language reference, "Identifiers and keywords".
    """
    return unicodedata.normalize("NFKC", name)


def with_python_names(values: dict[str, Any]) -> None:
    """Normalises the parameter names of a composed config in place; values stay as they are."""
    members = values.get("members")
    for scope in (values, *(members.values() if isinstance(members, dict) else ())):
        if not isinstance(scope, dict):
            continue
        search = scope.get("search")
        _rename(scope, "params")
        if isinstance(search, dict):
            _rename(search, "space")
            points = search.get("points")
            for index in range(len(points) if isinstance(points, list) else 0):
                _rename(points, index)


def _rename(holder: Any, place: Any) -> None:
    written = holder.get(place) if isinstance(holder, dict) else holder[place]
    if isinstance(written, dict):
        holder[place] = {as_python(name) if isinstance(name, str) else name: item for name, item in written.items()}

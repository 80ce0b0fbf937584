"""Says what pydantic found in this program's words: where, key, what, value received, values allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from runner.config import hints
from runner.config.origins import Key, Origins, shown
from runner.config.schema import Config, Section, section_of
from runner.errors import received


def explain(error: ValidationError, origins: Origins, parameters: Collection[str] = ()) -> list[str]:
    """One sentence for each key with a problem, in the order of the schema; `parameters` are the experiment's."""
    found = error.errors(include_url=False, include_context=False)
    return list(dict.fromkeys(_sentence(item, origins, parameters) for item in found))


def _sentence(item: ErrorDetails, origins: Origins, parameters: Collection[str]) -> str:
    location = tuple(str(part) for part in item["loc"])
    key, section, field = _find(location)
    place, value, description = origins.place(*key), received(item["input"]), field.description if field else None
    if item["type"] == "extra_forbidden":
        return f"{place}: {_unknown_key(key, section, parameters)}"
    if item["type"] == "missing":
        return f"{place}: is missing; give {description}"
    if item["type"].startswith("model_") and section is not None:
        return f"{place}: must be a section; got {value}; allowed keys: {', '.join(section.model_fields)}"
    if "[key]" in location:
        return f"{place}: a name must be letters, digits, '_' and '-'; got {value}"
    hint = hints.for_value(key, item["input"])
    return f"{place}: must be {description}; got {value}{f'; {hint}' if hint else ''}"


def _find(location: Key) -> tuple[Key, type[Section] | None, FieldInfo | None]:
    """Splits what pydantic adds (the alternatives of a union) off a location.

    Returns:
        The config's key; the section that it names or, if it is unknown, belongs to; and its field, None if unknown.
    """
    section: type[Section] | None = Config
    field: FieldInfo | None = None
    key: Key = ()
    for part in location:
        if section is None:
            break
        key = (*key, part)
        if key[:-1] == ("members",):
            continue
        field = section.model_fields.get(part)
        if field is None:
            return key, section, None
        section = section_of(field.annotation)
    if key[-1] == "points":
        key += location[len(key) :][:1]
    return key, section, field


def _unknown_key(key: Key, section: type[Section] | None, parameters: Collection[str]) -> str:
    name = key[-1][:80]
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    if (instead := hints.for_callback(name)) is not None:
        return instead
    fields = list(section.model_fields) if section else []
    close = difflib.get_close_matches(snake, fields, n=1, cutoff=0.8)
    known = hints.for_key(name if name in parameters else snake, parameters)
    elsewhere = [
        f"{other}.{name}"
        for other, field in Config.model_fields.items()
        if other != "members" and (inner := section_of(field.annotation)) and name in inner.model_fields
    ]
    if name not in parameters and (close or elsewhere or known is None):
        near = close or (difflib.get_close_matches(snake, fields, n=1) if not elsewhere else [])
        meant = shown((*key[:-1], near[0])) if near else elsewhere[0] if elsewhere else None
        known = f"did you mean {meant}?" if meant else f"allowed: {', '.join(fields)}"
    return f"unknown key; {known}"

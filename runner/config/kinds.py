"""Kinds of values that the config's keys take, each with what is allowed in words.

What is allowed completes the sentence "must be ...", in errors and in the documentation. A type says it in words beside
its bounds, and each field's description follows from its type.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import NoneType, UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Field

from runner import records
from runner.config.origins import Values

MAX_SEED = 2**31 - 1


def _gpu_share(value: float) -> float:
    if value > 1 and value != int(value):
        raise ValueError(f"got {value:g}")
    return value


def _tags(tags: dict[str, TagValue]) -> dict[str, TagValue]:
    if problems := list(filter(None, (records.tag_problem(key, str(value)) for key, value in tags.items()))):
        raise ValueError("; ".join(problems))
    return tags


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _switch(value: object) -> object:
    return ("off", "on")[value] if isinstance(value, bool) else value  # as YAML reads the words


def allowed(annotation: object, notes: Sequence[object]) -> str:
    """What completes the sentence "must be ..." for a type and what is written beside it."""
    words = [note for note in notes if isinstance(note, str)]
    kind, inner = get_origin(annotation), get_args(annotation)
    if words:
        return str(words[-1])
    if kind is Annotated:
        return allowed(inner[0], inner[1:])
    if kind is Literal:
        return " or ".join(filter(None, (", ".join(inner[:-1]), inner[-1])))
    if kind in (Union, UnionType):
        parts = [allowed(part, ()) for part in inner if part is not NoneType]
        return " or ".join(parts) + (", or null" if NoneType in inner else "")
    return "true or false" if annotation is bool else "a number" if annotation is float else "a section"


Auto = Literal["auto"]
TagValue = str | bool | int | float
Count = Annotated[int, Field(gt=0, le=2**31, strict=True), "a whole number above 0"]
Mebibytes = Annotated[Count, "a whole number above 0 (MiB)"]
Natural = Annotated[int, Field(ge=0, le=2**31), "a whole number, 0 or above"]
Amount = Annotated[float, Field(ge=0), "a number, 0 or above"]
Seconds = Annotated[float, Field(gt=0, le=1e9), "a number above 0 (seconds)"]
Share = Annotated[float, Field(ge=0, le=1024), AfterValidator(_gpu_share)]
Text = Annotated[str, Field(min_length=1, max_length=500)]
File = Annotated[Text, "the path of an experiment file"]
Metric = Annotated[Text, "the name of an epoch metric, such as val_loss"]
Mode = Annotated[records.Mode, "auto (by the metric's name), min or max"]
Sweeps = Annotated[list[Text], BeforeValidator(_listed), "a list of sweeps, by id or folder name"]
Switch = Annotated[Literal["auto", "on", "off"], BeforeValidator(_switch)]
Tags = Annotated[dict[str, TagValue], AfterValidator(_tags), "a mapping of names to texts or numbers"]
Params = Annotated[Values, "a mapping of parameter names to values"]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED, strict=True), f"a whole number from 0 to {MAX_SEED}"]

"""Says what pydantic found in this program's words: where, key, what, value received, values allowed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from runner.config import hints
from runner.config.origins import Origins
from runner.config.schema import Config
from runner.errors import did_you_mean, received

_ALWAYS_ON = "is not needed"
REFUSED = {
    "model_checkpoint": f"{_ALWAYS_ON}: every trial's model is exported to MLflow",
    "backup_and_restore": f"{_ALWAYS_ON}: every finished round is in the sweep's journal",
    "terminate_on_nan": f"{_ALWAYS_ON}: a trial whose loss is not finite always ends",
    "tensorboard": f"{_ALWAYS_ON}: metrics are logged to MLflow; see them with `runner ui`",
    "csv_logger": f"{_ALWAYS_ON}: metrics are logged to MLflow; `runner results --csv` writes them",
    "remote_monitor": f"{_ALWAYS_ON}: metrics are logged to MLflow",
    "progbar_logger": f"{_ALWAYS_ON}: the console shows every round",
    "history": f"{_ALWAYS_ON}: metrics are logged to MLflow",
    "learning_rate_scheduler": "is not supported: give the optimizer a schedule of keras.optimizers.schedules",
    "swap_ema_weights": "is not supported: set use_ema in the optimizer, and swap weights in a custom train_step",
    "lambda_callback": "is not supported: write a custom train_step in the model",
    "callbacks": "is not supported: use early_stopping, reduce_lr_on_plateau, or a custom train_step in the model",
}


def explain(error: ValidationError, origins: Origins, parameters: Collection[str] = ()) -> list[str]:
    """One sentence for each key with a problem, in the order of the schema; `parameters` are the experiment's."""
    sentences: dict[str, None] = {}
    for item in error.errors(include_url=False, include_context=False):
        sentences[_sentence(item, origins, parameters)] = None
    return list(sentences)


def _sentence(item: Mapping[str, Any], origins: Origins, parameters: Collection[str]) -> str:
    location = tuple(str(part) for part in item["loc"])
    key, model, found = _descend(location)
    where = origins.place(*key)
    value = received(item["input"])
    if item["type"] == "extra_forbidden":
        return f"{where}: {_unknown_key(location, model, parameters)}"
    if item["type"] == "missing":
        return f"{where}: is missing; give {found.description if found else 'it'}"
    if item["type"] in ("model_type", "model_attributes_type"):
        allowed = ", ".join(model.model_fields) if model else ""
        return f"{where}: must be a section; got {value}; allowed keys: {allowed}"
    if "[key]" in location:
        return f"{where}: a name must be letters, digits, '_' and '-'; got {value}"
    hint = hints.for_value(key, item["input"])
    must = f"must be {found.description if found else 'a value of another type'}; got {value}"
    return f"{where}: {must}{f'; {hint}' if hint else ''}"


def _descend(location: tuple[str, ...]) -> tuple[tuple[str, ...], type[BaseModel] | None, FieldInfo | None]:
    """Splits pydantic's location into the config's key and what pydantic adds (the alternatives of a union)."""
    model: type[BaseModel] | None = Config
    found: FieldInfo | None = None
    key: list[str] = []
    remaining = list(location)
    while remaining and model is not None:
        part = remaining.pop(0)
        found = model.model_fields.get(part)
        key.append(part)
        if found is None:
            return tuple(key), model, None
        if part == "members":
            if not remaining:
                return tuple(key), None, found
            key.append(remaining.pop(0))
            model = _section(found)
        else:
            model = _section(found)
            if model is not None and remaining and remaining[0] == model.__name__:
                remaining.pop(0)
    if found is not None and key[-1] in ("points", "space", "params"):
        key += [part for part in remaining if part != "[key]"][:2]
    return tuple(key), model, found


def _section(found: FieldInfo) -> type[BaseModel] | None:
    def sections(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield annotation
        for inner in get_args(annotation):
            yield from sections(inner)

    return next(sections(found.annotation), None)


def _unknown_key(location: tuple[str, ...], model: type[BaseModel] | None, parameters: Collection[str]) -> str:
    name = location[-1]
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    refused = {key.replace("_", ""): why for key, why in REFUSED.items()}.get(name.replace("_", "").lower())
    if refused is not None:
        return refused
    if name in parameters:
        return f"unknown key; {hints.for_key(name, parameters)}"
    fields = list(model.model_fields) if model else []
    exact = snake if snake in fields else None
    elsewhere = [f"{section}.{name}" for section in _sections_with(name)]
    if elsewhere and not difflib.get_close_matches(name, fields, n=1, cutoff=0.8):
        return f"unknown key; did you mean {elsewhere[0]}?"
    is_close = bool(difflib.get_close_matches(snake, fields, n=1, cutoff=0.8))
    if not is_close and exact is None and (known := hints.for_key(snake, parameters)) is not None:
        return f"unknown key; {known}"
    hint = f"; did you mean {exact}?" if exact else did_you_mean(snake, fields)
    return f"unknown key{hint or '; allowed: ' + ', '.join(fields)}"


def _sections_with(name: str) -> Iterator[str]:
    for section, found in Config.model_fields.items():
        model = _section(found)
        if model is not None and section != "members" and name in model.model_fields:
            yield section

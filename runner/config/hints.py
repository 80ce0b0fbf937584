"""What users of Keras, KerasTuner, Optuna, Ray Tune and W&B call things, and what they are called here."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from runner.records import tag_problem


@functools.cache
def table(name: str) -> Mapping[str, str]:
    """A table of `hints.toml`: each name that other tools have, with what to write here."""
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    return {other: meaning for meaning, others in tables[name].items() for other in others.split()}


def for_key(name: str, parameters: Collection[str] = ()) -> str | None:
    """What to write for an unknown key; None if nothing is known about it.

    Args:
        name: the key's last part.
        parameters: of the experiment.
    """
    synonym = {"lr": "learning_rate", "learning_rate": "lr"}.get(name)
    parameter = next((found for found in (name, synonym) if found in parameters), None)
    meant = f"params.{parameter}" if parameter else table("keys").get(name)
    return f"did you mean {meant}?" if meant else table("absent").get(name)


def for_callback(name: str) -> str | None:
    """What to use instead of one of Keras' callbacks, however its name is written."""
    others = {other.replace("_", ""): meaning for other, meaning in table("callbacks").items()}
    return others.get(name.replace("_", "").lower())


def for_value(key: tuple[str, ...], value: object) -> str | None:
    """What to write instead of a value that is not allowed."""
    if key == ("tracking", "tags") and isinstance(value, dict):
        return next(filter(None, (tag_problem(str(name), str(text)) for name, text in value.items())), None)
    name = {"search.sampler": "samplers", "search.goal": "goals", "search.stop": "stops"}.get(".".join(key[-2:]))
    return table(name).get(value.lower()) if name and isinstance(value, str) else None


def for_parameter(name: str) -> str | None:
    """What to do if `build_model` takes what another tool passes."""
    if name not in table("parameters"):
        return None
    return (
        f"{table('parameters')[name]} is not passed here: take each hyperparameter by itself, as in "
        "build_model(units: int = 32), and search it with params.units=16,32"
    )


def for_option(option: str, value: str | None, keys: Iterable[str]) -> str:
    """What to write for an unknown option, because settings have no dashes.

    Args:
        option: as written, such as `--epochs`.
        value: what follows it, if that is its value.
        keys: the config's, dotted.
    """
    written, _, own = option.lstrip("-").partition("=")
    name = written.replace("-", "_")
    full = next((key for key in keys if key == name or key.endswith(f".{name}")), table("keys").get(name))
    known = table("options").get(name) or (None if full else table("absent").get(name))
    key = full or (name if "." in name else f"params.{name}")
    return known or f"settings are written without dashes, as key=value: {key}={own or value or 'VALUE'}"


def for_verb(name: str) -> str | None:
    """What to call instead of an unknown verb."""
    return f"`sweep {name}` trains it" if name.endswith(".py") else table("verbs").get(name.lower())


def for_metric(metric: str, produced: Iterable[str]) -> str | None:
    """The metric that is probably meant, of those that there are."""
    names = list(produced)
    plain = metric.lower().replace("/", "_").replace("-", "_")
    for prefix in ("validation_", "valid_", "eval_", "dev_"):
        plain = f"val_{plain.removeprefix(prefix)}" if plain.startswith(prefix) else plain
    if plain.endswith("_val"):
        plain = f"val_{plain.removesuffix('_val')}"
    options = [plain, plain.removeprefix("train_")]
    options += [f"{name[:-3]}accuracy" for name in options if name == "acc" or name.endswith("_acc")]
    options += [f"{name[:-8]}acc" for name in options if name == "accuracy" or name.endswith("_accuracy")]
    return next((name for name in options if name in names and name != metric), None)

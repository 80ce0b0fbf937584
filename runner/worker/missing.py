"""Private parts of Keras and TensorFlow that the program can do without and did not find."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

_warnings: dict[str, None] = {}  # each once, in order


def part(owner: object, place: str, name: str, effect: str) -> Any:
    """A private attribute; None if it is missing, with a warning.

    Args:
        owner: the module or the object that should have it.
        place: the owner's name, for the warning.
        name: of the attribute.
        effect: what follows if it is missing.
    """
    if not hasattr(owner, name):
        library = place.partition(".")[0]
        is_missing = f"{place}.{name} is missing in {library} {version(library)}"
        text = f"warning: {is_missing}: {effect}; install another version of {library}"
        _warnings[text] = None
    return getattr(owner, name, None)


def warnings() -> tuple[str, ...]:
    """The warnings so far."""
    return tuple(_warnings)

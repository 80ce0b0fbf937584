"""Keys of a config, and where each of its values came from, so that an error can name file and line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Key = tuple[str, ...]
Values = dict[str, object]


def split_scope(key: Key) -> tuple[Key, Key]:
    """Splits `members.NAME` off a key; the scope of other keys is empty."""
    return (key[:2], key[2:]) if key[:1] == ("members",) and len(key) > 2 else ((), key)


def is_value(key: Key) -> bool:
    """Whether a mapping at this key is one value, such as a parameter's, and no section of the config."""
    inner = split_scope(key)[1]
    sections = {"params": 1, "search.space": 2, "search.points": 3}
    return any(len(inner) > length and ".".join(inner).startswith(f"{name}.") for name, length in sections.items())


def merged(base: Values, over: Values, *, keeps_sections: bool = False) -> Values:
    """A copy of `base` with the values of `over`; mappings are merged, anything else is replaced.

    Args:
        base: below.
        over: above.
        keeps_sections: null in place of a mapping or a list changes nothing.
    """
    whole = dict(base)
    for name, value in over.items():
        below = base.get(name)
        if isinstance(value, dict):
            under = below if isinstance(below, dict) else {}
            whole[name] = merged(under, value, keeps_sections=keeps_sections)
        elif value is not None or not keeps_sections or not isinstance(below, dict | list):
            whole[name] = value
    return whole


@dataclass(frozen=True, kw_only=True, slots=True)
class Origins:
    """Origin of every key. Any two are equal: where a value came from is no part of what a config says.

    Args:
        places: file and line of each key in the YAML files.
        settings: each key set on the command line, with the key as written there.
        fallback: place of keys that were not written anywhere.
    """

    places: Mapping[Key, str] = field(default_factory=dict, compare=False)
    settings: Mapping[Key, str] = field(default_factory=dict, compare=False)
    fallback: str = field(default="command line", compare=False)

    def place(self, *key: str) -> str:
        """The beginning of an error about `key`: "conf/a.yaml:12: train.epochs"."""
        prefixes = [key[:length] for length in range(len(key), 0, -1)]
        for prefix in prefixes:
            if prefix in self.settings:
                return f"command line: {shown((self.settings[prefix], *key[len(prefix) :]))}"
        path = next((self.places[prefix] for prefix in prefixes if prefix in self.places), self.fallback)
        return f"{path}: {shown(key)}"


def shown(key: Key) -> str:
    """A key as users write it: `search.points[1].units`."""
    return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in key).removeprefix(".")

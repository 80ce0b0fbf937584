"""The search space of a recorded config."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from runner.config.space import Dimension, dimension_of
from runner.config.yaml_nodes import MAX_FILE, parse, plain


def dimensions_of(config: str, members: Collection[str]) -> dict[str, dict[str, Dimension]]:
    """The dimensions that are searched, by member and name: those at the top, and the member's own.

    Args:
        config: as a sweep records it, in YAML.
        members: their names.
    """
    node, _ = parse(config, MAX_FILE)
    values = plain(node) if node is not None else {}
    top, own = _space(values), _section(values, "members")
    return {member: {**top, **_space(_section(own, member))} for member in members}


def _space(values: object) -> dict[str, Dimension]:
    written = _section(_section(values, "search"), "space")
    return {str(name): dimension_of(value) for name, value in written.items()}


def _section(values: object, name: str) -> Mapping[object, object]:
    found = values.get(name) if isinstance(values, Mapping) else None
    return found if isinstance(found, Mapping) else {}

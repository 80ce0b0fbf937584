"""How recorded configs differ, key by key."""

from __future__ import annotations

from collections.abc import Sequence

from runner.config.yaml_nodes import MAX_FILE, parse, plain


def differences(configs: Sequence[str]) -> dict[str, list[object]]:
    """The keys whose values are not the same in all of these configs, with the value of each; None for one without.

    Args:
        configs: as sweeps record them, in YAML.

    Example:
        >>> differences(["train: {epochs: 3}", "train: {epochs: 9}"])
        {'train.epochs': [3, 9]}
    """
    flat = [dict(_leaves("", _values(text))) for text in configs]
    keys = dict.fromkeys(key for one in flat for key in one)
    found = {key: [one.get(key) for one in flat] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values[1:])}


def _values(text: str) -> object:
    node, _ = parse(text, MAX_FILE)
    return {} if node is None else plain(node)


def _leaves(prefix: str, value: object) -> list[tuple[str, object]]:
    if not isinstance(value, dict) or not value:
        return [(prefix, value)]
    inner = [(f"{prefix}.{key}" if prefix else str(key), one) for key, one in value.items()]
    return [leaf for key, one in inner for leaf in _leaves(key, one)]

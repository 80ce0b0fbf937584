"""Strict YAML: nodes that know their lines, and an error for everything that YAML would silently reinterpret."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from runner.experiment.annotations import as_python

MAX_LENGTH = 65_536  # characters of an argument
MAX_FILE = 2**24  # characters of a file: a recorded config has a line for every value of thousands of listed points
MAX_BRACKETS = 100  # open at once; the YAML parser's time grows with their square
# Beyond what is written out, once aliases are expanded: a few nested ones can otherwise stand for billions of values.
MAX_NODES = 20_000
NOT_YAML = "not valid YAML"
NO_TARGET = "_target_ is not supported: nothing named in a config is imported but the experiment file"

_TAG = "tag:yaml.org,2002:"
_TAGS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge")}
_AMBIGUOUS = {
    re.compile(
        r"[-+]?0[0-7_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"
    ): "in base 8 or 60; write a decimal number",
    re.compile("(?i:yes|no|on|off)"): "as true or false; write one of these",
}
# What escapes can write and not every reader of YAML takes; surrogates are bytes of a shell that are not UTF-8.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


class Loader(yaml.SafeLoader):
    """Reads YAML 1.1 as PyYAML does, but `1e-4` is a number, and dates and `=` are text."""


class Dumper(yaml.SafeDumper):
    """Writes what `Loader` and other programs read alike."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in (f"{_TAG}timestamp", f"{_TAG}value")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _class in (Loader, Dumper):
    _scientific = re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$|[-+]?\.[0-9][0-9_]*$")
    _class.add_implicit_resolver(f"{_TAG}float", _scientific, list("-+.0123456789"))


def parse(text: str, longest: int = MAX_LENGTH) -> tuple[yaml.Node | None, list[tuple[int, str]]]:
    """Parses one YAML document.

    Returns:
        Its nodes, with merge keys (`<<`) merged, None for an empty document; and everything in it that a config may not
        hold, with its line.
    """
    if len(text) > longest or _bracket_depth(text) > MAX_BRACKETS:
        limits = f"at most {longest} characters, {MAX_BRACKETS} levels"
        return None, [(1, f"{'too long' if len(text) > longest else 'nested too deeply'} ({limits})")]
    try:
        root = yaml.compose(text, Loader=Loader)
        sizes: dict[int, int] = {}
        problems = list(_problems(root, sizes, set())) if root is not None else []
        if root is not None and sizes[id(root)] > max(MAX_NODES, len(text)):
            most = max(MAX_NODES, len(text))
            problems.append((1, f"{sizes[id(root)]} values, aliases expanded; a config has at most {most}"))
        if root is not None and not problems:
            plain(root)
    except RecursionError:
        return None, [(1, "nested too deeply")]
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None) or getattr(err, "context_mark", None)
        what = " ".join((getattr(err, "problem", None) or str(err)).split())
        what = "a tab character; indent with spaces" if "'\\t'" in what else what
        return None, [(mark.line + 1 if mark else 1, f"{NOT_YAML}: {what}")]
    return root, problems


def plain(node: yaml.Node) -> object:
    """The value of a node in which `parse` found no problem."""
    return Loader("").construct_document(node)


def _bracket_depth(text: str) -> int:
    """Most brackets that are open at once."""
    depth = deepest = 0
    for bracket in re.findall(r"[][(){}]", text):
        depth += 1 if bracket in "([{" else -1
        deepest = max(deepest, depth)
    return deepest


def kind(node: yaml.Node) -> str:
    """What a node is, for an error message."""
    kinds: dict[type, str] = {yaml.SequenceNode: "a list", yaml.MappingNode: "a mapping"}
    return kinds.get(type(node)) or f"{node.value[:40]!r}"


def _problems(node: yaml.Node, sizes: dict[int, int], inside: set[int]) -> Iterator[tuple[int, str]]:
    """Visits each node once; `sizes` gets how many nodes it stands for, `inside` holds those it is part of."""
    line = node.start_mark.line + 1
    if id(node) in inside:
        yield line, "an alias (*) that contains itself"
    if id(node) in inside or id(node) in sizes:
        return
    inside.add(id(node))
    children: list[yaml.Node] = node.value if isinstance(node, yaml.SequenceNode) else []
    if node.tag not in _TAGS:
        yield line, f"the tag {node.tag.replace(_TAG, '!!')} is not allowed; write plain values"
    elif isinstance(node, yaml.ScalarNode):
        yield from ((line, what) for what in _scalar_problems(node))
    elif isinstance(node, yaml.MappingNode):
        yield from _key_problems(node)
        children = [part for key, value in node.value for part in (key, value)[not key.tag.endswith(":str") :]]
    for child in children:
        yield from _problems(child, sizes, inside)
    inside.discard(id(node))
    sizes[id(node)] = 1 + sum(sizes.get(id(child), 1) for child in children)


def _key_problems(node: yaml.MappingNode) -> Iterator[tuple[int, str]]:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            yield line, f"a key must be text; got {kind(key)}"
            continue
        if key.tag not in (f"{_TAG}str", f"{_TAG}merge"):
            yield line, f"the key {key.value!r} is read as {key.tag.rsplit(':', 1)[-1]}, not as text; quote it"
        if key.value == "_target_":
            yield line, NO_TARGET
        name = as_python(key.value)
        if name in lines:
            yield line, f"{key.value}: given twice; first on line {lines[name]}"
        lines.setdefault(name, line)


def _scalar_problems(node: yaml.ScalarNode) -> Iterator[str]:
    if _CONTROL.search(node.value):
        yield f"control characters are not allowed; got {node.value[:80]!r}"
    for pattern, reading in _AMBIGUOUS.items():
        if node.style is None and not node.tag.endswith(":str") and pattern.fullmatch(node.value):
            yield f"YAML reads {node.value} {reading}, or quote the text"
    try:
        plain(node)
    except (ValueError, KeyError, yaml.YAMLError):  # too many digits, or a tag that does not fit
        yield f"{node.value[:40]} cannot be read as {node.tag.rsplit(':', 1)[-1]}; quote it if it is text"

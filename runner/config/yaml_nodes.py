"""Strict YAML: nodes that know their lines, and an error for everything that YAML would silently reinterpret."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import yaml

from runner.experiment.annotations import as_python

MAX_LENGTH = 65_536  # bytes or characters of one file or argument
MAX_BRACKETS = 100  # open at once; the YAML parser's time grows with their square
MAX_NODES = 20_000  # after aliases are expanded: a few nested aliases can otherwise stand for billions of values

_TAG = "tag:yaml.org,2002:"
_TAGS = {_TAG + name for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge")}
_SCIENTIFIC = re.compile(r"[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+")  # YAML 1.1 reads 1e-4 as text
_OCTAL_OR_SEXAGESIMAL = re.compile(r"[-+]?0[0-7_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
CANNOT_BE_READ = """cannot be read; put quotes around a value with special characters, as in 'key="value"'"""
NO_TARGET = "_target_ is not supported: nothing named in a config is imported but the experiment file"
# What escapes can write and not every reader of YAML takes; surrogates are bytes of a shell that are not UTF-8.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


class FileLoader(yaml.SafeLoader):
    """Reads files: YAML 1.1 of PyYAML, but `1e-4` is a number, and dates and `=` are text."""


class ArgumentLoader(yaml.SafeLoader):
    """Reads arguments: JSON's constants and decimal numbers; every other scalar is text, `no` and `010` too."""


class Dumper(yaml.SafeDumper):
    """Writes files so that both loaders and other programs read the same text."""


ArgumentLoader.yaml_implicit_resolvers = {}
FileLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag not in (f"{_TAG}timestamp", f"{_TAG}value")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _class in (FileLoader, Dumper):
    _class.add_implicit_resolver(f"{_TAG}float", _SCIENTIFIC, list("-+0123456789"))
for _name, _pattern in {
    "bool": "(?i:true|false)",
    "null": "(?i:null)|~|",
    "int": "[-+]?(0|[1-9](_?[0-9])*)",
    "float": r"[-+]?(([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9]+)[eE][-+]?[0-9]+|[0-9][0-9_]*\.[0-9_]*|\.[0-9]+|(?i:inf|nan))",
}.items():
    ArgumentLoader.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), None)


def parse(text: str, loader: type[yaml.SafeLoader]) -> tuple[yaml.Node | None, list[tuple[int, str]]]:
    """Parses one YAML document.

    Returns:
        Its nodes, None for an empty document; and everything in it that a config may not hold, with its line.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    if text.count("[") + text.count("{") > MAX_BRACKETS and bracket_depth(text) > MAX_BRACKETS:
        return None, [(1, f"nested too deeply (at most {MAX_BRACKETS} levels)")]
    try:
        root = yaml.compose(text, Loader=loader)
        return root, list(_problems(root, loader)) if root is not None else []
    except RecursionError:
        return None, [(1, "nested too deeply")]


def plain(node: yaml.Node, loader: type[yaml.SafeLoader]) -> object:
    """The value of a node in which `parse` found no problem.

    Raises:
        yaml.YAMLError: a merge key (`<<`) has a value that is not a mapping.
    """
    return loader("").construct_document(node)


def bracket_depth(text: str) -> int:
    """Most brackets that are open at once."""
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def kind(node: yaml.Node) -> str:
    """What a node is, for an error message."""
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "a mapping" if isinstance(node, yaml.MappingNode) else f"{node.value[:40]!r}"


def _problems(root: yaml.Node, loader: type[yaml.SafeLoader]) -> Iterator[tuple[int, str]]:
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def visit(node: yaml.Node) -> Iterator[tuple[int, str]]:
        line = node.start_mark.line + 1
        if id(node) in open_nodes:
            yield line, "an alias (*) that contains itself"
        if id(node) in open_nodes or id(node) in sizes:
            return
        open_nodes.add(id(node))
        if node.tag not in _TAGS:
            yield line, f"the tag {node.tag.replace(_TAG, '!!')} is not allowed; write plain values"
        elif isinstance(node, yaml.ScalarNode):
            yield from ((line, what) for what in _scalar_problems(node, loader))
        elif isinstance(node, yaml.MappingNode):
            yield from _key_problems(node)
        children = [] if isinstance(node, yaml.ScalarNode) else node.value
        if isinstance(node, yaml.MappingNode):
            children = [part for pair in node.value for part in pair]
        for child in children:
            yield from visit(child)
        open_nodes.discard(id(node))
        sizes[id(node)] = 1 + sum(sizes.get(id(child), 1) for child in children)

    yield from visit(root)
    if sizes[id(root)] > MAX_NODES:
        yield 1, f"{sizes[id(root)]} values, aliases expanded; a config has at most {MAX_NODES}"


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


def _scalar_problems(node: yaml.ScalarNode, loader: type[yaml.SafeLoader]) -> Iterator[str]:
    if _CONTROL.search(node.value):
        yield f"control characters are not allowed; got {node.value[:80]!r}"
    if loader is ArgumentLoader and node.style is None and re.search("[()]", node.value):
        yield (
            "cannot be read: ( and ) belong to a search, which cannot be nested in another value; "
            "put quotes around text with brackets"
        )
    mark = node.start_mark
    if loader is ArgumentLoader and (mark.line != node.end_mark.line or (mark.buffer or "")[mark.pointer] in "&!|>"):
        yield f"{CANNOT_BE_READ}; a line break is \\n in double quotes"
    if node.tag not in (f"{_TAG}int", f"{_TAG}float"):
        return
    if node.style is None and loader is FileLoader and _OCTAL_OR_SEXAGESIMAL.fullmatch(node.value):
        yield f"YAML reads {node.value} in base 8 or 60; write a decimal number, or quote the text"
    try:
        value = plain(node, loader)
    except ValueError:  # too many digits, or a tag on what is no number
        yield f"{node.value[:40]} cannot be read as a number; quote it if it is text"
    else:
        if loader is ArgumentLoader and isinstance(value, float) and not math.isfinite(value):
            yield f"{value} is not a finite number; quote it if it is text"

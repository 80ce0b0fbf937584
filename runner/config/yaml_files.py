"""Strict reading of YAML: everything that YAML would silently reinterpret is refused before Hydra sees the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from runner.errors import ConfigError
from runner.experiment.identifiers import as_python

MAX_BYTES = 65_536
MAX_BRACKETS = 100  # open at once; the YAML parser's time grows with their square
MAX_NODES = 20_000  # after aliases are expanded: a few nested aliases can otherwise stand for billions of values

_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge")}
_READ_AS_TEXT = {f"tag:yaml.org,2002:{name}" for name in ("timestamp", "value")}
_OCTAL_OR_SEXAGESIMAL = re.compile(r"[-+]?0[0-7_]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
# Characters that do not survive being written to YAML and read again (surrogates are undecodable bytes of a shell).
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_INTERPOLATION = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*\}")


def read_yaml(path: Path, shown: str) -> yaml.MappingNode | None:
    """Reads one file into YAML nodes, which know their lines.

    Args:
        path: the file.
        shown: how errors name it.

    Returns:
        The top mapping; None for an empty file.

    Raises:
        ConfigError: naming file and line of everything that is wrong.
    """
    text = _text(path, shown)
    if text.count("[") + text.count("{") > MAX_BRACKETS and bracket_depth(text) > MAX_BRACKETS:
        raise ConfigError(f"{shown}: nested too deeply")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        problems = [f"{shown}:{line}: {what}" for line, what in _problems(root)] if root is not None else []
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        what = "a tab character; indent with spaces" if "'\\t'" in str(err.problem) else err.problem or err.context
        raise ConfigError(f"{shown}:{mark.line + 1 if mark else 1}: not valid YAML: {what}") from err
    except yaml.YAMLError as err:
        raise ConfigError(f"{shown}: not valid YAML: {' '.join(str(err).split())}") from err
    except RecursionError as err:
        raise ConfigError(f"{shown}: nested too deeply") from err
    if problems:
        raise ConfigError(problems)
    if root is None or (isinstance(root, yaml.ScalarNode) and root.tag.endswith(":null")):
        return None
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{shown}:1: a config is a list of `key: value` lines; got {_kind(root)}")
    return root


def text_problem(text: str) -> str | None:
    """What is wrong with a text: characters YAML cannot carry, or a `${...}` that is not plain; else None."""
    if _CONTROL.search(text):
        return f"control characters are not allowed; got {text[:80]!r}"
    if "${" not in _INTERPOLATION.sub("", text):
        return None
    return f"only plain references such as ${{name}} or ${{train.epochs}} are allowed; got {text[:80]!r}"


def bracket_depth(text: str) -> int:
    """Most brackets that are open at once."""
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _text(path: Path, shown: str) -> str:
    try:
        content = path.read_bytes()
    except OSError as err:
        raise ConfigError(f"{shown}: cannot be read: {err.strerror}") from err
    if len(content) > MAX_BYTES:
        raise ConfigError(f"{shown}: {len(content)} bytes; a config has at most {MAX_BYTES}")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as err:
        line = content.count(b"\n", 0, err.start) + 1
        raise ConfigError(f"{shown}:{line}: not UTF-8 text") from err


def _problems(root: yaml.Node) -> Iterator[tuple[int, str]]:
    sizes: dict[int, int] = {}
    open_nodes: set[int] = set()

    def visit(node: yaml.Node) -> Iterator[tuple[int, str]]:
        line = node.start_mark.line + 1
        if id(node) in open_nodes:
            yield line, "an alias (*) that contains itself"
            return
        if id(node) in sizes:
            return
        open_nodes.add(id(node))
        children: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            yield from _key_problems(node)
            children = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            children = node.value
        elif isinstance(node, yaml.ScalarNode):
            yield from ((line, what) for what in _scalar_problems(node))
        if node.tag not in _PLAIN_TAGS | _READ_AS_TEXT:
            yield line, f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not allowed; write plain values"
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
            yield line, f"a key must be text; got {_kind(key)}"
            continue
        if key.tag not in {*_READ_AS_TEXT, "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}:
            yield line, f"the key {key.value!r} is read as {key.tag.rsplit(':', 1)[-1]}, not as text; quote it"
        if key.value == "_target_":
            yield line, "_target_ is not supported: nothing named in a config is imported but the experiment file"
        name = as_python(key.value)
        if name in lines:
            yield line, f"{key.value}: given twice; first on line {lines[name]}"
        lines.setdefault(name, line)


def _scalar_problems(node: yaml.ScalarNode) -> Iterator[str]:
    if problem := text_problem(node.value):
        yield problem
    plain_style = node.style is None
    if plain_style and node.tag.endswith((":int", ":float")) and _OCTAL_OR_SEXAGESIMAL.fullmatch(node.value):
        yield f"YAML reads {node.value} in base 8 or 60; write a decimal number, or quote the text"


def _kind(node: yaml.Node) -> str:
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return "a mapping" if isinstance(node, yaml.MappingNode) else f"{node.value[:40]!r}"

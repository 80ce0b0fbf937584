"""Finds the statement that gives a name its value: an import, or a part of what is imported."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import ModuleType

from runner.experiment.texts import parsed

_MISSING = object()


def written_import(name: str, value: object, texts: Sequence[str], package: str) -> tuple[str, ...]:
    """The import statements of these texts that bind a name to this very object; empty if there is none.

    Args:
        name: as the code names it.
        value: what it is now.
        texts: where the user has written imports.
        package: of the module that the texts belong to, from which relative imports start.
    """
    for text in texts:
        for node in _imports(text):
            if isinstance(node, ast.ImportFrom) and (line := _from(node, name, value, package)):
                return (line,)
            if isinstance(node, ast.Import) and (line := _import(node, name, value)):
                return (line, *_submodules(name, texts)) if line == f"import {name}" else (line,)
    return ()


@lru_cache(maxsize=2048)
def _imports(text: str) -> Sequence[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(parsed(text)) if isinstance(node, ast.Import | ast.ImportFrom)]


def derived_import(name: str, value: object) -> str | None:
    """An import statement for a module, or for a function or class of one; None if there is no such statement."""
    if isinstance(value, ModuleType):
        if sys.modules.get(value.__name__) is not value or value.__name__ == "__main__":
            return None
        return f"import {value.__name__}" + ("" if value.__name__ == name else f" as {name}")
    module, own = _text(value, "__module__"), _text(value, "__qualname__")
    if module in ("", "__main__") or "." in own or getattr(sys.modules.get(module), own, _MISSING) is not value:
        return None
    return f"from {module} import {own}" + ("" if own == name else f" as {name}")


def written_part(name: str, value: object, texts: Sequence[str], namespace: Mapping[str, object]) -> tuple[str, str]:
    """An assignment such as `Dense = keras.layers.Dense` that gives a name this very object, and its first name.

    Both are empty if there is none.
    """
    for text in texts:
        for node in ast.walk(parsed(text)):
            targets = node.targets if isinstance(node, ast.Assign) else []
            if not any(isinstance(target, ast.Name) and target.id == name for target in targets):
                continue
            chain = _chain(node.value)  # type: ignore[attr-defined]
            if len(chain) > 1 and isinstance(namespace.get(chain[0]), ModuleType):
                found = namespace[chain[0]]
                for part in chain[1:]:
                    found = getattr(found, part, _MISSING)
                if found is value:
                    return f"{name} = {'.'.join(chain)}", chain[0]
    return "", ""


def _from(node: ast.ImportFrom, name: str, value: object, package: str) -> str:
    above = package.rsplit(".", node.level - 1)[0] if node.level else ""
    module = ".".join(filter(None, (above, node.module)))
    if module == "__main__":
        return ""
    for alias in node.names:
        if alias.name == "*" or name == (alias.asname or alias.name):
            own = name if alias.name == "*" else alias.name
            known = (getattr(sys.modules.get(module), own, _MISSING), sys.modules.get(f"{module}.{own}", _MISSING))
            if any(found is value for found in known):
                return f"from {module} import {own}" + ("" if own == name else f" as {name}")
    return ""


def _import(node: ast.Import, name: str, value: object) -> str:
    if not isinstance(value, ModuleType):
        return ""
    for alias in node.names:
        if alias.asname == name and sys.modules.get(alias.name) is value:
            return f"import {alias.name}" + ("" if alias.name == name else f" as {name}")
        if alias.asname is None and alias.name.partition(".")[0] == name and sys.modules.get(name) is value:
            return f"import {name}"
    return ""


def _submodules(package: str, texts: Sequence[str]) -> Iterator[str]:
    """The statements `import package.module`, without which the package may lack the module."""
    nodes = (node for text in texts for node in _imports(text) if isinstance(node, ast.Import))
    for alias in (alias for node in nodes for alias in node.names):
        if alias.asname is None and alias.name.startswith(f"{package}.") and alias.name in sys.modules:
            yield f"import {alias.name}"


def _text(value: object, name: str) -> str:
    """An attribute that is a text, without asking the object's own code for it."""
    if not isinstance(value, type):
        found = inspect.getattr_static(value, name, None)
        found = getattr(value, name, None) if inspect.isroutine(value) else found
    else:
        found = getattr(value, name, None)
    return found if isinstance(found, str) else ""


def _chain(node: ast.expr) -> list[str]:
    """The names of `a.b.c`; empty for anything else."""
    if isinstance(node, ast.Name):
        return [node.id]
    before = _chain(node.value) if isinstance(node, ast.Attribute) else []
    return [*before, node.attr] if before and isinstance(node, ast.Attribute) else []

"""Writes collected definitions as the text of one module, in an order in which Python can execute it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from runner.experiment.definitions import Definition
from runner.experiment.free_names import FreeNames


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A definition of the module.

    Args:
        definition: as the user wrote it.
        name: which it defines in the module.
        names: which it takes from the module.
    """

    definition: Definition
    name: str
    names: FreeNames

    @property
    def text(self) -> str:
        """The definition under its name in the module, below a comment that says where it comes from."""
        text, own = self.definition.text, self.definition.name
        if own != self.name:
            lines = text.split("\n")
            (node,) = ast.parse(text).body
            at = (
                node.lineno - 1
            )  # the name as Python reads it may differ from the one that is written, as of a ligature
            lines[at] = re.sub(r"^(\s*def\s+)\w+", rf"\g<1>{self.name}", lines[at], count=1)
            text = "\n".join(lines)
        return f"# {self.definition.origin}\n{text}"


@dataclass(kw_only=True, slots=True)
class Contents:
    """What a module is made of.

    Args:
        bound: what each of its names means.
        pieces: definitions, by the identity of what they define.
        aliases: further names of definitions, each with the definition's.
        imports: import statements.
        constants: assignments, by name.
        postponed: annotations are not evaluated.
    """

    bound: dict[str, object] = field(default_factory=dict)
    pieces: dict[int, Piece] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    imports: dict[str, None] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    postponed: bool = False

    def copy(self) -> Contents:
        """The same contents, to which more can be added."""
        return Contents(
            bound=dict(self.bound), pieces=dict(self.pieces), aliases=dict(self.aliases), imports=dict(self.imports),
            constants=dict(self.constants), postponed=self.postponed,
        )  # fmt: skip


def module_text(contents: Contents, title: str) -> str:
    """The module as text.

    Args:
        contents: of the module.
        title: its first line.
    """
    plain = [line for line in contents.imports if " as " not in line]
    lines = [line for line in contents.imports if not any(other.startswith(f"{line}.") for other in plain)]
    imports = sorted(lines, key=lambda line: (line.startswith("from"), line))
    parts = [
        f'"""{title}"""',
        "from __future__ import annotations" if contents.postponed else "",
        "\n".join(imports),
        "\n".join(contents.constants.values()),
        *(_with_aliases(piece, contents.aliases) for piece in _in_order(contents)),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _with_aliases(piece: Piece, aliases: Mapping[str, str]) -> str:
    lines = [f"{alias} = {name}" for alias, name in aliases.items() if name == piece.name]
    return "\n".join([f"\n{piece.text}", *(f"\n\n{line}" for line in lines)])


def _in_order(contents: Contents) -> Sequence[Piece]:
    """As the user wrote them; but what a definition looks up at once comes before it, with all that this names.

    Cells come in the order in which the functions need them: a cell that runs again must not change the text.
    """
    by_name = {piece.name: piece for piece in contents.pieces.values()}
    by_name |= {alias: by_name[name] for alias, name in contents.aliases.items()}
    files = list(dict.fromkeys(piece.definition.file for piece in contents.pieces.values()))
    order: dict[str, Piece] = {}
    begun: set[tuple[str, bool]] = set()

    def add(piece: Piece, *, wholly: bool) -> None:
        if piece.name in order or (piece.name, wholly) in begun:
            return
        begun.add((piece.name, wholly))
        names: Iterable[str] = piece.names.needed if wholly else piece.names.at_once
        names = {*names} if contents.postponed else {*names, *piece.names.annotated}
        for name in sorted(names):
            if name in by_name:
                add(by_name[name], wholly=True)
        order.setdefault(piece.name, piece)

    def written(piece: Piece) -> tuple[int, int]:
        return files.index(piece.definition.file), piece.definition.line

    for piece in sorted(contents.pieces.values(), key=written):
        add(piece, wholly=False)
    return list(order.values())

"""Reads `search.points` from a CSV file: a header with names, then one line for each trial."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from runner.config.origins import Key, Origins, Values
from runner.config.yaml_nodes import parse, plain


def read_points_files(values: Values, base: Path | None, origins: Origins) -> list[str]:
    """Replaces the name of each CSV file by its points; returns what is wrong with the files.

    A path is relative to the current folder, and failing that to `base`. A value is read as
    YAML. An empty cell leaves a parameter at its default.

    Args:
        values: of the config.
        base: the config folder's parent; None without one.
        origins: where the values came from.
    """
    problems: list[str] = []
    for key, search in _searches(values):
        name = search.get("points")
        if isinstance(name, str) and name.lower().endswith(".csv"):
            path = Path(name) if Path(name).exists() or base is None else base / name
            try:
                search["points"] = _points(path)
            except (OSError, UnicodeDecodeError, csv.Error) as err:
                why = getattr(err, "strerror", None) or err
                problems.append(f"{origins.place(*key, 'points')}: {name}: cannot be read: {why}")
                search["points"] = []
            except ValueError as err:
                problems.append(f"{origins.place(*key, 'points')}: {name}:{err}")
                search["points"] = []
    return problems


def _searches(values: Values) -> Iterator[tuple[Key, Values]]:
    if isinstance(values["search"], dict):
        yield ("search",), values["search"]
    members = values["members"]
    for name, member in members.items() if isinstance(members, dict) else ():
        if isinstance(member, dict) and isinstance(member.get("search"), dict):
            yield ("members", name, "search"), member["search"]


def _points(path: Path) -> list[Values]:
    """The points of a file.

    Raises:
        ValueError: a line is wrong; the message begins with its number.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        header = [name.strip() for name in next(reader, [])]
        if len(header) == 1 and ";" in header[0]:
            raise ValueError("1: columns are separated by commas; got semicolons")
        if not header or "" in header:
            raise ValueError("1: the first line must name a parameter in each column")
        twice = [name for name in header if header.count(name) > 1]
        if twice:
            raise ValueError(f"1: {twice[0]} is there twice")
        return [_point(header, cells, reader.line_num) for cells in reader if any(cell.strip() for cell in cells)]


def _point(header: list[str], cells: list[str], line: int) -> Values:
    if len(cells) != len(header):
        raise ValueError(f"{line}: has {len(cells)} values, and the first line {len(header)} names")
    point: Values = {}
    for name, cell in zip(header, cells, strict=True):
        if not cell.strip():
            continue
        node, problems = parse(cell)
        if problems:
            raise ValueError(f"{line}: {name}: {problems[0][1]}")
        point[name] = None if node is None else plain(node)
    return point

"""The table: what was injected how often, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

HEADER = (
    "fault", "times tried", "rows lost", "rows doubled", "siblings changed", "resumed exactly", "processes left",
    "seconds",
)  # fmt: skip


def table(tries: Sequence[dict[str, Any]]) -> str:
    """A row for each fault, as Markdown; seconds are those of all its tries."""
    lines = [f"| {' | '.join(HEADER)} |", f"|{'---|' * len(HEADER)}"]
    for fault in dict.fromkeys(made["fault"] for made in tries):
        of = [made for made in tries if made["fault"] == fault and made["struck"]]
        times = sum(made["times"] for made in of)
        exact = sum(made["times"] for made in of if not made["differences"])
        sums = [sum(made[key] for made in of) for key in ("lost", "doubled", "siblings")]
        left, seconds = [made["left"] for made in of], sum(made["seconds"] for made in of)
        shown = "not counted" if None in left else sum(left)
        cells = (fault, times, *sums, f"{exact} of {times}", shown, f"{seconds:.0f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)

"""Whether processes compute on a GPU at the same time, through NVIDIA's Multi-Process Service (MPS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MpsKind = Literal["own", "foreign", "off", "unavailable"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Mps:
    """The state of MPS on a machine. It is true if processes compute on a GPU at the same time.

    Args:
        kind: `own`: by a daemon that the sweep starts where models share a GPU; `foreign`: by one that serves already;
            `off`: the config wants none; `unavailable`: there can be none.
        reason: why it is so, as the end of a sentence.
        pipes: the folder of the daemon's pipes; empty as long as none serves.
    """

    kind: MpsKind
    reason: str = ""
    pipes: str = ""

    def __bool__(self) -> bool:
        return self.kind in ("own", "foreign")

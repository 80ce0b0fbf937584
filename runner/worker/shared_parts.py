"""Parts of pipelines that remember what was drawn from them, and who draws from them."""

from __future__ import annotations

import weakref
from typing import Any

from runner.worker.data.pipelines import remembering

_SHARED = (
    "the pipeline: {what} is shared with another split or trial, which draws from it at other times; make one for each "
    "split in load_data"
)


class SharedParts:
    """What the pipelines of a process' trials have used so far, for as long as it lives.

    A shuffle or a layer made at the top of an experiment's file is one for all trials: each advances its seeds.
    """

    def __init__(self) -> None:
        self._seen: dict[int, weakref.ref[Any]] = {}

    def inexact(self, dataset: Any) -> str:
        """Why a pipeline may not repeat itself, being shared; empty where it is not. Notes what the pipeline uses."""
        parts = remembering(dataset)
        found = sorted({what for what, part in parts if self._knows(part)})
        alive = {key: reference for key, reference in self._seen.items() if reference() is not None}
        self._seen = alive | {id(part): weakref.ref(part) for _, part in parts}
        return _SHARED.format(what=found[0]) if found else ""

    def _knows(self, part: Any) -> bool:
        known = self._seen.get(id(part))
        return known is not None and known() is part

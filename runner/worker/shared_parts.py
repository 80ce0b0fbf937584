"""Detects parts of pipelines whose state several pipelines share."""

from __future__ import annotations

import weakref

import tensorflow as tf

from runner.worker.data.pipelines import stateful_parts

_SHARED = (
    "the pipeline: {what} is shared with another split or trial, which draws from it at other times; make one for each "
    "split in load_data"
)


class SharedParts:
    """The parts with state that the pipelines of a process' trials have used, as long as these parts live.

    A shuffle or a layer that is made at the top of an experiment's file is one for all trials, and each advances its
    seeds.
    """

    def __init__(self) -> None:
        self._seen: dict[int, weakref.ref[object]] = {}

    def inexact(self, dataset: tf.data.Dataset) -> str:
        """Why a pipeline may not repeat itself because another one uses a part of it; empty if none does.

        Side effects:
            Adds the parts of this pipeline.
        """
        parts = stateful_parts(dataset)
        found = sorted({what for what, part in parts if self._knows(part)})
        alive = {key: reference for key, reference in self._seen.items() if reference() is not None}
        self._seen = alive | {id(part): weakref.ref(part) for _, part in parts}
        return _SHARED.format(what=found[0]) if found else ""

    def _knows(self, part: object) -> bool:
        known = self._seen.get(id(part))
        return known is not None and known() is part

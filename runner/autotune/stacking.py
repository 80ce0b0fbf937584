"""Decides which trials train in stacks, and of which size. Pure arithmetic.

A stack is several models as one program. Its size is part of a trial's identity, since the last bits of its results
depend on it, so it is decided before the first step and recorded.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

from runner.autotune.compilation import MARGIN
from runner.records import StackTrial, Trial

Wanted = int | Literal["auto", "off"]
"""`resources.stack`."""
Program = tuple[str, str]
"""`Trial.likely_program`."""
_NONE_ALIKE = "no worker has two trials that could be one program"
_FEWEST = 4  # models, below which `auto` does not try a stack
_WORTHWHILE_S = 15.0  # of a slot's training, below which tracing and compiling a stack costs more than it gains


def sizes(trials: Sequence[Trial], slots: int, wanted: Wanted) -> dict[Program, int]:
    """The size of the stacks of each group of alike trials, those with at least two models.

    Args:
        trials: known so far; of a sampler that learns, its first wave. Later waves are as large.
        slots: trials of a group are spread over them.
        wanted: the most models of a stack.
    """
    groups: dict[Program, int] = defaultdict(int)
    for trial in trials:
        groups[trial.likely_program] += 0 if trial.has_callbacks else 1
    if wanted == "off":
        return {}
    limit = math.inf if wanted == "auto" else wanted
    found = {key: int(min(limit, math.ceil(count / slots))) for key, count in groups.items() if count}
    return {key: size for key, size in found.items() if size > 1}


def may_be_tried(trials: Sequence[Trial], slots: int, wanted: Wanted, on_gpu: bool) -> dict[Program, int]:
    """Those of `sizes` that are tried before a sweep; `auto` tries none on a GPU, where no stack has been timed yet."""
    found = sizes(trials, slots, wanted)
    if wanted != "auto":
        return found
    return {program: size for program, size in found.items() if size >= _FEWEST and not on_gpu}


def planned(trials: Sequence[Trial], slots: int, wanted: Wanted, on_gpu: bool = False) -> str:
    """What would be tried, for a person; empty if nothing would be, and no stack of a certain size was asked for."""
    found = may_be_tried(trials, slots, wanted, on_gpu)
    if not found and wanted in ("auto", "off"):
        return ""
    if not found:
        return f"{_NONE_ALIKE}, so that each would train alone"
    most, stacked = max(found.values()), sum(trial.likely_program in found for trial in trials)
    when = "if that is measured to be faster" if wanted == "auto" else "once ten steps have equalled the lone model's"
    return f"{stacked} trials, up to {most} models as one program, {when}"


def is_worth_trying(size: int, step_s: float, steps: float) -> bool:
    """Whether `auto` should time a stack.

    Args:
        size: number of models.
        step_s: seconds of a step of a model alone.
        steps: of all trials of the group in one slot.
    """
    return size >= _FEWEST and step_s * steps >= _WORTHWHILE_S


def is_faster(tried: StackTrial, step_s: float, steps: float) -> bool:
    """Whether a stack trains a slot's trials in less time than one after another, compiling included."""
    if tried.reason:
        return False
    return tried.step_s * steps / tried.size + tried.compile_s < MARGIN * step_s * steps


def refusals(
    trials: Sequence[Trial], wanted: Wanted, sizes: Mapping[Program, int], tried: Mapping[Program, StackTrial]
) -> list[str]:
    """Why trials are not in stacks as large as they could be.

    Args:
        trials: as decided.
        wanted: the most models of a stack.
        sizes: what `sizes` has found.
        tried: what trying these stacks has found.
    """
    if not sizes:
        return [
            f"resources.stack={wanted}: {_NONE_ALIKE}, so that each trains alone; trials are alike if they differ in "
            "seeds and float parameters only"
        ]
    found = []
    for program, one in tried.items():
        alike = [trial.id for trial in trials if trial.likely_program == program]
        who = f"{len(alike)} trials ({alike[0]} and alike)"
        if one.reason:
            found.append(
                f"{who} train alone, not in stacks: {one.reason} (what can be stacked: docs/stacks.md; "
                "resources.stack=off does not try it)"
            )
        elif one.size < sizes[program]:
            found.append(f"{who} train in stacks of {one.size}: one of {sizes[program]} has no room in memory")
    return found


def in_words(trials: Sequence[Trial]) -> str:
    """How many trials are in stacks of which sizes; empty if none are."""
    found = Counter(trial.train.stack for trial in trials if trial.train.stack > 1)
    parts = [f"{number} trials in stacks of {size}" for size, number in sorted(found.items(), reverse=True)]
    return f"{', '.join(parts)}, each stack one program" if parts else ""

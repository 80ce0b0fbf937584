"""What the check of an experiment shows a person: its data, its models, and how they train on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from runner.records.details import Details
from runner.records.trial import Goal, Metrics


@dataclass(frozen=True, kw_only=True, slots=True)
class SettingCheck:
    """One setting of an experiment, tried on this machine.

    Args:
        member: the experiment within a mixed sweep; the sweep's name if there is only one.
        settings: the parameters of `load_data` and `build_model`.
        searched: those that vary in the sweep, training settings and the seed among them.
        seed: the trial's seed.
        details: of its data and model.
        parameters: number of the model's weights, trainable and not.
        steps_per_epoch: optimizer steps an epoch.
        program: how its steps run: "round" (compiled over arrays in memory), "stream" (compiled over a pipeline) or
            "plain" (one call for each step).
        program_reason: why it is not "round"; empty if it is.
        inexact: why a repetition may differ; empty if it gives the same bits.
        steps_per_s: training steps a second, by how they are compiled: "graph", "xla", or "eager" for `run_eagerly`.
        compile: how a sweep with these arguments would compile its steps: "graph", "xla" or "eager".
        memory_mib: peak of the GPU's allocator during the check, MiB; without a GPU, of the process's resident memory.
        model_bytes: size of the exported `.keras` file; None if the model cannot be loaded without its code.
        weights_bytes: size of the exported weights.
        own_parts: classes and functions that loading the model would need, each with its file and line; the place is
            empty if it is not in the experiment's code.
        test_metrics: `test_*` metrics of the model after its first step; empty without a test split.
        output: what the experiment printed.
    """

    member: str
    settings: Mapping[str, object]
    searched: Mapping[str, object]
    seed: int
    details: Details
    parameters: int
    steps_per_epoch: int
    program: str
    program_reason: str
    inexact: str
    steps_per_s: Mapping[str, float]
    compile: str
    memory_mib: float
    model_bytes: int | None
    weights_bytes: int
    own_parts: Mapping[str, str] = field(default_factory=dict)
    test_metrics: Metrics = field(default_factory=dict)
    output: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Examined:
    """What the check of an experiment found: each setting that was tried trains, and its model can be exported.

    Args:
        name: the name that a sweep would have.
        trials: how many trials a sweep with these arguments has at most.
        metric: the metric that would rank them.
        goal: whether higher or lower values are better.
        checked: the first setting of each experiment, and the last if there are several.
        warnings: sentences for a person.
        seconds: that the check took.
    """

    name: str
    trials: int
    metric: str
    goal: Goal
    checked: tuple[SettingCheck, ...]
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0

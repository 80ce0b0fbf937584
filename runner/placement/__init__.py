"""Divides the GPUs, CPUs and memory of machines into slots. Pure arithmetic that shows its sums."""

from runner.placement.cpu_slots import WORKER_MIB
from runner.placement.explain import explain, over_committed, without_mps
from runner.placement.grow_slots import Growth, enlarge
from runner.placement.machine import GPU_OVERHEAD_MIB, Gpu, Machine, Request
from runner.placement.nodes import plan_on_nodes
from runner.placement.packing import gpus_used, in_waves, match, place_as_ray
from runner.placement.planner import needs_a_probe, plan_slots, with_places

__all__ = [
    "GPU_OVERHEAD_MIB",
    "WORKER_MIB",
    "Gpu",
    "Growth",
    "Machine",
    "Request",
    "enlarge",
    "explain",
    "gpus_used",
    "in_waves",
    "match",
    "needs_a_probe",
    "over_committed",
    "place_as_ray",
    "plan_on_nodes",
    "plan_slots",
    "with_places",
    "without_mps",
]

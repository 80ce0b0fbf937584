"""The figures of a measurement. Pure arithmetic."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu.window import Window

Row = dict[str, Any]
"""A measurement: what `Case` has, `run`, `wall_s` of the process, and either `error` or these.

`steps_per_s`: optimizer steps of all models together, per second of the window, with barriers and commits.
`seconds`, `steps`: of the window.
`joules_per_step`: energy of the whole card for one step of one model; None if the card does not count it.
`gpu_peak_mib`: highest peaks of TensorFlow's allocator, of all processes together; None without a GPU.
`start_s`: seconds from loaded packages and started workers to the first step of the window, less what the steps before
it take at this rate: building, tracing, compiling, and the runner's check, which loads the data too.
`check_s`, `swap_share`, `slots`: of the runner: seconds of that check, the part of the window in which states were
exchanged, and workers.
`rates`: of `fit`: `steps_per_s` by way to compile."""


def figures(
    window: Window, steps: int, before_s: float, steps_before: int, gpu_peak_mib: float | None, **more: Any
) -> Row:
    """The figures of a full window.

    Args:
        window: the window.
        steps: of all models in it.
        before_s: seconds before it.
        steps_before: of all models in those.
        gpu_peak_mib: as in `Row`.
        more: other values of the row.
    """
    rate, joules = steps / window.seconds, window.joules
    return {
        "steps_per_s": round(rate, 2),
        "seconds": round(window.seconds, 3),
        "steps": steps,
        "joules_per_step": None if joules is None else joules / steps,
        "gpu_peak_mib": None if gpu_peak_mib is None else round(gpu_peak_mib, 1),
        "start_s": round(max(0.0, before_s - steps_before / rate), 2),
        **more,
    }

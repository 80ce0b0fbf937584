"""Limits of a slot that an experiment's code asks to change: each call has the same outcome in every worker and trial.

TensorFlow takes threads and devices before it initialises only, so that such a call at the top of a file would change a
slot's limits in the first process that imports it, and be an error in those where another trial has trained before.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

Tell = Callable[[str], None]
# What TensorFlow and CUDA read when they initialise, which may be after the experiment's file was imported.
_VARIABLES = {
    "CUDA_DEVICE_ORDER": "resources.num_gpus",
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "resources.num_gpus",
    "CUDA_VISIBLE_DEVICES": "resources.num_gpus",
    "TF_FORCE_GPU_ALLOW_GROWTH": "resources.gpu_memory_mib",
    "TF_GPU_ALLOCATOR": "resources.gpu_memory_mib",
}


class Limits:
    """Keeps them while an experiment's code runs.

    Args:
        tell: told of each call that is ignored.
    """

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        config = tf.config
        self._changes: list[tuple[Any, str, Any, Any]] = []
        for direction in ("intra", "inter"):
            name = f"set_{direction}_op_parallelism_threads"
            threads = getattr(config.threading, f"get_{direction}_op_parallelism_threads")
            self._ignore(config.threading, name, "resources.num_cpus", functools.partial(_same_threads, threads))
        for owner in (config, config.experimental):
            self._ignore(owner, "set_visible_devices", "resources.num_gpus", _same_devices)
            for name in ("set_logical_device_configuration", "set_virtual_device_configuration", "set_memory_growth"):
                self._ignore(owner, name, "resources.gpu_memory_mib", lambda *_, **__: False)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Inside, calls that would change a limit are ignored and told; one that asks for what is so says nothing."""
        variables = {name: os.environ.get(name) for name in _VARIABLES}
        for owner, name, _, replacement in self._changes:
            setattr(owner, name, replacement)
        try:
            yield
        finally:
            for owner, name, original, _ in self._changes:
                setattr(owner, name, original)
            for name, value in variables.items():
                self._put_back(name, value)

    def _ignore(self, owner: Any, name: str, key: str, is_so: Callable[..., bool]) -> None:
        original = getattr(owner, name, None)
        if original is None:
            return

        @functools.wraps(original)
        def ignored(*arguments: Any, **named: Any) -> None:
            if not is_so(*arguments, **named):
                self._tell(_warning(f"tf.config's {name}", key))

        self._changes.append((owner, name, original, ignored))

    def _put_back(self, name: str, value: str | None) -> None:
        if os.environ.get(name) == value:
            return
        self._tell(_warning(f"os.environ[{name!r}]", _VARIABLES[name]))
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def initialise() -> None:
    """TensorFlow reads its environment now, before an experiment can change it; not where it would take a GPU for that.

    The first that touches a GPU, which may be full, is a trial's check.
    """
    if not tf.config.list_physical_devices("GPU"):
        tf.config.list_logical_devices()


def _warning(what: str, key: str) -> str:
    return f"warning: {what} in an experiment is ignored, since a trial has the limits of its slot; set {key} instead"


def _same_threads(now: Callable[[], int], num_threads: int) -> bool:
    return num_threads == now()


def _same_devices(devices: Any, device_type: str | None = None) -> bool:
    asked = [devices] if not isinstance(devices, Sequence) else list(devices)
    return bool(asked == tf.config.get_visible_devices(device_type))

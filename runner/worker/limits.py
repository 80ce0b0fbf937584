"""What an experiment's code asks to change in its process: each call has the same outcome in every worker and trial.

TensorFlow takes threads and devices before it initialises only, so that such a call at the top of a file would change a
slot's limits in the first process that imports it, and be an error in those where another trial has trained before.
Its other switches would hold for all trials of the process from then on, whichever comes first.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf

from runner.worker.private import is_op_determinism_enabled

Tell = Callable[[str], None]
# What TensorFlow and CUDA read when they initialise, which may be after the experiment's file was imported.
_VARIABLES = {
    "CUDA_DEVICE_ORDER": "resources.num_gpus",
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "resources.num_gpus",
    "CUDA_VISIBLE_DEVICES": "resources.num_gpus",
    "TF_FORCE_GPU_ALLOW_GROWTH": "resources.gpu_memory_mib",
    "TF_GPU_ALLOCATOR": "resources.gpu_memory_mib",
}
_LIMIT, _SWITCH = "a trial has the limits of its slot", "it would hold for all trials of the process"
_NOTHING_INSTEAD = "leave it out"


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
        self._ignore_switches()

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

    def _ignore_switches(self) -> None:
        config = tf.config
        self._switch(
            config.experimental, "enable_op_determinism", "set train.deterministic instead", is_op_determinism_enabled
        )
        self._switch(config.optimizer, "set_jit", "give jit_compile to compile() instead")
        self._switch(config.optimizer, "set_experimental_options", _NOTHING_INSTEAD)
        for name in ("run_functions_eagerly", "experimental_run_functions_eagerly"):
            self._switch(
                config,
                name,
                "give run_eagerly to compile() instead",
                lambda run_eagerly: bool(run_eagerly) == config.functions_run_eagerly(),
            )
        self._switch(
            config,
            "set_soft_device_placement",
            _NOTHING_INSTEAD,
            lambda enabled: bool(enabled) == config.get_soft_device_placement(),
        )
        self._switch(tf.data.experimental, "enable_debug_mode", _NOTHING_INSTEAD)

    def _switch(self, owner: Any, name: str, advice: str, is_so: Callable[..., bool] = lambda *_, **__: False) -> None:
        self._replace(owner, name, _SWITCH, advice, is_so)

    def _ignore(self, owner: Any, name: str, key: str, is_so: Callable[..., bool]) -> None:
        self._replace(owner, name, _LIMIT, f"set {key} instead", is_so)

    def _replace(self, owner: Any, name: str, reason: str, advice: str, is_so: Callable[..., bool]) -> None:
        original = getattr(owner, name, None)
        if original is None:
            return

        module = "tf.data.experimental" if owner is tf.data.experimental else "tf.config"

        @functools.wraps(original)
        def ignored(*arguments: Any, **named: Any) -> None:
            if not is_so(*arguments, **named):
                self._tell(_warning(f"{module}'s {name}", reason, advice))

        self._changes.append((owner, name, original, ignored))

    def _put_back(self, name: str, value: str | None) -> None:
        if os.environ.get(name) == value:
            return
        self._tell(_warning(f"os.environ[{name!r}]", _LIMIT, f"set {_VARIABLES[name]} instead"))
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


def _warning(what: str, reason: str, advice: str) -> str:
    return f"warning: {what} in an experiment is ignored, since {reason}; {advice}"


def _same_threads(now: Callable[[], int], num_threads: int) -> bool:
    return num_threads == now()


def _same_devices(devices: Any, device_type: str | None = None) -> bool:
    is_many = isinstance(devices, list | set) or type(devices) is tuple  # a device is a named tuple
    asked = list(devices) if is_many else [devices]
    return bool(asked == tf.config.get_visible_devices(device_type))

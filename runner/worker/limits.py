"""Ignores an experiment's calls that would change settings of its whole process.

TensorFlow accepts threads and devices only before it initialises. A call at the top of a file would change a slot's
limits in the first process that imports it, and raise in processes in which another trial has trained before. Other
switches would hold for all later trials of the process. If they are ignored, a call has the same outcome everywhere.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TypeAlias

import tensorflow as tf

from runner.worker.private import is_op_determinism_enabled

Warn: TypeAlias = Callable[[str], None]
# Variables that TensorFlow and CUDA read when they initialise, perhaps after the experiment's file was imported.
_VARIABLES = {
    "CUDA_DEVICE_ORDER": "resources.num_gpus",
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": "resources.num_gpus",
    "CUDA_MPS_PIPE_DIRECTORY": "resources.mps",
    "CUDA_VISIBLE_DEVICES": "resources.num_gpus",
    "TF_FORCE_GPU_ALLOW_GROWTH": "resources.gpu_memory_mib",
    "TF_GPU_ALLOCATOR": "resources.gpu_memory_mib",
}
_LIMIT, _SWITCH = "a trial has the limits of its slot", "it would hold for all trials of the process"
_NOTHING_INSTEAD = "leave it out"


class Limits:
    """Keeps the limits and switches of the process while an experiment's code runs.

    Args:
        warn: gets a text for each call that is ignored.
    """

    def __init__(self, warn: Warn) -> None:
        self._warn = warn
        config = tf.config
        self._changes: list[tuple[ModuleType, str, Callable[..., object], Callable[..., object]]] = []
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
        """Ignores calls inside, with a warning; without one if a call asks for what is in force."""
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

    def _switch(
        self, owner: ModuleType, name: str, advice: str, is_in_force: Callable[..., bool] = lambda *_, **__: False
    ) -> None:
        self._replace(owner, name, _SWITCH, advice, is_in_force)

    def _ignore(self, owner: ModuleType, name: str, key: str, is_in_force: Callable[..., bool]) -> None:
        self._replace(owner, name, _LIMIT, f"set {key} instead", is_in_force)

    def _replace(
        self, owner: ModuleType, name: str, reason: str, advice: str, is_in_force: Callable[..., bool]
    ) -> None:
        original = getattr(owner, name, None)
        if original is None:
            return

        module = "tf.data.experimental" if owner is tf.data.experimental else "tf.config"

        @functools.wraps(original)
        def ignored(*arguments: object, **named: object) -> None:
            if not is_in_force(*arguments, **named):
                self._warn(_warning(f"{module}'s {name}", reason, advice))

        self._changes.append((owner, name, original, ignored))

    def _put_back(self, name: str, value: str | None) -> None:
        if os.environ.get(name) == value:
            return
        self._warn(_warning(f"os.environ[{name!r}]", _LIMIT, f"set {_VARIABLES[name]} instead"))
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def initialise() -> None:
    """Makes TensorFlow read its environment before an experiment can change it, unless that would take a GPU.

    A trial's check is the first to touch a GPU, because it may be full.
    """
    if not tf.config.list_physical_devices("GPU"):
        tf.config.list_logical_devices()


def _warning(what: str, reason: str, advice: str) -> str:
    return f"warning: {what} in an experiment is ignored, since {reason}; {advice}"


def _same_threads(now: Callable[[], int], num_threads: int) -> bool:
    return num_threads == now()


def _same_devices(devices: tf.config.PhysicalDevice, device_type: str | None = None) -> bool:
    is_many = isinstance(devices, list | set) or type(devices) is tuple  # a device is a named tuple
    asked = list(devices) if is_many else [devices]
    return bool(asked == tf.config.get_visible_devices(device_type))

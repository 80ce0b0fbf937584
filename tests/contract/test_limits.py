"""What an experiment's code asks to change in its process: ignored and told, or the experiment's own."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.usefixtures("tensorflow")

# Calls that would change the process, what a later trial would see of it, and what to do instead.
SWITCHES = {
    "tf.config.experimental.enable_op_determinism()": (
        "config.is_op_determinism_enabled()",
        "set train.deterministic instead",
    ),
    "tf.config.optimizer.set_jit(True)": ("tf.config.optimizer.get_jit()", "give jit_compile to compile() instead"),
    "tf.config.optimizer.set_experimental_options({'constant_folding': False})": (
        "tf.config.optimizer.get_experimental_options()",
        "leave it out",
    ),
    "tf.config.run_functions_eagerly(True)": (
        "tf.config.functions_run_eagerly()",
        "give run_eagerly to compile() instead",
    ),
    "tf.config.set_soft_device_placement(False)": ("tf.config.get_soft_device_placement()", "leave it out"),
    "tf.data.experimental.enable_debug_mode()": ("debug_mode.DEBUG_MODE", "leave it out"),
}


@pytest.fixture
def evaluate() -> Any:
    import tensorflow as tf
    from tensorflow.python.data.ops import debug_mode
    from tensorflow.python.framework import config

    return lambda expression: eval(expression, {"tf": tf, "config": config, "debug_mode": debug_mode})


@pytest.mark.parametrize("call", SWITCHES)
def test_a_switch_of_the_whole_process_is_ignored_with_what_to_do_instead(call: str, evaluate: Any) -> None:
    from runner.worker.determinism import set_determinism
    from runner.worker.limits import Limits

    seen, advice = SWITCHES[call]
    told: list[str] = []
    set_determinism(False)
    before = evaluate(seen)
    with Limits(told.append).kept():
        evaluate(call)
    assert evaluate(seen) == before
    assert len(told) == 1
    assert told[0].endswith(
        f" in an experiment is ignored, since it would hold for all trials of the process; {advice}"
    )
    assert told[0].startswith(f"warning: {call[:7]}")


@pytest.mark.parametrize(
    "call",
    [
        "tf.config.run_functions_eagerly(False)",
        "tf.config.set_soft_device_placement(True)",
        "tf.config.set_visible_devices(tf.config.get_visible_devices('CPU')[0], 'CPU')",
        "tf.config.set_visible_devices(tf.config.get_visible_devices('CPU'), 'CPU')",
        "tf.config.set_visible_devices(tuple(tf.config.get_visible_devices('CPU')), 'CPU')",
    ],
)
def test_a_call_that_asks_for_what_is_so_says_nothing(call: str, evaluate: Any) -> None:
    from runner.worker.limits import Limits

    told: list[str] = []
    with Limits(told.append).kept():
        evaluate(call)
    assert told == []


def test_the_programs_own_determinism_is_not_ignored_and_then_asking_for_it_says_nothing(evaluate: Any) -> None:
    from runner.worker.determinism import set_determinism
    from runner.worker.limits import Limits

    told: list[str] = []
    try:
        with Limits(told.append).kept():
            set_determinism(True)
            evaluate("tf.config.experimental.enable_op_determinism()")
        assert evaluate("config.is_op_determinism_enabled()")
    finally:
        set_determinism(False)
    assert told == []


def test_short_floats_on_gpus_are_each_experiments_own(evaluate: Any) -> None:
    from runner.worker.global_state import Globals, Settings

    first, second = Globals(0, Settings.current()), Globals(0, Settings.current())
    now = "tf.config.experimental.tensor_float_32_execution_enabled()"
    with first.active():
        evaluate("tf.config.experimental.enable_tensor_float_32_execution(False)")
    assert evaluate(now)
    with second.active():
        assert evaluate(now)
    with first.active():
        assert not evaluate(now)
    assert first.settings != second.settings, "engines are not shared between the two"

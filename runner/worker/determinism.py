"""TensorFlow's op determinism, which is a property of the whole process: `train.deterministic`.

Source: tensorflow 2.21, `python/framework/config.py` (`enable_op_determinism`).
"""

from __future__ import annotations

from tensorflow.python.eager import context
from tensorflow.python.framework import config

from runner.worker.said import text_of

_REFUSALS = ("determinis", "Determinis")


def set_determinism(wanted: bool) -> None:
    """Makes the process' ops deterministic, or lets them be.

    Side effects:
        Throws TensorFlow's kernels away where this changes: they ask for it once, when they are made.
    """
    if config.is_op_determinism_enabled() == wanted:
        return
    if wanted:
        config.enable_op_determinism()  # tf.config's is the experiment's, and ignored
    else:
        config.disable_op_determinism()
    context.context().clear_kernel_cache()


def advice(err: BaseException) -> str:
    """What to do about an op that cannot be deterministic; empty for any other error."""
    if not config.is_op_determinism_enabled() or not any(text in text_of(err) for text in _REFUSALS):
        return ""
    return " (train.deterministic=true: give such an op a seed or do without it, or set train.deterministic=false)"

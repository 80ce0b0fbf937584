"""What an experiment leaves in its process: found, put back, or of no consequence."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.records import Source

BODY = """
import functools, random
import keras, numpy as np
from random import random as draw
RNG = np.random.default_rng(0)
normal = RNG.normal
class Counter:
    def __init__(self): self.n = 0
    def up(self): self.n += 1
up = Counter().up
def call(self, x): return x
@functools.cache
def rows(n): return np.zeros(n)
def load_data(): pass
def build_model(): pass
"""
ACTS = {
    "nothing": ("pass", ""),
    "a cached function": ("rows(3)", ""),
    "a generator that every trial seeds": ("draw(); random.random()", ""),
    "a generator behind its method": ("normal()", "its global {m}.RNG has changed"),
    "an instance behind its method": ("up()", "its global {m}.up has changed"),
    "a function in a class of Keras": (
        "keras.layers.Dense.call = call",
        "it has changed keras.src.layers.core.dense.Dense.call, which is not its own",
    ),
    "a library's function as a method of a class": (
        "keras.layers.Dense.__init__ = np.sum",
        "it has changed keras.src.layers.core.dense.Dense.__init__",
    ),
    "a lambda in NumPy": ("np.mine = lambda: 1", "it has changed numpy.mine"),
    "another library's function in NumPy": ("np.mine = keras.ops.sum", "it has changed numpy.mine"),
    "a value in NumPy": ("setattr(np, 'mine', 3)", "it has changed numpy.mine"),
    "a value behind a lazy module": (
        "import tensorflow as tf; tf.keras.mine = 3",
        "it has changed keras._tf_keras.keras.mine",
    ),
    "a name that NumPy lacks now": ("del np.mod", "it has changed numpy.mod"),
    "names that libraries find when they are asked for": ("np.mod, np.f2py, keras.ops", ""),
}


@pytest.fixture
def _restored() -> Iterator[None]:
    import keras
    import numpy as np
    import tensorflow as tf

    places = (keras.layers.Dense, np, tf.keras)
    before = [dict(vars(place)) for place in places]
    yield
    for place, names in zip(places, before, strict=True):
        for name in ("mine", "call", "__init__", "mod"):
            if name in names:
                setattr(place, name, names[name])
            elif name in vars(place):
                delattr(place, name)


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("act", list(ACTS))
def test_what_an_act_leaves_is_found_unless_it_changes_no_number(act: str, tmp_path: Path) -> None:
    from runner.worker.experiment import Experiment

    code, expected = ACTS[act]
    text = textwrap.dedent(BODY) + f"def act():\n    {code}\n"
    (tmp_path / "left.py").write_text(text)
    experiment = Experiment(Source(path="left.py", root=str(tmp_path), files=(("left.py", text),)))
    assert not list(experiment.changes())
    experiment._module.act()
    found = list(experiment.changes())
    if not expected:
        assert found == []
    else:
        assert any(line.startswith(expected.format(m=experiment._module.__name__)) for line in found), found


def test_code_that_an_import_has_put_there_is_no_leftover(tmp_path: Path) -> None:
    from runner.worker.experiment import Experiment

    text = "import keras\ndef load_data(): pass\ndef build_model(): pass\nkeras.mine = build_model\n"
    (tmp_path / "left.py").write_text(text)
    experiment = Experiment(Source(path="left.py", root=str(tmp_path), files=(("left.py", text),)))
    import keras

    try:
        assert not list(experiment.changes())
    finally:
        del keras.mine

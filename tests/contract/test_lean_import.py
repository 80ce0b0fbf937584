"""Keras that was imported without packages it can do without is as if it had had them, once they are wanted."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

PLAIN = """
import keras, tensorflow
"""
LEAN = """
from runner.records import Allocation
from runner.worker import startup
startup.configure(Allocation(num_cpus=1))
"""
# All names of all modules of Keras, and of those of TensorFlow that try to import a package, by what they stand for.
NAMES = '''
import json, sys, types

def described(value):
    if isinstance(value, types.ModuleType):
        return "module " + value.__name__
    if isinstance(value, type):
        return " < ".join(f"{base.__module__}.{base.__qualname__}" for base in value.__mro__)
    if isinstance(value, (tuple, list)):
        return [described(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, types.FunctionType):
        return f"function {value.__module__}.{value.__qualname__}"
    return f"one of {type(value).__module__}.{type(value).__qualname__}"

def names():
    legacy = "tensorflow.python.keras.engine.training"
    modules = {name: module for name, module in sys.modules.items()
               if name.partition(".")[0] == "keras" or name.startswith(legacy)}
    return {name: {key: described(value) for key, value in vars(module).items() if key[:2] != "__"}
            for name, module in modules.items() if isinstance(module, types.ModuleType)}

def stale():
    """Classes of Keras that some module holds and that are no longer what their own module has under that name."""
    found = set()
    for name, module in list(sys.modules.items()):
        for value in list(vars(module).values()) if name.partition(".")[0] == "keras" else ():
            if isinstance(value, type) and value.__module__.partition(".")[0] == "keras":
                if getattr(sys.modules.get(value.__module__), value.__qualname__, value) is not value:
                    found.add(f"{name}: {value.__module__}.{value.__qualname__}")
    return sorted(found)
'''
# As users come to need a package: they import it, it comes with another one, or a name of Keras needs it.
LATER = {
    "pandas": "import pandas",
    "matplotlib": "import matplotlib.pyplot",
    "sklearn": "import sklearn.datasets",
    "scipy": "import scipy.sparse",
}
FIT = """
import numpy, keras, pandas
frame = pandas.DataFrame({"a": numpy.arange(8.0), "b": numpy.arange(8.0)})
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.layers.Dense(1)])
model.compile("sgd", "mse")
print(json.dumps([model.fit(frame, frame["a"], batch_size=4, verbose=0, validation_split=0.25).history,
                  model.predict(frame, verbose=0).tolist()]))
"""


def ran(*programs: str) -> list[Any]:
    """What a fresh process prints, one JSON value a line."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(programs)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def plain() -> list[Any]:
    return ran(PLAIN, NAMES, "print(json.dumps(names()))", "import sklearn, scipy", FIT)


@pytest.fixture(scope="module")
def lean() -> list[Any]:
    imports = [f"{code}; print(json.dumps(names()))" for code in LATER.values()]
    return ran(LEAN, NAMES, "print(json.dumps(names()))", *imports, "print(json.dumps(stale()))", FIT)


def differing(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """The names that differ, by module, with both meanings."""
    return {
        f"{module}.{name}": (left[module].get(name), right[module].get(name))
        for module in left.keys() & right.keys()
        for name in left[module].keys() | right[module].keys()
        if left[module].get(name) != right[module].get(name)
    }


def needing(package: str, names: dict[str, Any]) -> dict[str, Any]:
    return {name: values for name, values in names.items() if package in json.dumps(values[0])}


@pytest.mark.slow
@pytest.mark.parametrize("package", ["pandas", "matplotlib", "sklearn"])
def test_the_names_that_differ_after_a_lean_import_are_mended_when_the_package_is_imported(
    package: str, plain: list[Any], lean: list[Any]
) -> None:
    after = 1 + list(LATER).index(package)
    assert needing(package, differing(plain[0], lean[0])), f"Keras takes nothing of {package}: it need not be hidden"
    assert needing(package, differing(plain[0], lean[after])) == {}


@pytest.mark.slow
def test_no_name_differs_from_those_of_a_plain_import_in_the_end(plain: list[Any], lean: list[Any]) -> None:
    assert plain[0].keys() == lean[len(LATER)].keys()
    assert differing(plain[0], lean[len(LATER)]) == {}
    assert lean[len(LATER) + 1] == []


@pytest.mark.slow
def test_fit_on_a_data_frame_gives_the_same_after_a_lean_import(plain: list[Any], lean: list[Any]) -> None:
    assert lean[-1] == plain[-1]


@pytest.mark.slow
def test_a_name_of_keras_that_needs_a_package_brings_it() -> None:
    program = """
import keras
print(json.dumps("sklearn" in sys.modules))
print(json.dumps([base.__module__ for base in keras.wrappers.SKLearnClassifier.__mro__]))
print(json.dumps("matplotlib" in sys.modules))
from keras.visualization import plot_image_gallery
print(json.dumps([plot_image_gallery.__globals__["plt"].__name__]))
"""
    before, bases, without, pyplot = ran(LEAN, NAMES, program)
    assert (before, without, pyplot) == (False, False, ["matplotlib.pyplot"])
    assert "sklearn.base" in bases

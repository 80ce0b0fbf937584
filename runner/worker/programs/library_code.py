"""Whether a function or a class is a library's own code, unchanged since the library was imported."""

from __future__ import annotations

import sys
from types import FunctionType

_LIBRARIES = ("keras", "tensorflow", "numpy", "optree")
_CHECKPOINTS = "tensorflow.python.trackable."  # TensorFlow's records for checkpoints: base classes and containers
_TYPES = "tensorflow.python.types."  # base classes without attributes


def is_library(module: str) -> bool:
    """Whether a module of this name belongs to one of the libraries."""
    return module.partition(".")[0] in _LIBRARIES


def is_of_keras(item: type) -> bool:
    """Whether a class says that it was defined in Keras."""
    return item.__module__.partition(".")[0] == "keras"


def is_of_checkpoints(item: type) -> bool:
    """Whether a class says that it was defined among TensorFlow's records for checkpoints."""
    return item.__module__.startswith(_CHECKPOINTS)


def is_library_code(function: FunctionType) -> bool:
    """Whether a function was defined by a library's own file, in whatever scope."""
    module = sys.modules.get(function.__globals__.get("__name__", ""))
    return module is not None and is_library(module.__name__) and vars(module) is function.__globals__


def is_library_class(cls: type) -> bool:
    """Whether a class is Keras' own, or a base class of TensorFlow's that has no state beside its attributes."""
    if is_of_checkpoints(cls) or cls.__module__.startswith(_TYPES):
        return True
    if not is_of_keras(cls):
        return False
    found: object = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls


def is_named_tuple(cls: type) -> bool:
    """Whether a class is a named tuple of Keras'."""
    return cls.__bases__ == (tuple,) and is_of_keras(cls) and hasattr(cls, "_fields")


def functions_of(attribute: object) -> list[FunctionType]:
    """The functions that an attribute of a class calls."""
    if isinstance(attribute, property):
        found: list[object] = [attribute.fget, attribute.fset, attribute.fdel]
    elif isinstance(attribute, (classmethod, staticmethod)):
        found = [attribute.__func__]
    else:
        found = [attribute]
    return [function for function in found if type(function) is FunctionType]

"""Everything that a trace of a model's steps can depend on, read from the model itself.

A configuration does not hold all of it: vocabularies, adapted statistics, excluded variables and replaced methods are
attributes that no config has. So the walk reads every attribute of every object that a model reaches. It goes on only
into what it knows completely: values, arrays, containers, and instances of Keras' own classes whose functions are
Keras' own code. Anything else ends the walk, and such a model shares its trace with no other.

One thing is not read: the functions that library code looks up in its modules when it is called. If an experiment
replaces one (`keras.src.backend.nn.relu = mine`), it does so for the whole process and all its trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import keras

from runner.worker import private
from runner.worker.programs.object_walk import ObjectWalk, UnknownStateError


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Equal for models whose traces are interchangeable and whose files differ only in the values of variables.

    Args:
        digest: of all that the walk read. Code is identified by its address in memory.
        kept: the objects whose addresses the digest has, so that no other object gets such an address.
    """

    digest: str
    kept: tuple[object, ...] = field(compare=False, repr=False)


def fingerprint(model: keras.Model, variables: Sequence[keras.Variable]) -> Fingerprint | None:
    """A model's fingerprint; None if it may have state that the walk cannot read.

    Args:
        model: built and compiled, not traced yet.
        variables: those whose values belong to a trial; of them the walk reads shape and position only.
    """
    if model.run_eagerly or not private.is_built(model):
        return None
    walk = ObjectWalk(variables)
    try:
        walk.over([private.settings_that_a_trace_reads(), model])
    except UnknownStateError:
        return None
    return Fingerprint(walk.digest(), walk.kept())

"""A trial: the settings that are trained to one model, and the digests that identify it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal, Self

from runner.records.json_values import Plain, decode, encode, json_text

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Params = Mapping[str, object]
Metrics = Mapping[str, float]
Goal = Literal["maximize", "minimize"]
Mode = Literal["auto", "min", "max"]


@dataclass(frozen=True, kw_only=True, slots=True)
class EarlyStopping:
    """Stops a trial whose monitored epoch metric no longer improves; semantics of `keras.callbacks.EarlyStopping`."""

    monitor: str = "val_loss"
    min_delta: float = 0.0
    patience: int = 0
    mode: Mode = "auto"
    baseline: float | None = None
    start_from_epoch: int = 0
    restore_best: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ReduceLROnPlateau:
    """Lowers the learning rate on a plateau; semantics of `keras.callbacks.ReduceLROnPlateau`."""

    monitor: str = "val_loss"
    factor: float = 0.1
    patience: int = 10
    min_delta: float = 1e-4
    mode: Mode = "auto"
    cooldown: int = 0
    min_lr: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """How a trial is trained; part of its identity.

    Args:
        epochs: epochs to train.
        batch_size: rows per step, for array data (a `tf.data.Dataset` makes its own batches).
        steps_per_epoch: steps per epoch; None for one pass over the data.
        steps_per_round: most steps of one turn, which never crosses the end of an epoch; None for whole epochs. The
            driver resolves "auto" before the first step.
        epochs_per_round: epochs of one turn if `steps_per_round` is None. The driver sets it; 1 if a rule decides after
            each epoch.
        shuffle: whether each pass has its own permutation of the rows, from (seed, pass).
        validate_every: validate at the end of every n-th epoch.
        compile: how its steps are compiled, which changes results in the last bits. The driver resolves "auto" before
            the first step; a worker treats it as "graph".
        stack: most models of one program, this one among them (`resources.stack`), on which the last bits of its
            results depend; 1 for a program of its own. With more, `compile` is "xla".
        stack_refused: why it has a program of its own although a stack was wanted; empty if it was not.
        deterministic: TensorFlow's op determinism, which holds for a whole process.
        max_seconds: the trial stops after the turn in which its training and validation have taken this long; None for
            no limit. The only setting whose effect depends on a clock.
    """

    epochs: int = 10
    batch_size: int = 32
    steps_per_epoch: int | None = None
    steps_per_round: int | None = None
    epochs_per_round: int = 1
    shuffle: bool = True
    validate_every: int = 1
    compile: Literal["auto", "graph", "xla"] = "graph"
    stack: int = 1
    stack_refused: str = ""
    deterministic: bool = False
    early_stopping: EarlyStopping | None = None
    reduce_lr_on_plateau: ReduceLROnPlateau | None = None
    max_seconds: float | None = None

    @classmethod
    def of(cls, values: Plain) -> Self:
        """The settings that have these plain values."""
        rules = {"early_stopping": EarlyStopping, "reduce_lr_on_plateau": ReduceLROnPlateau}
        made = {name: None if values[name] is None else rule(**values[name]) for name, rule in rules.items()}
        return cls(**{**values, **made})

    def steps_in_turn(self, steps_per_epoch: int, step: int) -> int:
        """Steps of the turn that starts after `step` optimizer steps; it ends within an epoch or at the end of one."""
        left = steps_per_epoch - step % steps_per_epoch
        if self.steps_per_round is not None:
            return min(self.steps_per_round, left)
        epochs = min(self.epochs_per_round, self.epochs - step // steps_per_epoch)
        return left + max(0, epochs - 1) * steps_per_epoch


CHOSEN = "add-"  # in the ids of chosen settings, so that the numbers of all others follow from the config alone


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """An experiment's code, by value so that a worker on another node can run it.

    Args:
        path: the experiment file as the user named it; of functions the module that was made of them.
        root: absolute path of its folder on the driver's machine; of functions the folder of their script or notebook.
        files: `(path relative to root, text)` of the experiment file and of the Python files beside it that it imports.
    """

    path: str
    root: str
    files: tuple[tuple[str, str], ...]

    @property
    def module(self) -> str:
        """File name of the experiment within `root`."""
        return self.path.rsplit("/", 1)[-1]

    def places(self, name: str) -> tuple[str, ...]:
        """Paths on the driver's machine that one of its files may have."""
        beside = f"{self.root}/{name}"
        return (beside, self.path) if name == self.module else (beside,)

    @property
    def digest(self) -> str:
        """SHA-256 over names and texts: equal digests mean equal code."""
        return _digest(self.files)

    @property
    def identity(self) -> str:
        """Equal for the same code in the same folder."""
        return f"{self.root}/{self.module}:{self.digest[:16]}"


@functools.lru_cache(maxsize=256)  # computed in every turn of every trial
def _digest(files: tuple[tuple[str, str], ...]) -> str:
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """One model with fixed hyperparameters and a seed: data, not a process.

    Args:
        id: unique within the sweep and usable as a file name, such as "007" or "cnn-002".
        member: the experiment within a mixed sweep; the sweep's name if there is only one.
        params: every parameter of `build_model` and `load_data`, with the signatures' defaults.
        data_params: the names in `params` that `load_data` takes.
        model_params: the names in `params` that `build_model` takes.
        searched: the names (`units`, `train.batch_size`, `seed`) that this sweep varies.
        inactive: those of them that do not matter for this trial, because of a condition; they have their defaults.
        folds: how many trials share its setting, each with a fold of its own in `params`; None without folds.
        callback_params: the names in `params` that `callbacks` takes; None if the experiment has no such function.
    """

    id: str
    index: int
    member: str
    source: Source
    params: Params
    data_params: tuple[str, ...]
    model_params: tuple[str, ...]
    searched: tuple[str, ...]
    train: TrainSettings
    seed: int
    inactive: tuple[str, ...] = ()
    folds: int | None = None
    callback_params: tuple[str, ...] | None = None

    @property
    def has_callbacks(self) -> bool:
        """Whether Keras callbacks take part in its training. Nobody can snapshot their state."""
        return self.callback_params is not None

    @property
    def is_chosen(self) -> bool:
        """Whether a user chose its setting while the sweep ran; it belongs to no comparison."""
        return CHOSEN in self.id

    @property
    def data_key(self) -> str:
        """Equal for trials that share one loaded data set: same folder, code and values of `load_data`'s parameters.

        The folder matters because code may read files beside it.
        """
        values = {name: encode(self.params[name]) for name in self.data_params}
        return self.source.identity + json.dumps(values, sort_keys=True, default=str)

    @property
    def likely_program(self) -> tuple[str, str]:
        """Equal for trials that probably share a compiled program: only seeds and rates, which are floats, differ."""
        if self.has_callbacks:  # which may do anything with the model, so that each trial compiles its own
            return self.member, self.id
        settings = self.settings
        shape = [(name, settings[name]) for name in self.searched if name != "seed" and name in settings]
        return self.member, repr([(name, value) for name, value in shape if not isinstance(value, float)])

    @property
    def settings(self) -> dict[str, object]:
        """The parameters, and the training settings that can be searched, by flat names.

        A parameter named seed is `params.seed` here, because `seed` is the trial's own.
        """
        train = {
            f"train.{name}": getattr(self.train, name)
            for name in ("epochs", "batch_size", "steps_per_epoch", "compile", "deterministic")
        }
        params = {"params.seed" if name == "seed" else name: value for name, value in self.params.items()}
        return {**params, **train, "seed": self.seed}

    @property
    def setting(self) -> str:
        """Equal for the repeats of one setting: trials of a member that differ in their seed and fold only."""
        own = ("seed",) if self.folds is None else ("seed", "fold")
        values = {name: value for name, value in self.settings.items() if name not in own}
        return json_text([self.member, values], sort_keys=True)

    @property
    def digest(self) -> str:
        """SHA-256 over everything that its numbers depend on except the number of epochs."""
        endless = replace(self, train=replace(self.train, epochs=0))
        return hashlib.sha256(to_json(endless).encode()).hexdigest()

    @classmethod
    def of(cls, plain: Plain) -> Self:
        """The trial whose `to_json` gave these plain values."""
        source = dict(plain["source"])
        source["files"] = tuple((name, text) for name, text in source["files"])
        lists = ("data_params", "model_params", "searched", "inactive", "callback_params")
        names = {name: tuple(plain[name]) for name in lists if plain.get(name) is not None}
        made = {
            "params": decode(plain["params"]),
            "source": Source(**source),
            "train": TrainSettings.of(plain["train"]),
        }
        return cls(**{**plain, **names, **made})


def to_json(record: DataclassInstance) -> str:
    """A record as JSON text with sorted keys; parameters as `json_values.encode` writes them."""
    plain = asdict(record)
    if isinstance(record, Trial):
        plain["params"] = encode(plain["params"])
    return json.dumps(plain, sort_keys=True, default=str)

"""The config's schema: every key with its default, and what is allowed. Defaults live here and in `records` only."""

from __future__ import annotations

import functools
import warnings
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from runner import records
from runner.config.kinds import (
    MAX_SEED,
    Amount,
    Auto,
    Count,
    File,
    Mebibytes,
    Metric,
    Mode,
    Natural,
    Params,
    Seconds,
    Seed,
    Share,
    Sweeps,
    Switch,
    Tags,
    Text,
    allowed,
)
from runner.config.origins import Origins, Values
from runner.experiment.annotations import Type

MAX_TRIALS = 10_000
DEFAULT_TRIALS = 16

_STOPPING = records.EarlyStopping()
_PLATEAU = records.ReduceLROnPlateau()
_TRAIN = records.TrainSettings()

Sampler = Literal["auto", "grid", "random", "qmc", "tpe", "cmaes", "points"]


class Section(BaseModel):
    """Base of every section: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: object) -> None:
        """Describes every field by its type."""
        for field in cls.model_fields.values():
            field.description = allowed(field.annotation, field.metadata)


class EarlyStopping(Section):
    """Stops a trial whose monitored metric no longer improves, as `keras.callbacks.EarlyStopping`."""

    monitor: Metric = _STOPPING.monitor
    min_delta: Amount = _STOPPING.min_delta
    patience: Natural = _STOPPING.patience
    mode: Mode = _STOPPING.mode
    baseline: float | None = _STOPPING.baseline
    start_from_epoch: Natural = _STOPPING.start_from_epoch
    restore_best: bool = _STOPPING.restore_best


class ReduceLROnPlateau(Section):
    """Lowers the learning rate on a plateau, as `keras.callbacks.ReduceLROnPlateau`."""

    monitor: Metric = _PLATEAU.monitor
    factor: Annotated[float, Field(gt=0, lt=1), "a number between 0 and 1"] = _PLATEAU.factor
    patience: Natural = _PLATEAU.patience
    min_delta: Amount = _PLATEAU.min_delta
    mode: Mode = _PLATEAU.mode
    cooldown: Natural = _PLATEAU.cooldown
    min_lr: Amount = _PLATEAU.min_lr


class Train(Section):
    """How trials are trained."""

    epochs: Count = _TRAIN.epochs
    steps_per_epoch: Annotated[Count | None, "a whole number above 0, or null for all of the data"] = None
    batch_size: Count = _TRAIN.batch_size
    steps_per_round: Auto | Count = "auto"
    shuffle: bool = _TRAIN.shuffle
    validate_every: Annotated[Count, "a whole number above 0 (epochs)"] = _TRAIN.validate_every
    compile: Literal["auto", "graph", "xla"] = "auto"
    deterministic: bool = _TRAIN.deterministic
    early_stopping: EarlyStopping | None = None
    reduce_lr_on_plateau: ReduceLROnPlateau | None = None
    max_seconds: Annotated[Seconds | None, "a number above 0 (seconds), or null for no limit"] = None


class MemberSearch(Section):
    """A member's own search; what it leaves out is as in `search`."""

    sampler: Sampler | None = None
    metric: Metric | None = None
    goal: Annotated[records.Goal | None, "maximize, minimize, or null where the metric's name tells it"] = None
    max_trials: Annotated[int, Field(ge=1, le=MAX_TRIALS), f"a whole number from 1 to {MAX_TRIALS}"] | None = None
    space: Annotated[Values, "a mapping of names to lists or search strings"] = {}
    points: Annotated[
        list[Values], Field(max_length=MAX_TRIALS), "a list of mappings, one for each trial, or a CSV file"
    ] = []
    when: Annotated[Values, "a mapping of names to the values of others for which they matter"] = {}
    constraints: Annotated[list[Text], "a list of relations such as units_1 <= units_0"] = []


class Population(Section):
    """Population-based training: at intervals the worst trials go on from the states of the best with other values."""

    interval: Annotated[Count, "a whole number above 0 (epochs)"] = 1
    fraction: Annotated[float, Field(gt=0, le=0.5), "a number above 0, at most 0.5"] = 0.25
    resample: Annotated[float, Field(ge=0, le=1), "a number from 0 to 1"] = 0.25
    factor: Annotated[float, Field(gt=1, le=1000), "a number above 1"] = 1.2


class Search(MemberSearch):
    """What is searched, and how."""

    sampler: Sampler = "auto"
    seed: Annotated[Seed | None, f"a whole number from 0 to {MAX_SEED}, or null for the first of seed"] = None
    repeats: Annotated[int, Field(ge=1, le=1000, strict=True), "a whole number from 1 to 1000"] = 1
    folds: Annotated[
        Annotated[int, Field(ge=2, le=1000, strict=True)] | None, "a whole number from 2 to 1000, or null"
    ] = None
    warm_start: Sweeps = []
    wave: Auto | Count = "auto"
    stop: Annotated[Literal["halving", "hyperband", "median"] | None, "halving, hyperband, median, or null"] = None
    factor: Annotated[int, Field(ge=2, le=1000, strict=True), "a whole number from 2 to 1000"] = 3
    min_epochs: Count = 1
    population: Population | None = None
    target: Annotated[float | None, "a value of the metric, or null"] = None
    max_steps: Annotated[Count | None, "a whole number above 0, or null for no limit"] = None
    max_hours: Annotated[
        Annotated[float, Field(gt=0, le=1e6)] | None, "a number above 0 (hours), or null for no limit"
    ] = None

    @property
    def compares(self) -> bool:
        """Whether trials wait for each other, to be compared."""
        return self.stop is not None or self.population is not None


class MemberConfig(Section):
    """One experiment of a mixed sweep; what it leaves out is as at the top."""

    experiment: File
    params: Params = {}
    search: MemberSearch = MemberSearch()
    train: Train = Train()


class Resources(Section):
    """What one slot gets; `auto` is decided for the machine at hand."""

    num_gpus: Annotated[Auto | Share, "auto, a fraction of a GPU up to 1 (such as 0.33), or a whole number of GPUs"] = (
        "auto"
    )
    num_cpus: Auto | Annotated[float, Field(gt=0, le=4096), "a number above 0"] = "auto"
    gpu_memory_mib: Auto | Mebibytes = "auto"
    gpu_overhead_mib: Auto | Annotated[Natural, "a whole number, 0 or above (MiB)"] = "auto"
    memory_mib: Auto | Mebibytes = "auto"
    max_concurrent: Auto | Count = "auto"
    stack: Annotated[
        Literal["auto", "off"] | Annotated[int, Field(ge=2, le=4096, strict=True)],
        "auto, off, or a whole number from 2 to 4096",
    ] = "off"
    mps: Switch = "auto"


with warnings.catch_warnings():
    warnings.filterwarnings("ignore", 'Field name "register"')  # pydantic's classes have a function of that name

    class Tracking(Section):
        """The MLflow store, and the experiment in it."""

        uri: Annotated[Text, "auto or an MLflow tracking URI"] = "auto"
        mlflow_experiment: Annotated[Text, "auto or text"] = "auto"
        required: bool = True
        tags: Tags = {}
        register: Annotated[
            Annotated[str, Field(pattern=r"^[^/:.%\"']{1,250}$")] | None,
            "a name without / : . % and quotation marks, or null",
        ] = None
        system_metrics_every_s: Annotated[Seconds | None, "a number above 0 (seconds), or null for none"] = 10.0


class Fleet(Section):
    """Where workers run."""

    kind: Literal["ray", "local"] = "ray"
    address: Annotated[Text | None, "a Ray address, or null for this machine"] = None
    first_turn_timeout_s: Seconds = 600.0
    turn_timeout_s: Seconds = 30.0
    nice: Annotated[int, Field(ge=0, le=19), "a whole number from 0 to 19"] = 0


class Recovery(Section):
    """What happens to trials that lose their worker, or their sweep."""

    snapshot_every_s: Seconds | None = 60.0
    max_failures: Natural = 3
    max_failed_trials: Natural | None = None


class Keep(Section):
    """What of trials that have ended stays on the disk."""

    models: Annotated[
        Literal["all", "none"] | Count, "all, none, or a whole number above 0 (the best of each member)"
    ] = "all"
    snapshots: bool = False


class Config(Section):
    """One sweep, resolved. `search` and `members` are as written; `resolve_members` reads them."""

    name: Annotated[
        str,
        Field(pattern=r"^\w[\w.-]{0,79}$"),
        "auto (the experiment file's name), or letters, digits, '_', '.' and '-'",
    ] = "auto"
    experiment: File | None = None
    members: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")], MemberConfig],
        "a mapping of names (letters, digits, '_', '-') to members",
    ] = {}
    params: Params = {}
    search: Search = Search()
    train: Train = Train()
    resources: Resources = Resources()
    tracking: Tracking = Tracking()
    fleet: Fleet = Fleet()
    recovery: Recovery = Recovery()
    keep: Keep = Keep()
    schedule: Literal["queue", "rotate"] = "queue"
    report: bool = True
    notify: Annotated[
        Text | Annotated[list[Text], Field(min_length=1)] | None,
        "a command as text or as a list of its arguments, or null",
    ] = None
    seed: Annotated[
        Seed | Annotated[list[Seed], Field(min_length=1, max_length=1000)],
        f"a whole number from 0 to {MAX_SEED}, or a list of them",
    ] = 0

    _origins: Origins = PrivateAttr(default_factory=Origins)

    @property
    def origins(self) -> Origins:
        """The place of each value, in a file or on the command line; not part of the config."""
        return self._origins

    def with_origins(self, origins: Origins) -> Config:
        """The same config that knows where its values came from."""
        copy = self.model_copy()
        copy._origins = origins
        return copy


def default_values() -> Values:
    """Every key's default as plain values, as `conf/config.yaml` lists them."""
    return Config().model_dump()


@functools.cache
def setting_type(name: str) -> Type:
    """What `seed` or a setting such as `train.epochs` may be."""
    if name == "seed":
        return Type(f"a whole number from 0 to {MAX_SEED}", Seed)
    field = Train.model_fields[name.removeprefix("train.")]
    return Type(str(field.description), Annotated[field.annotation, *field.metadata])


def section_of(annotation: object) -> type[Section] | None:
    """The section that a field holds, or whose mapping it is; None for a plain value."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next(filter(None, map(section_of, get_args(annotation))), None)

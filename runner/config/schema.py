"""The config's schema: every key with its default, and what is allowed. Defaults live here and nowhere else.

A field's description completes the sentence "must be ...": errors and documentation use it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr

from runner import records
from runner.config.origins import Origins

MAX_SEED = 2**31 - 1
MAX_TRIALS = 10_000
DEFAULT_RANDOM_TRIALS = 16

_STOPPING = records.EarlyStopping()
_PLATEAU = records.ReduceLROnPlateau()
_TRAIN = records.TrainSettings()

MODE = "auto (by the metric's name), min or max"
METRIC = "the name of an epoch metric, such as val_loss"
COUNT = "a whole number above 0"
NATURAL = "a whole number, 0 or above"
SECONDS = "a number above 0 (seconds)"


def _gpu_share(value: float) -> float:
    if value > 1 and value != int(value):
        raise ValueError(f"got {value:g}")
    return value


Count = Annotated[int, Field(gt=0, le=2**31)]
Natural = Annotated[int, Field(ge=0, le=2**31)]
Seconds = Annotated[float, Field(gt=0, le=1e9)]
GpuShare = Annotated[float, Field(ge=0, le=1024), AfterValidator(_gpu_share)]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Sampler = Literal["auto", "grid", "random", "points"]


class Section(BaseModel):
    """Base of every section: frozen, no unknown keys, no silent conversion of types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class EarlyStopping(Section):
    """Stops a trial whose monitored metric no longer improves, as `keras.callbacks.EarlyStopping`."""

    monitor: Text = Field(default=_STOPPING.monitor, description=METRIC)
    min_delta: float = Field(default=_STOPPING.min_delta, ge=0, description="a number, 0 or above")
    patience: Natural = Field(default=_STOPPING.patience, description=NATURAL)
    mode: records.Mode = Field(default=_STOPPING.mode, description=MODE)
    baseline: float | None = Field(default=_STOPPING.baseline, description="a number or null")
    start_from_epoch: Natural = Field(default=_STOPPING.start_from_epoch, description=NATURAL)
    restore_best: bool = Field(default=_STOPPING.restore_best, description="true or false")


class ReduceLROnPlateau(Section):
    """Lowers the learning rate on a plateau, as `keras.callbacks.ReduceLROnPlateau`."""

    monitor: Text = Field(default=_PLATEAU.monitor, description=METRIC)
    factor: float = Field(default=_PLATEAU.factor, gt=0, lt=1, description="a number between 0 and 1")
    patience: Natural = Field(default=_PLATEAU.patience, description=NATURAL)
    min_delta: float = Field(default=_PLATEAU.min_delta, ge=0, description="a number, 0 or above")
    mode: records.Mode = Field(default=_PLATEAU.mode, description=MODE)
    cooldown: Natural = Field(default=_PLATEAU.cooldown, description=NATURAL)
    min_lr: float = Field(default=_PLATEAU.min_lr, ge=0, description="a number, 0 or above")


class Train(Section):
    """How trials are trained."""

    epochs: Count = Field(default=_TRAIN.epochs, description=COUNT)
    steps_per_epoch: Count | None = Field(
        default=_TRAIN.steps_per_epoch, description=f"{COUNT}, or null for all of the data"
    )
    batch_size: Count = Field(default=_TRAIN.batch_size, description=COUNT)
    steps_per_round: Count | Literal["auto"] = Field(default="auto", description=f"{COUNT}, or auto")
    shuffle: bool = Field(default=_TRAIN.shuffle, description="true or false")
    validate_every: Count = Field(default=_TRAIN.validate_every, description=f"{COUNT} (epochs)")
    compile: Literal["auto", "graph", "xla"] = Field(default="auto", description="auto, graph or xla")
    deterministic: bool = Field(default=_TRAIN.deterministic, description="true or false")
    early_stopping: EarlyStopping | None = Field(default=None, description="a section or null")
    reduce_lr_on_plateau: ReduceLROnPlateau | None = Field(default=None, description="a section or null")


Space = dict[str, Any]
Points = Annotated[list[dict[str, Any]], Field(max_length=MAX_TRIALS)]
SPACE = "a mapping of names to lists or search strings"
POINTS = "a list of mappings, one for each trial"
PARAMS = "a mapping of parameter names to values"
METRIC_OR_NULL = f"{METRIC}, or null"
GOAL = "maximize, minimize, or null where the metric's name tells it"
SAMPLER = "auto, grid, random or points"
TRIALS = f"a whole number from 1 to {MAX_TRIALS}, or null"


class Search(Section):
    """What is searched, and how."""

    sampler: Sampler = Field(default="auto", description=SAMPLER)
    metric: Text | None = Field(default=None, description=METRIC_OR_NULL)
    goal: records.Goal | None = Field(default=None, description=GOAL)
    max_trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] | None = Field(default=None, description=TRIALS)
    space: Space = Field(default_factory=dict, description=SPACE)
    points: Points = Field(default_factory=list, description=POINTS)


class MemberSearch(Section):
    """A member's own search; what it leaves out is as in `search`."""

    sampler: Sampler | None = Field(default=None, description=SAMPLER)
    metric: Text | None = Field(default=None, description=METRIC_OR_NULL)
    goal: records.Goal | None = Field(default=None, description=GOAL)
    max_trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] | None = Field(default=None, description=TRIALS)
    space: Space = Field(default_factory=dict, description=SPACE)
    points: Points = Field(default_factory=list, description=POINTS)


class MemberConfig(Section):
    """One experiment of a mixed sweep; what it leaves out is as at the top."""

    experiment: Text = Field(description="the path of an experiment file")
    params: dict[str, Any] = Field(default_factory=dict, description=PARAMS)
    search: MemberSearch = Field(default_factory=lambda: MemberSearch(), description="a section")
    train: Train = Field(default_factory=lambda: Train(), description="a section")


class Resources(Section):
    """What one slot gets; `auto` is decided for the machine at hand."""

    num_gpus: Literal["auto"] | GpuShare = Field(
        default="auto", description="auto, a fraction of a GPU up to 1 (such as 0.33), or a whole number of GPUs"
    )
    num_cpus: Literal["auto"] | Annotated[float, Field(gt=0, le=4096)] = Field(
        default="auto", description="auto or a number above 0"
    )
    gpu_memory_mib: Literal["auto"] | Count = Field(default="auto", description=f"auto or {COUNT} (MiB)")
    gpu_overhead_mib: Literal["auto"] | Natural = Field(default="auto", description=f"auto or {NATURAL} (MiB)")
    memory_mib: Literal["auto"] | Count = Field(default="auto", description=f"auto or {COUNT} (MiB)")
    max_concurrent: Literal["auto"] | Count = Field(default="auto", description=f"auto or {COUNT}")


class Tracking(Section):
    """Where MLflow stores runs."""

    uri: Text = Field(default="auto", description="auto or an MLflow tracking URI")
    mlflow_experiment: Text = Field(default="auto", description="auto or text")
    required: bool = Field(default=True, description="true or false")


class Fleet(Section):
    """Where workers run."""

    kind: Literal["ray", "local"] = Field(default="ray", description="ray or local")
    address: Text | None = Field(default=None, description="a Ray address, or null for this machine")
    first_turn_timeout_s: Seconds = Field(default=600.0, description=SECONDS)
    turn_timeout_s: Seconds = Field(default=30.0, description=SECONDS)
    nice: Annotated[int, Field(ge=0, le=19)] = Field(default=0, description="a whole number from 0 to 19")


class Recovery(Section):
    """What becomes of trials that lose their worker, or their sweep."""

    snapshot_every_s: Seconds | None = Field(default=60.0, description=f"{SECONDS}, or null")
    max_failures: Natural = Field(default=3, description=NATURAL)
    max_failed_trials: Natural | None = Field(default=None, description=f"{NATURAL}, or null")


class Keep(Section):
    """What of trials that have ended stays on the disk."""

    models: Literal["all", "none"] | Count = Field(
        default="all", description="all, none, or a whole number above 0 (the best of each member)"
    )
    snapshots: bool = Field(default=False, description="true or false")


class Config(Section):
    """One sweep, resolved. `search` and `members` are as written; `resolve_members` reads them."""

    name: str = Field(
        default="auto",
        pattern=r"^\w[\w.-]{0,79}$",
        description="auto (the experiment file's name), or letters, digits, '_', '.' and '-'",
    )
    experiment: Text | None = Field(default=None, description="the path of an experiment file, or null")
    members: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")], MemberConfig] = Field(
        default_factory=dict, description="a mapping of names (letters, digits, '_', '-') to members"
    )
    params: dict[str, Any] = Field(default_factory=dict, description=PARAMS)
    search: Search = Field(default_factory=lambda: Search(), description="a section")
    train: Train = Field(default_factory=lambda: Train(), description="a section")
    resources: Resources = Field(default_factory=lambda: Resources(), description="a section")
    tracking: Tracking = Field(default_factory=lambda: Tracking(), description="a section")
    fleet: Fleet = Field(default_factory=lambda: Fleet(), description="a section")
    recovery: Recovery = Field(default_factory=lambda: Recovery(), description="a section")
    keep: Keep = Field(default_factory=lambda: Keep(), description="a section")
    schedule: Literal["queue", "rotate"] = Field(default="queue", description="queue or rotate")
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = Field(
        default=0, description=f"a whole number from 0 to {MAX_SEED}"
    )

    _origins: Origins = PrivateAttr(default_factory=Origins)

    @property
    def origins(self) -> Origins:
        """Where each value came from; no part of what the config says."""
        return self._origins

    def with_origins(self, origins: Origins) -> Config:
        """The same config that knows where its values came from."""
        copy = self.model_copy()
        copy._origins = origins
        return copy


def default_values() -> dict[str, Any]:
    """Every key's default as plain values, as `conf/config.yaml` lists them."""
    return Config().model_dump()

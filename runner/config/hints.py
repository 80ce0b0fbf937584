"""What users of Keras, KerasTuner, Optuna, Ray Tune and W&B call things, and what they are called here."""

from __future__ import annotations

from collections.abc import Collection, Iterable


def _table(text: str) -> dict[str, str]:
    """Reads lines of `meaning <- name name ...`: each name with its meaning."""
    pairs = (line.split(" <- ") for line in text.strip().splitlines())
    return {name: meaning for meaning, names in pairs for name in names.split()}


KEYS = _table("""
search.max_trials <- num_samples n_trials num_trials trials count n_iter max_evals
search.goal <- direction mode goal
search.metric <- objective metric monitor optimize
search.sampler <- method search_alg algo algorithm tuner strategy
resources.num_gpus <- gpus gpu num_gpu gpus_per_trial gpu_per_trial
resources.num_cpus <- cpus cpu num_cpu cpus_per_trial cpu_per_trial threads
resources.max_concurrent <- max_concurrent_trials n_jobs concurrency workers num_workers parallel max_workers
train.epochs <- epoch num_epochs n_epochs max_epochs training_iteration
train.batch_size <- batch bs batchsize
seed <- random_seed random_state seeds
tracking.mlflow_experiment <- project entity experiment_name project_name
name <- run_name study_name
tracking.uri <- tracking_uri storage mlflow_uri
search.space <- search_space param_space hyperparameters parameters param_distributions
params <- hparams param hp
""")
"""Other names of keys, by themselves or as the last part of a key."""

_NO_RUNGS = "no rule here compares trials to stop them; use random with search.max_trials, and train.early_stopping"
_NOT_ADAPTIVE = (
    "all trials are known before the first step, and none is proposed from the results of others; "
    "use random with search.max_trials"
)
ABSENT = _table(f"""
it belongs into `model.compile(...)` in build_model, which may take it as a parameter <- optimizer loss metrics
load_data returns the validation split: (x, y), (x_val, y_val) <- validation_split validation_data
{_NO_RUNGS} <- scheduler pruner pruning hyperband asha
several seeds repeat each trial: seed=0,1,2 <- executions_per_trial
write 'train.early_stopping={{patience: 3}}' <- patience early_stop
a sweep has no time limit: Ctrl-C ends it, and `resume` continues it <- timeout time_budget_s time_budget max_time
a terminal shows a table; `sweep ... | cat` prints lines <- verbose
sweeps are recorded in ./sweeps: start in the folder that shall hold them <- directory local_dir storage_path output out
sweeps are recorded in ./sweeps: start in the folder that shall hold them <- log_dir
the optimizer has the learning rate: let build_model take it as a parameter, set params.NAME <- lr learning_rate
Hydra's own settings are not used here <- hydra
""")
"""What is no key here, and what to do instead."""

CALLBACKS = _table("""
is not needed: every trial's model is exported to MLflow <- model_checkpoint
is not needed: every finished round is in the sweep's journal <- backup_and_restore
is not needed: a trial whose loss is not finite always ends <- terminate_on_nan
is not needed: metrics are logged to MLflow; see them with `runner ui` <- tensorboard
is not needed: metrics are logged to MLflow; `runner results --csv` writes them <- csv_logger
is not needed: metrics are logged to MLflow <- remote_monitor history
is not needed: the console shows every round <- progbar_logger
is not supported: give the optimizer a schedule of keras.optimizers.schedules <- learning_rate_scheduler
is not supported: set use_ema in the optimizer, and swap weights in a custom train_step <- swap_ema_weights
is not supported: write a custom train_step in the model <- lambda_callback
is not supported: use early_stopping, reduce_lr_on_plateau, or a custom train_step in the model <- callbacks
""")
"""Callbacks of Keras, and what to use instead."""

SAMPLERS = _table(f"""
{_NO_RUNGS} <- asha hyperband bohb successive_halving sha median pbt
{_NOT_ADAPTIVE} <- tpe bayes bayesian gp cmaes cma optuna hyperopt skopt
did you mean grid? <- grid_search gridsearch gridsampler
did you mean random? <- random_search randomsearch randomsampler qmc sobol
""")
GOALS = _table("""
did you mean maximize? <- max maximise higher
did you mean minimize? <- min minimise lower
""")
VALUES: dict[tuple[str, ...], dict[str, str]] = {("search", "sampler"): SAMPLERS, ("search", "goal"): GOALS}
"""What other tools write as a key's value."""

FUNCTIONS = _table("""
interval(low, high) <- uniform suggest_float suggest_uniform Float hp.uniform
loguniform(low, high) <- log_uniform log_uniform_values suggest_loguniform qloguniform logUniform
range(start, stop, step) <- randint suggest_int Int quniform lograndint int_uniform arange
choice(a, b) <- grid_search suggest_categorical Choice categorical values list
""")
"""Search functions of other tools."""

PARAMETERS = _table("""
KerasTuner's hp <- hp hps
Optuna's trial <- trial
a dictionary of hyperparameters, as Ray Tune and W&B pass it, <- config
""")
"""Parameters of `build_model` as other tools call it."""

VERBS = _table("""
`sweep EXPERIMENT.py` trains, one trial or many <- run train tune fit search start launch optimize agent multirun
Ctrl-C in its terminal, or SIGTERM to its process, ends a sweep cleanly; `resume` continues it <- stop kill cancel
Ctrl-C in its terminal, or SIGTERM to its process, ends a sweep cleanly; `resume` continues it <- pause abort
`resume SWEEP` continues a sweep <- continue restart restore
`list` shows the sweeps of this folder <- ls ps sweeps runs
`results SWEEP` shows a sweep's trials, best first <- status show trials leaderboard summary history
`best SWEEP --export DIR` writes its model, for plain Keras <- export save download get predict evaluate model
`ui` serves MLflow's pages on 127.0.0.1 <- dashboard tensorboard view open server serve web
`plan EXPERIMENT.py` prints what `sweep` would do <- dry-run preview explain validate expand
`doctor` examines this machine and says what to do <- check info diagnose env
`sync SWEEP` sends to MLflow what it lacks of a sweep <- upload push log
a sweep is a folder below sweeps/: delete it there <- delete rm remove
write a file with load_data and build_model, then `sweep FILE.py` <- init new create
--help, also after a verb <- help
--version <- version
""")
"""Verbs of other tools."""

OPTIONS = _table("""
--config-name names a YAML file of the config folder, --config-dir the folder <- config
several values make a sweep by themselves: params.units=16,32 <- multirun m
`python -m runner resume` continues a sweep <- resume
`python -m runner plan` prints what `sweep` would do <- dry_run
--debug shows tracebacks <- verbose
name the experiment's file alone: sweep EXPERIMENT.py <- experiment
""")
"""Options of other tools that are no key."""


def for_key(name: str, parameters: Collection[str] = ()) -> str | None:
    """What to write for an unknown key; None if nothing is known about it.

    Args:
        name: the key's last part.
        parameters: of the experiment.
    """
    synonym = {"lr": "learning_rate", "learning_rate": "lr"}.get(name)
    meant = next((f"params.{found}" for found in (name, synonym) if found in parameters), KEYS.get(name))
    return f"did you mean {meant}?" if meant else ABSENT.get(name)


def for_value(key: tuple[str, ...], value: object) -> str | None:
    """What to write instead of a value that is not allowed."""
    return VALUES.get(key[-2:], {}).get(value.lower()) if isinstance(value, str) else None


def for_parameter(name: str) -> str | None:
    """What to do if `build_model` takes what another tool passes."""
    if name not in PARAMETERS:
        return None
    return (
        f"{PARAMETERS[name]} is not passed here: take each hyperparameter by itself, as in "
        "build_model(units: int = 32), and search it with params.units=16,32"
    )


def for_option(option: str, value: str | None, keys: Iterable[str]) -> str:
    """What to write for an unknown option, because settings have no dashes.

    Args:
        option: as written, such as `--epochs`.
        value: what follows it, if that is its value.
        keys: the config's, dotted.
    """
    written, _, own = option.lstrip("-").partition("=")
    name = written.replace("-", "_")
    if name in OPTIONS:
        return OPTIONS[name]
    full = next((key for key in keys if key == name or key.endswith(f".{name}")), KEYS.get(name))
    if full is None and name in ABSENT:
        return ABSENT[name]
    key = full or (name if "." in name else f"params.{name}")
    return f"settings are written without dashes, as key=value: {key}={own or value or 'VALUE'}"


def for_verb(name: str) -> str | None:
    """What to call instead of an unknown verb."""
    return f"`sweep {name}` trains it" if name.endswith(".py") else VERBS.get(name.lower())


def for_metric(metric: str, produced: Iterable[str]) -> str | None:
    """The metric that is probably meant, of those that there are."""
    names = list(produced)
    plain = metric.lower().replace("/", "_").replace("-", "_")
    for prefix in ("validation_", "valid_", "eval_", "dev_"):
        plain = f"val_{plain.removeprefix(prefix)}" if plain.startswith(prefix) else plain
    if plain.endswith("_val"):
        plain = f"val_{plain.removesuffix('_val')}"
    options = [plain, plain.removeprefix("train_")]
    options += [f"{name[:-3]}accuracy" for name in options if name == "acc" or name.endswith("_acc")]
    options += [f"{name[:-8]}acc" for name in options if name == "accuracy" or name.endswith("_accuracy")]
    return next((name for name in options if name in names and name != metric), None)

"""What users of Keras, KerasTuner, Optuna, Ray Tune and W&B call things, and what they are called here."""

from __future__ import annotations

from collections.abc import Collection, Iterable

_TRIALS = "search.max_trials"
_COMPILE = "it belongs into `model.compile(...)` in build_model, which may take it as a parameter"
_VALIDATION = "load_data returns the validation split: (x, y), (x_val, y_val)"
_ADAPTIVE = (
    "trials are all known before the first step, and none is proposed from others' results; "
    "use random with search.max_trials"
)
_RUNGS = "no rule here compares trials to stop them; use random with search.max_trials, and train.early_stopping"

KEYS = {
    **dict.fromkeys(("num_samples", "n_trials", "num_trials", "trials", "count", "n_iter", "max_evals"), _TRIALS),
    **dict.fromkeys(("direction", "mode", "goal"), "search.goal"),
    **dict.fromkeys(("objective", "metric", "monitor", "optimize"), "search.metric"),
    **dict.fromkeys(("method", "search_alg", "algo", "algorithm", "tuner", "strategy"), "search.sampler"),
    **dict.fromkeys(("gpus", "gpu", "num_gpu", "gpus_per_trial", "gpu_per_trial"), "resources.num_gpus"),
    **dict.fromkeys(("cpus", "cpu", "num_cpu", "cpus_per_trial", "cpu_per_trial", "threads"), "resources.num_cpus"),
    **dict.fromkeys(
        ("max_concurrent_trials", "n_jobs", "concurrency", "workers", "num_workers", "parallel", "max_workers"),
        "resources.max_concurrent",
    ),
    **dict.fromkeys(("epoch", "num_epochs", "n_epochs", "max_epochs", "training_iteration"), "train.epochs"),
    **dict.fromkeys(("batch", "bs", "batchsize"), "train.batch_size"),
    **dict.fromkeys(("random_seed", "random_state", "seeds"), "seed"),
    **dict.fromkeys(("project", "entity", "experiment_name", "project_name"), "tracking.mlflow_experiment"),
    **dict.fromkeys(("run_name", "study_name"), "name"),
    **dict.fromkeys(("tracking_uri", "storage", "mlflow_uri"), "tracking.uri"),
    **dict.fromkeys(("search_space", "param_space", "hyperparameters", "parameters", "param_distributions"),
                    "search.space"),
    **dict.fromkeys(("hparams", "param", "hp"), "params"),
}  # fmt: skip
"""Other names of keys, by themselves or as the last part of a key."""

ABSENT = {
    **dict.fromkeys(("optimizer", "loss", "metrics"), _COMPILE),
    **dict.fromkeys(("validation_split", "validation_data"), _VALIDATION),
    **dict.fromkeys(("scheduler", "pruner", "pruning", "hyperband", "asha"), _RUNGS),
    "executions_per_trial": "several seeds repeat each trial: seed=0,1,2",
    **dict.fromkeys(("patience", "early_stop"), "write 'train.early_stopping={patience: 3}'"),
    **dict.fromkeys(
        ("timeout", "time_budget_s", "max_time", "time_budget"),
        "a sweep has no limit in time: Ctrl-C ends it in good order, and `resume` goes on",
    ),
    "verbose": "a terminal shows a table; `sweep ... | cat` prints lines",
    **dict.fromkeys(("directory", "local_dir", "storage_path", "output", "out", "log_dir"),
                    "sweeps are recorded in ./sweeps: start in the folder that shall have them"),
    **dict.fromkeys(("lr", "learning_rate"),
                    "the learning rate is the optimizer's: let build_model take it as a parameter, set params.NAME"),
}  # fmt: skip
"""What is no key here, and what there is instead."""

SAMPLERS = {
    **dict.fromkeys(("asha", "hyperband", "bohb", "successive_halving", "sha", "median", "pbt"), _RUNGS),
    **dict.fromkeys(("tpe", "bayes", "bayesian", "gp", "cmaes", "cma", "optuna", "hyperopt", "skopt"), _ADAPTIVE),
    **dict.fromkeys(("grid_search", "gridsearch", "gridsampler"), "did you mean grid?"),
    **dict.fromkeys(("random_search", "randomsearch", "randomsampler", "qmc", "sobol"), "did you mean random?"),
}  # fmt: skip
GOALS = dict.fromkeys(("max", "maximise", "higher"), "did you mean maximize?")
GOALS |= dict.fromkeys(("min", "minimise", "lower"), "did you mean minimize?")
VALUES: dict[tuple[str, ...], dict[str, str]] = {("search", "sampler"): SAMPLERS, ("search", "goal"): GOALS}
"""What else is written for a key's value."""

FUNCTIONS = {
    **dict.fromkeys(("uniform", "suggest_float", "suggest_uniform", "Float", "hp.uniform"), "interval(low, high)"),
    **dict.fromkeys(("log_uniform", "log_uniform_values", "suggest_loguniform", "qloguniform", "logUniform"),
                    "loguniform(low, high)"),
    **dict.fromkeys(("randint", "suggest_int", "Int", "quniform", "lograndint", "int_uniform", "arange"),
                    "range(start, stop, step)"),
    **dict.fromkeys(("grid_search", "suggest_categorical", "Choice", "categorical", "values", "list"), "choice(a, b)"),
}  # fmt: skip
"""Other tools' search functions."""

PARAMETERS = {
    "hp": "KerasTuner's hp",
    "hps": "KerasTuner's hp",
    "trial": "Optuna's trial",
    "config": "a dictionary of hyperparameters, as Ray Tune and W&B pass it,",
}
"""Parameters of `build_model` as other tools call it."""

VERBS = {
    **dict.fromkeys(("run", "train", "tune", "fit", "search", "start", "launch", "optimize", "agent", "multirun"),
                    "`sweep EXPERIMENT.py` trains, one trial or many"),
    **dict.fromkeys(("stop", "kill", "cancel", "pause", "abort"),
                    "Ctrl-C in its terminal, or SIGTERM to its process, ends a sweep in good order; `resume` goes on"),
    **dict.fromkeys(("continue", "restart", "restore"), "`resume SWEEP` goes on with a sweep"),
    **dict.fromkeys(("ls", "ps", "sweeps", "runs"), "`list` shows the sweeps of this folder"),
    **dict.fromkeys(("status", "show", "trials", "leaderboard", "summary", "history"),
                    "`results SWEEP` shows a sweep's trials, best first"),
    **dict.fromkeys(("export", "save", "download", "get", "predict", "evaluate", "model"),
                    "`best SWEEP --export DIR` writes its model, for plain Keras"),
    **dict.fromkeys(("dashboard", "tensorboard", "view", "open", "server", "serve", "web"),
                    "`ui` serves MLflow's pages on 127.0.0.1"),
    **dict.fromkeys(("dry-run", "preview", "explain", "validate", "expand"),
                    "`plan EXPERIMENT.py` prints what `sweep` would do"),
    **dict.fromkeys(("check", "info", "diagnose", "env"), "`doctor` looks at this machine and says what to do"),
    **dict.fromkeys(("upload", "push", "log"), "`sync SWEEP` sends to MLflow what it lacks of a sweep"),
    **dict.fromkeys(("delete", "rm", "remove"), "a sweep is a folder below sweeps/: delete it there"),
    **dict.fromkeys(("init", "new", "create"), "write a file with load_data and build_model, then `sweep FILE.py`"),
    "help": "--help, also after a verb",
    "version": "--version",
}  # fmt: skip
"""Verbs of other tools."""

OPTIONS = {
    "config": "--config-name names a YAML file of the config folder, --config-dir the folder",
    "multirun": "several values make a sweep by themselves: params.units=16,32",
    "m": "several values make a sweep by themselves: params.units=16,32",
    "resume": "`python -m runner resume` goes on with a sweep",
    "dry_run": "`python -m runner plan` prints what `sweep` would do",
    "verbose": "--debug shows tracebacks",
    "experiment": "the experiment's file is named alone: sweep EXPERIMENT.py",
}
"""Options of other tools that are no key."""


def for_key(name: str, parameters: Collection[str] = ()) -> str | None:
    """What to write for an unknown key; None where nothing is known of it.

    Args:
        name: the key's last part.
        parameters: of the experiment.
    """
    if name in parameters:
        return f"did you mean params.{name}?"
    synonyms = {"lr": "learning_rate", "learning_rate": "lr"}
    if synonyms.get(name) in parameters:
        return f"did you mean params.{synonyms[name]}?"
    if name in KEYS:
        return f"did you mean {KEYS[name]}?"
    return ABSENT.get(name)


def for_value(key: tuple[str, ...], value: object) -> str | None:
    """What to write instead of a value that is not allowed."""
    return VALUES.get(key[-2:], {}).get(value.lower()) if isinstance(value, str) else None


def for_parameter(name: str) -> str | None:
    """What to do where `build_model` takes what another tool passes."""
    if name not in PARAMETERS:
        return None
    return (
        f"{PARAMETERS[name]} is not passed here: take each hyperparameter by itself, as in "
        "build_model(units: int = 32), and search it with params.units=16,32"
    )


def for_option(option: str, value: str | None, keys: Iterable[str]) -> str:
    """What to write for an unknown option, where settings have no dashes.

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
    given = own or value or "VALUE"
    key = full or (name if "." in name else f"params.{name}")
    return f"settings are written without dashes, as key=value: {key}={given}"


def for_verb(name: str) -> str | None:
    """What to call instead of an unknown verb."""
    if name.endswith(".py"):
        return f"`sweep {name}` trains it"
    return VERBS.get(name.lower())


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

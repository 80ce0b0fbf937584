"""Names of metrics: whether higher is better, and whether an experiment can produce them at all."""

from __future__ import annotations

import ast
import difflib
import itertools
import re
from collections.abc import Iterable

from runner.config import hints
from runner.records import Goal, Mode

# Directions of Keras' own metrics (`_direction` in keras/src/metrics) and the short names that Keras accepts.
_BETTER_HIGH = (
    "accuracy acc auc precision recall f1 f1_score fbeta_score r2 r2_score cosine_similarity iou io_u "
    "top_k precision_at_recall recall_at_precision sensitivity_at_specificity specificity_at_sensitivity "
    "true_positives true_negatives pearson_correlation concordance_correlation "
)
_BETTER_LOW = (
    "loss error mse mae mape msle rmse crossentropy hinge poisson kl_divergence "
    "kullback_leibler_divergence logcosh log_cosh false_positives false_negatives perplexity "
)


def infer_goal(metric: str) -> Goal | None:
    """Whether to maximize or minimize one of Keras' own metrics.

    Args:
        metric: a name as in `History`: `val_` and an output's name may come before it, a number after it, and a
            component's index after that (`f1_score/0`).

    Returns:
        None for a name that Keras does not know.
    """
    name = re.sub(r"_\d+$", "", base_name(metric))
    if name.startswith("r2"):
        return "maximize"
    for goal, endings in (("minimize", _BETTER_LOW.split()), ("maximize", _BETTER_HIGH.split())):
        if any(name == ending or name.endswith(f"_{ending}") for ending in endings):
            return "minimize" if goal == "minimize" else "maximize"
    return None


def resolved_mode(mode: Mode, monitor: str) -> Mode:
    """`min` or `max` for a monitor; `auto` stays if its name does not decide, an error as in Keras."""
    goal = infer_goal(monitor)
    if mode != "auto" or goal is None:
        return mode
    return "min" if goal == "minimize" else "max"


def base_name(metric: str) -> str:
    """The metric without `val_` and without a component's index."""
    return re.sub(r"(/\d+)+$", "", metric.removeprefix("val_"))


def closest_produced(metric: str, texts: Iterable[str]) -> str | None:
    """Looks for a metric in an experiment's source.

    Args:
        metric: the name asked for.
        texts: the experiment's files, valid Python.

    Returns:
        The name that was probably meant; None if the source mentions the metric, or nothing like it.
    """
    name = base_name(metric)
    mentioned = {"loss"} | {found for text in texts for found in _mentioned(text)}
    parts = name.split("_")
    # Keras puts an output's name before a metric's and a number after it.
    spans = itertools.combinations(range(len(parts) + 1), 2)
    if any("_".join(parts[start:end]) in mentioned for start, end in spans):
        return None
    meant = hints.for_metric(metric, mentioned | {f"val_{found}" for found in mentioned})
    if meant is not None:
        return meant
    candidates = [found for found in mentioned if infer_goal(found) is not None]
    close = difflib.get_close_matches(name, sorted(candidates), n=1, cutoff=0.8)
    return metric.replace(name, close[0], 1) if close else None


def _mentioned(text: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 100:
            found.add(node.value)
        elif isinstance(node, ast.Name | ast.Attribute | ast.FunctionDef | ast.ClassDef):
            found.add(_snake_case(_identifier(node)))
    return found


def _identifier(node: ast.Name | ast.Attribute | ast.FunctionDef | ast.ClassDef) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else node.name


def _snake_case(name: str) -> str:
    """As `keras.src.utils.naming.to_snake_case`, which makes a metric's name from its class."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()

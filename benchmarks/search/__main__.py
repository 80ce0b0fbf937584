"""`python -m benchmarks.search`: regret against epochs, for searches of this program and of Optuna."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from benchmarks.search.replay import Curve, Search, optuna_with, ours
from benchmarks.search.table import EPOCHS, TASKS, Table, read_table
from benchmarks.search.tune import tune_with

RESULTS = Path(__file__).parents[1] / "results"
FULL = 64 * EPOCHS
BUDGETS = (1 / 12, 1 / 6, 1 / 3, 1 / 2, 1.0)
SEARCHES: Mapping[str, Search] = {
    "random": ours("search.sampler=random"),
    "tpe": ours("search.sampler=tpe"),
    "random, halving": ours("search.sampler=random", "search.stop=halving"),
    "random, halving from epoch 9": ours("search.sampler=random", "search.stop=halving", "search.min_epochs=9"),
    "random, hyperband": ours("search.sampler=random", "search.stop=hyperband"),
    "random, median": ours("search.sampler=random", "search.stop=median"),
    "tpe, halving": ours("search.sampler=tpe", "search.stop=halving"),
    "Optuna random": optuna_with("random", None),
    "Optuna TPE": optuna_with("tpe", None),
    "Optuna TPE, median": optuna_with("tpe", "median"),
    "Optuna TPE, halving": optuna_with("tpe", "halving"),
    "Optuna TPE, Hyperband": optuna_with("tpe", "hyperband"),
    "Ray Tune random, ASHA": tune_with("asha"),
    "Ray Tune random, HyperBand": tune_with("hyperband"),
}


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=50, show_default=True, help="Searches of each kind.")
@click.argument("tasks", nargs=-1, type=click.Choice(list(TASKS)))
def main(seeds: int, tasks: Sequence[str]) -> None:
    """Trains the full grid of each task once, replays all searches over it, and prints their regret."""
    RESULTS.mkdir(exist_ok=True)
    for task in tasks or TASKS:
        table = read_table(task, RESULTS)
        found = {name: [search(table, seed) for seed in range(seeds)] for name, search in SEARCHES.items()}
        click.echo(report(table, found))
        plot(table, found, RESULTS / f"search-{task}.png")


def regret(table: Table, curve: Curve, epochs: float) -> float:
    """What the best setting found within these epochs lacks, from 0 to about 1."""
    losses = [loss for spent, loss in curve if spent <= epochs]
    return (min(losses) - table.best) / table.spread if losses else 1.0


def report(table: Table, found: Mapping[str, Sequence[Curve]]) -> str:
    """A table of mean regrets with their standard deviations, and TPE beside random search seed by seed."""
    head = " | ".join(f"{budget:.2f}" for budget in BUDGETS)
    lines = [f"{table.task}: mean normalized regret (± standard deviation) after a part of the full grid's epochs", ""]
    lines += [f"| search | {head} |", "|---" * (1 + len(BUDGETS)) + "|"]
    for name, curves in found.items():
        cells = []
        for budget in BUDGETS:
            values = [regret(table, curve, budget * FULL) for curve in curves]
            cells.append(f"{statistics.fmean(values):.3f} ± {statistics.pstdev(values):.3f}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    third = FULL / 3
    pairs = [
        (regret(table, tpe, third), regret(table, random, third))
        for tpe, random in zip(found["tpe"], found["random"], strict=True)
    ]
    better, worse = sum(one < other for one, other in pairs), sum(one > other for one, other in pairs)
    equal = len(pairs) - better - worse
    lines += ["", f"tpe beside random after a third, by seed: better {better}, equal {equal}, worse {worse}"]
    return "\n".join(lines) + "\n"


def plot(table: Table, found: Mapping[str, Sequence[Curve]], file: Path) -> None:
    """Mean regret against epochs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5))
    parts = [part / 60 for part in range(2, 61)]
    for name, curves in found.items():
        means = [statistics.fmean(regret(table, curve, part * FULL) for curve in curves) for part in parts]
        axes.plot(parts, means, label=name, linestyle="--" if name.startswith(("Optuna", "Ray")) else "-")
    axes.set(
        xlabel="part of the full grid's epochs", ylabel="mean normalized regret", title=table.task, yscale="symlog"
    )
    axes.set_yscale("symlog", linthresh=0.01)
    axes.legend(fontsize=7)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)


if __name__ == "__main__":
    main()

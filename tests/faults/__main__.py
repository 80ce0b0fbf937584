"""`make faults`: injects faults, prints what came of each, and ends with 1 where anything was lost, doubled or changed.

Every try is kept in a file as it ends, so that a run in pieces adds up: `--table` prints the table of all there are.
"""

from __future__ import annotations

import json
from pathlib import Path

import click

from faults.lab import Lab, Try
from faults.report import table
from faults.suite import FAULTS, Attempt

RESULTS = Path(__file__).with_name("results.jsonl")
_TRIES_FOR_ONE = 5  # a fault that comes too late is tried again with another seed, this often


@click.command()
@click.option("--quick", is_flag=True, help="Each fault once; without those that take minutes.")
@click.option("--times", type=click.IntRange(1), help="So many times each.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the first try; the others follow.")
@click.option("--results", type=click.Path(path_type=Path), default=RESULTS, help="Where tries are kept.")
@click.option("--table", "table_only", is_flag=True, help="Inject nothing; print the table of the tries there are.")
@click.option("--list", "list_only", is_flag=True, help="Print the faults and how often each is tried.")
@click.argument("names", nargs=-1)
def main(
    quick: bool, times: int | None, seed: int, results: Path, table_only: bool, list_only: bool, names: tuple[str, ...]
) -> None:
    """Injects the faults of NAMES, those whose name begins with one of them, or all."""
    chosen = {name: fault for name, fault in FAULTS.items() if not names or _is_meant(name, names)}
    if not chosen:
        raise click.UsageError(f"no fault begins with {', '.join(names)}; --list shows them")
    if list_only:
        click.echo("\n".join(f"{fault.times:5} {name}" for name, fault in chosen.items()))
        return
    unclean = False
    if not table_only:
        with Lab() as lab:
            for name, fault in chosen.items():
                for number in range(times or (fault.quick if quick else fault.times)):
                    made = _struck(lab, fault.attempt, seed + number)
                    unclean |= not made.clean or not made.struck
                    _tell(name, made, lab)
                    with results.open("a", encoding="utf-8") as file:
                        file.write(made.to_json(name) + "\n")
    if results.exists():
        made_so_far = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
        click.echo(table(made_so_far))
    raise SystemExit(1 if unclean else 0)


def _is_meant(name: str, names: tuple[str, ...]) -> bool:
    return name in names or any(name.startswith(part) for part in names if part not in FAULTS)


def _struck(lab: Lab, attempt: Attempt, seed: int) -> Try:
    """The first try of this number whose fault has really happened; its seeds are far from those of other numbers."""
    for again in range(_TRIES_FOR_ONE):
        made = attempt(lab, seed + 1_000_003 * again)
        if made.struck:
            break
    return made


def _tell(name: str, made: Try, lab: Lab) -> None:
    how = "as undisturbed" if made.clean else f"NOT as undisturbed, see {lab.root}"
    click.echo(f"{name} (seed {made.seed}): {how if made.struck else 'did not happen'}, {made.seconds:.1f} s")
    for text in made.differences[:8]:
        click.echo(f"    {text}")


if __name__ == "__main__":
    main()

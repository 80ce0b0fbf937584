"""How soon a sweep of a session begins: `python -m benchmarks.session`, a minute.

Seconds from the call until the journal has the first round: of the first sweep of a session, which starts Ray and
the workers, of later ones of the same code, and of one of other code. All in one run; each session is a new one.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import runner
from runner.journal import JournalReader

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
SESSIONS, LATER = 3, 3


def first_round_s(session: runner.Session, experiment: str, root: Path) -> float:
    """Seconds until the journal has the first round of a sweep of two trials."""
    called_s = time.time()
    result = session.sweep(
        EXPERIMENTS / experiment, root=root / "sweeps", progress="none", train={"epochs": 2}, search={"max_trials": 2},
        tracking={"uri": f"sqlite:///{root}/mlflow.db"},
    )  # fmt: skip
    with JournalReader(result.folder) as reader:
        return reader.barriers()[0].ended_s - called_s


def main() -> None:
    """Prints the seconds and their ratios."""
    ratios, others = [], []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for _ in range(SESSIONS):
            with runner.Session() as session:
                first = first_round_s(session, "digits_mlp.py", root)
                later = [first_round_s(session, "digits_mlp.py", root) for _ in range(LATER)]
                time.sleep(20)  # spares import
                other = first_round_s(session, "digits_autoencoder.py", root)
            ratios.append(statistics.median(later) / first)
            others.append(other / first)
            print(
                f"first {first:.2f} s, same code {', '.join(f'{one:.2f}' for one in later)} s, other code {other:.2f} s"
            )
    print(f"same code / first: {statistics.median(ratios):.3f}; other code / first: {statistics.median(others):.3f}")


if __name__ == "__main__":
    main()

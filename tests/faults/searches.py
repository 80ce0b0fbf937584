"""The driver is killed where a search has decided, and where a user's order waits: `resume` goes on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from faults.drivers import KILLED
from faults.injection import Injection
from faults.lab import LOCAL, Lab, Trouble, Try
from faults.outcome import Outcome
from faults.project import sweep_arguments

_ALONE = ("train.early_stopping=null", "train.reduce_lr_on_plateau=null", "params.learning_rate=loguniform(1e-4,1e-1)")
POPULATION = (*_ALONE, "search.sampler=random", "search.max_trials=4", "search.population.interval=1")
HALVING = (
    *_ALONE, "search.sampler=tpe", "search.max_trials=8", "search.stop=halving", "search.factor=2", "search.wave=4",
)  # fmt: skip
DECISIONS = 3  # barriers that decide about several trials, in each of the two sweeps, at least
FIRST, LAST = 5, 12  # barriers at which an order may come: the trial that it is about has trained an epoch
_MOMENTS = ("asked", "decided", "recorded")


def killed_before_its_act(lab: Lab, seed: int) -> Try:
    """Kills a driver whose journal has clones, losers or new trials, and that has not acted on them."""
    began_s, chance = time.monotonic(), random.Random(seed)
    settings = (*LOCAL, *(POPULATION if seed % 2 else HALVING))
    wanted, injection = lab.reference(*settings), Injection(point="before an act", number=chance.randint(1, DECISIONS))
    project, trouble = lab.project(), Trouble()
    code = lab.fork(project, sweep_arguments(*settings), injection)
    struck = code == KILLED
    trouble.expect(code in (0, KILLED), f"the sweep ended with {code}")
    if struck:
        code = lab.fork(project, ["resume"])
        trouble.expect(code == 0, f"resume ended with {code}")
    return lab.judge(seed, project, trouble, began_s, wanted=wanted, struck=struck)


def killed_while_an_order_waits() -> Callable[[Lab, int], Try]:
    """Kills a driver after a user has asked for a clone: before it is read, recorded, or removed from the inbox."""
    known: list[Outcome] = []

    def attempt(lab: Lab, seed: int) -> Try:
        began_s, chance = time.monotonic(), random.Random(seed)
        if not known:
            known.append(_with_an_order(lab))
        moment, number = _MOMENTS[seed % len(_MOMENTS)], chance.randint(FIRST, LAST)
        project, trouble = lab.project(), Trouble()
        code = lab.fork(
            project, sweep_arguments(*LOCAL), Injection(point="while an order waits", number=number, kind=moment)
        )
        struck = code == KILLED
        trouble.expect(code in (0, KILLED), f"the sweep ended with {code}")
        if struck:
            code = lab.fork(project, ["resume"])
            trouble.expect(code == 0, f"resume ended with {code}")
        return lab.judge(seed, project, trouble, began_s, wanted=known[0], struck=struck)

    return attempt


def _with_an_order(lab: Lab) -> Outcome:
    """What the sweep comes to if the order is obeyed and nothing happens."""
    project = lab.project()
    ended = lab.fork(
        project, sweep_arguments(*LOCAL), Injection(point="while an order waits", number=FIRST, kind="never")
    )
    outcome = project.outcome()
    if ended != 0 or "add-000" not in outcome.trials:
        raise RuntimeError(f"the undisturbed sweep ended with {ended}:\n{project.log}")
    project.remove()
    return outcome

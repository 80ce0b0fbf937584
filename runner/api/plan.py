"""What a sweep would do, for Python programs: trials, slots, steps."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.driver import plan_text
from runner.driver.plan import Plan as Computed
from runner.driver.slots_text import slot_lines

if TYPE_CHECKING:
    import pandas

    from runner.config import Config


@dataclass(frozen=True, kw_only=True, slots=True)
class Texts:
    """A plan in lines.

    Args:
        headline: how many trials there are, and what ranks them.
        slots: what each slot gets, with the sums; data and model of each member.
        store: where MLflow's runs go.
        disk: what the sweep takes.
        steps: of comparisons, and of all.
    """

    headline: str
    slots: tuple[str, ...]
    store: str
    disk: tuple[str, ...]
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A sweep before it runs. Nothing is recorded of it.

    Args:
        computed: trials, slots, steps, and what the first trial of each member has shown.
        root: the folder of all sweeps.
    """

    computed: Computed
    root: Path

    @property
    def name(self) -> str:
        """The sweep's name."""
        return self.computed.prepared.config.name

    @property
    def config(self) -> Config:
        """The resolved config."""
        return self.computed.prepared.config

    @property
    def metric(self) -> str:
        """What ranks the trials."""
        return self.computed.metric

    @property
    def goal(self) -> str:
        """`maximize` or `minimize`, as higher or lower values of the metric are better."""
        return self.computed.goal

    @property
    def steps(self) -> int:
        """Optimizer steps of all trials, without those that comparisons save."""
        return self.computed.steps

    @property
    def trials(self) -> pandas.DataFrame:
        """One row for each trial that is known before the first round, by trial id, with settings, seed and steps."""
        import pandas

        header, rows = self.table()
        columns = [name.replace("/", "_per_") for name in header]
        return pandas.DataFrame(rows, columns=columns).set_index("trial")

    @property
    def slots(self) -> pandas.DataFrame:
        """One row for each slot, by its number, with CPUs, GPUs and memory limits (MiB)."""
        import pandas

        slots = self.computed.prepared.slots
        index = pandas.Index([slot.index for slot in slots], name="slot")
        return pandas.DataFrame([asdict(slot.allocation) for slot in slots], index=index)

    @property
    def summary(self) -> dict[str, object]:
        """Everything as plain data, as `python -m runner plan --json` prints it."""
        return plan_text.plan_summary(self.computed, self.root)

    def table(self) -> tuple[list[str], list[list[object]]]:
        """Header and rows of `trials`, for a program without pandas."""
        return plan_text.trial_table(self.computed)

    def texts(self) -> Texts:
        """Everything but the trials, in lines for a person."""
        return Texts(
            headline=plan_text.headline(self.computed),
            slots=(
                *slot_lines(self.computed.prepared),
                *plan_text.member_lines(self.computed),
                *plan_text.stack_lines(self.computed),
            ),
            store=plan_text.store_line(self.computed),
            disk=tuple(plan_text.space_lines(self.computed, self.root)),
            steps=tuple(plan_text.step_lines(self.computed)),
        )

    def lines(self) -> list[str]:
        """The texts, one after another."""
        texts = self.texts()
        return [f"{self.name}: {texts.headline}", *texts.slots, texts.store, *texts.disk, *texts.steps]

    def __repr__(self) -> str:
        return "\n".join([*self.lines(), str(self.trials)])

    def _repr_html_(self) -> str:
        """The lines and the trials as notebooks show them."""
        return f"<pre>{html.escape(chr(10).join(self.lines()))}</pre>{self.trials.to_html()}"

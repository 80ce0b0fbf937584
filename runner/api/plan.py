"""What a sweep would do, for Python programs: trials, slots, steps."""

from __future__ import annotations

import html
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.driver import plan_text
from runner.driver.plan import Plan as Computed

if TYPE_CHECKING:
    import pandas


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
    def metric(self) -> str:
        """What ranks the trials."""
        return self.computed.metric

    @property
    def goal(self) -> str:
        """Whether higher or lower values of the metric are better: `maximize` or `minimize`."""
        return self.computed.goal

    @property
    def steps(self) -> int:
        """Optimizer steps of all trials, without those that comparisons save."""
        return self.computed.steps

    @property
    def trials(self) -> pandas.DataFrame:
        """One row for each trial that is known before the first round, by trial id: settings, seed, epochs, steps."""
        import pandas

        header, rows = plan_text.trial_table(self.computed)
        columns = [name.replace("/", "_per_") for name in header]
        return pandas.DataFrame(rows, columns=columns).set_index("trial")

    @property
    def slots(self) -> pandas.DataFrame:
        """One row for each slot, by its number: CPUs, GPUs, memory limits (MiB)."""
        import pandas

        slots = self.computed.prepared.slots
        index = pandas.Index([slot.index for slot in slots], name="slot")
        return pandas.DataFrame([asdict(slot.allocation) for slot in slots], index=index)

    @property
    def summary(self) -> dict[str, object]:
        """Everything as plain data, as `python -m runner plan --json` prints it."""
        return plan_text.plan_summary(self.computed, self.root)

    def lines(self) -> Iterator[str]:
        """Everything but the trials as text, a line each: slots with their sums, data, store, disk, steps."""
        yield f"{self.name}: {plan_text.headline(self.computed)}"
        yield from plan_text.slot_lines(self.computed.prepared)
        yield from plan_text.member_lines(self.computed)
        yield plan_text.store_line(self.computed)
        yield from plan_text.space_lines(self.computed, self.root)
        yield from plan_text.step_lines(self.computed)

    def __repr__(self) -> str:
        return "\n".join([*self.lines(), str(self.trials)])

    def _repr_html_(self) -> str:
        """The lines and the trials as notebooks show them."""
        return f"<pre>{html.escape(chr(10).join(self.lines()))}</pre>{self.trials.to_html()}"

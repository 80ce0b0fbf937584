"""A sweep's figures, for notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.errors import ConfigError
from runner.report import costs, progress, settings
from runner.report.data import SweepData, read_sweep
from runner.report.style import themed

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of a sweep's report, made by plotly from what is recorded now. A notebook shows what a cell returns.

    Each raises `NothingToShowError` if the sweep has nothing to show there, and says why.

    Args:
        folder: the sweep's.

    Example:
        >>> figure = runner.load("latest").figures.curves()
        >>> figure.layout.xaxis.title.text
        'epoch'
    """

    folder: Path

    def curves(self) -> Figure:
        """The metric by epoch: the best trial, the others, their median and middle half, stops and rungs."""
        return themed(progress.curves(self._data))

    def history(self) -> Figure:
        """Each trial's score when it ended, and the best until then."""
        return themed(progress.history(self._data))

    def schedules(self) -> Figure:
        """Values that have changed while trials were trained: those of a population, and of clones."""
        return themed(progress.schedules(self._data))

    def importance(self, member: str | None = None) -> Figure:
        """How much of the differences between trials each parameter explains (fANOVA).

        Args:
            member: of a mixed sweep; None for the first. So for the next three.
        """
        return themed(settings.importances(*self._of(member)))

    def parallel(self, member: str | None = None) -> Figure:
        """Each trial as a line through its values of all parameters."""
        return themed(settings.parallel(*self._of(member)))

    def slice(self, member: str | None = None) -> Figure:
        """The score over each parameter by itself."""
        return themed(settings.slices(*self._of(member)))

    def contour(self, member: str | None = None) -> Figure:
        """The score over the two parameters that matter most."""
        return themed(settings.contours(*self._of(member)))

    def repeats(self) -> Figure:
        """The scores of each setting's repeats, and their mean."""
        return themed(settings.repeats(self._data))

    def timeline(self) -> Figure:
        """Which trial held which slot, and when."""
        return themed(costs.timeline(self._data))

    def throughput(self) -> Figure:
        """Optimizer steps a second of all trials together."""
        return themed(costs.throughput(self._data))

    def memory(self) -> Figure:
        """Each slot's peak of memory, beside its share."""
        return themed(costs.memory(self._data))

    def times(self) -> Figure:
        """What the slots' time was spent on."""
        return themed(costs.times(self._data))

    def __repr__(self) -> str:
        names = ", ".join(name for name in vars(type(self)) if not name.startswith("_") and name != "folder")
        return f"<figures of {self.folder.name}: {names}>"

    @property
    def _data(self) -> SweepData:
        return read_sweep(self.folder)

    def _of(self, member: str | None) -> tuple[SweepData, str | None]:
        data = self._data
        if member is not None and member not in data.members:
            known = ", ".join(data.members)
            raise ConfigError(f"member {member!r}: the sweep has none of this name; its members are {known}")
        return data, member

"""Shows a running sweep in a notebook: the same table as on a terminal, with a progress bar, redrawn in place."""

from __future__ import annotations

import io
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType

from runner.views.live import LiveTable
from runner.views.progress import Progress

_WIDTH, _HEIGHT = 120, 40  # characters of a cell's output; a table is cut to this height
_BETWEEN_S = 0.5
_FONT = "Menlo,Consolas,'DejaVu Sans Mono',monospace"
_BLOCK = (
    f'<pre style="white-space:pre;overflow-x:auto;font-size:85%;line-height:1.2;font-family:{_FONT}">{{code}}</pre>'
)


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, which can redraw a cell's output."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class Notebook:
    """Shows a sweep below the cell that started it.

    Args:
        in_background: a thread will show it, whose output goes to whatever cell runs then; the table gets its place
            now.
    """

    def __init__(self, *, in_background: bool = False) -> None:
        self._handle = _placed({"text/plain": ""}) if in_background else None
        # A library asks for widgets that nothing here uses.
        warnings.filterwarnings("ignore", message="IProgress not found")

    def say(self, text: str, *, dim: bool = False) -> None:
        """As `SweepWatcher.say`; what happens just now is not kept."""
        if not dim:
            print(text)

    def warn(self, text: str) -> None:
        """As `SweepWatcher.warn`."""
        print(text)

    @contextmanager
    def rounds(self, progress: Progress) -> Iterator[LiveTable]:
        """As `SweepWatcher.rounds`."""
        with LiveTable(_console(), progress, _Cell(progress.share_done, self._handle)) as table:
            yield table

    @contextmanager
    def waiting(self) -> Iterator[Callable[[str], None]]:
        """As `SweepWatcher.waiting`."""
        line = _Cell()
        try:
            yield lambda text: line.update(text)
        finally:
            line.clear()


class _Cell:
    """One place in a cell's output, as a `live.Screen`.

    Args:
        share_done: for the progress bar; None for none.
        handle: of its place; None to make one for the first view.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        share_done: Callable[[], float] | None = None,
        handle: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._share_done, self._handle, self._clock = share_done, handle, clock
        self._shown_s = -math.inf
        self._left: RenderableType | None = None  # a view that came too soon after the last one

    def start(self) -> None:
        """As `Screen.start`."""

    def update(self, renderable: RenderableType, *, refresh: bool = False) -> None:
        """As `Screen.update`; at most twice a second, because a notebook's server takes no more."""
        if self._clock() - self._shown_s < _BETWEEN_S:
            self._left = renderable
            return
        self._draw(renderable)

    def _draw(self, renderable: RenderableType) -> None:
        self._shown_s, self._left = self._clock(), None
        console = _console()
        console.print(renderable)
        html = console.export_html(inline_styles=True, code_format=_BLOCK, clear=False)
        self._show({"text/html": self._bar() + html, "text/plain": console.export_text()})

    def stop(self) -> None:
        """As `Screen.stop`."""
        if self._left is not None:
            self._draw(self._left)

    def clear(self) -> None:
        """Shows nothing any more."""
        if self._handle is not None:
            self._show({"text/plain": "", "text/html": ""})

    def _bar(self) -> str:
        if self._share_done is None:
            return ""
        return f'<progress value="{self._share_done():.4f}" max="1" style="width:{_WIDTH // 2}ch"></progress>'

    def _show(self, bundle: dict[str, str]) -> None:
        if self._handle is None:
            self._handle = _placed(bundle)
        else:
            self._handle.update(bundle, raw=True)


def _placed(bundle: dict[str, str]) -> Any:
    """Shows this below the present cell; returns the handle by which it is replaced."""
    from IPython.display import display

    return display(bundle, raw=True, display_id=True)


def _console() -> Console:
    return Console(
        file=io.StringIO(), record=True, width=_WIDTH, height=_HEIGHT, force_terminal=True, force_jupyter=False,
        color_system="truecolor", highlight=False,
    )  # fmt: skip

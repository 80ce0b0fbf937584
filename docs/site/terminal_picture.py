"""A picture of a sweep in a real terminal, which tmux keeps: with its colours, as a person sees it."""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

COLUMNS, LINES = 96, 15
SERVER = "lockstep-runner-pictures"  # a tmux server of its own
FONTS = re.compile(r"@font-face \{\{.*?\}\}", re.DOTALL)  # which would come from the network
DONE = re.compile(r"━ +(\d+)% ")


def screen_of(command: Sequence[str], folder: Path, percent: int) -> list[str]:
    """The lines of a terminal, with their colours, once a share of the sweep is done.

    Args:
        command: starts the sweep.
        folder: where it runs.
        percent: the share of its steps.
    """
    tmux, shown = ["tmux", "-L", SERVER], ""
    size = ["-x", str(COLUMNS), "-y", str(LINES)]
    subprocess.run([*tmux, "new-session", "-d", *size, "-c", str(folder), shlex.join(command)], check=True)
    while True:  # until the sweep has ended, and with it the terminal
        time.sleep(0.25)
        capture = subprocess.run([*tmux, "capture-pane", "-e", "-p"], capture_output=True, text=True, check=False)
        if capture.returncode != 0:
            break
        text = Text.from_ansi(capture.stdout).plain
        if not shown and "running" in text and (found := DONE.search(text)) and int(found[1]) >= percent:
            shown = capture.stdout
    if not shown:
        sys.exit(f"{shlex.join(command)}: ended before {percent} % were done")
    lines = shown.rstrip().splitlines()
    return lines[next(place for place, line in enumerate(lines) if "trial" in line and "state" in line) :]


def svg_of(lines: Sequence[str], title: str) -> str:
    """The lines as they look in a terminal with this title."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    for line in (*lines, ""):
        console.print(Text.from_ansi(line), no_wrap=True, crop=True)
    return console.export_svg(title=title, code_format=FONTS.sub("", CONSOLE_SVG_FORMAT))

"""The report's page in a real browser, without network."""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from many_trials import EVIL, write_many

from runner.report.page import render, write_report
from runner.review.tables import Table

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
OFFLINE = ("--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND")
TALL = "--window-size=1280,9000"  # so that every figure is near the screen, and is drawn


def dom_of(page: Path, profile: Path) -> str:
    """The page as the browser has it in the end."""
    command = [BROWSER, *OFFLINE, TALL, f"--user-data-dir={profile}", "--virtual-time-budget=60000", "--dump-dom"]
    return subprocess.run([*command, page.as_uri()], capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no chromium or chrome is installed")
def test_a_click_sorts_numbers_and_then_what_is_none(tmp_path: Path) -> None:
    rows: list[list[object]] = [[True], [math.nan], [2.0], [False], [None], [10], [True]]
    nothing: dict[str, Any] = {key: [] for key in ("sweeps", "facts", "sections", "failures", "commands")}
    page = render(title="t", tables=[("Trials", Table(["a"], rows))], **nothing)
    click = '<script>document.querySelector("table.sortable th").click()</script>'
    (tmp_path / "page.html").write_text(page.replace("</body>", f"{click}</body>"), encoding="utf-8")
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", dom_of(tmp_path / "page.html", tmp_path / "profile"))
    assert cells == ["2", "10", "False", "True", "True", "nan", "–"]


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no chromium or chrome is installed")
def test_a_browser_draws_every_figure_and_runs_nothing_of_a_users(make_trial: Any, tmp_path: Path) -> None:
    page = write_report(write_many(tmp_path / "many-1", make_trial, count=40, stopped=True, kind=EVIL))
    dom = dom_of(page, tmp_path / "profile")
    assert "<title>many-1</title>" in dom
    sections = re.findall(r'<section class="figure[^>]* id="([^"]+)"', dom)
    assert len(sections) == dom.count('data-drawn="yes"') == 10, sections
    assert 'data-theme="light"' in dom
    assert dom.count('class="main-svg"') >= 10

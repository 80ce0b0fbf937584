"""The report's page in a real browser, without network."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from many_trials import EVIL, write_many

from runner.report.page import write_report

BROWSER = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
OFFLINE = ("--headless", "--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND")
TALL = "--window-size=1280,9000"  # so that every figure is near the screen, and is drawn


@pytest.mark.slow
@pytest.mark.skipif(not BROWSER, reason="no chromium or chrome is installed")
def test_a_browser_draws_every_figure_and_runs_nothing_of_a_users(make_trial: Any, tmp_path: Path) -> None:
    page = write_report(write_many(tmp_path / "many-1", make_trial, count=40, stopped=True, kind=EVIL))
    command = [BROWSER, *OFFLINE, TALL, f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=60000",
               "--dump-dom", page.as_uri()]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "<title>many-1</title>" in dom
    sections = re.findall(r'<section class="figure[^>]* id="([^"]+)"', dom)
    assert len(sections) == dom.count('data-drawn="yes"') == 10, sections
    assert 'data-theme="light"' in dom
    assert dom.count('class="main-svg"') >= 10

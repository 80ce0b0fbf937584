"""Takes the pictures of `docs/images`: of a sweep in a terminal, of its report, and of MLflow's pages of it.

    make screenshots                              # takes a minute
    make screenshots ARGS="--only terminal"         # or: pages
    make screenshots ARGS="--chromium /path/to/chrome --out /tmp/pictures"

Needs tmux, Playwright and a Chromium, which nothing else does:

    .venv/bin/python -m pip install playwright
    .venv/bin/python -m playwright install chromium     # or a Chromium of the system
"""

from __future__ import annotations

import argparse
import io
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from PIL import Image
from terminal_picture import screen_of, svg_of

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "runner"]
SWEEP = (
    "experiment=digits", "fleet.kind=local", "search.stop=halving", "search.sampler=random", "search.max_trials=40",
    "params.learning_rate=loguniform(1e-4,1e-1)", "params.units=16,32,64", "params.dropout=0,0.2,0.4",
    "train.epochs=9", "tracking.tags.team=vision", "tracking.register=digits", "tracking.system_metrics_every_s=1",
)  # fmt: skip
SHOWN = ("experiment=digits", "train.epochs=60")  # in the terminal
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZE, REPORT_SIZE = {"width": 1360, "height": 800}, {"width": 1280, "height": 800}
COLOURS = 160  # of a picture: as many as its charts have, in a third of the bytes
# MLflow opens its chat beside the first page.
WITHOUT_CHAT = """
localStorage.setItem("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true");
localStorage.setItem("mlflow.assistant.panelOpen_v1", "false");
"""
INSTALL = (
    "Playwright is not installed, and no one needs it but these pictures; install it with:  "
    f"{sys.executable} -m pip install playwright"
)
NO_BROWSER = (
    f"there is no Chromium: none of {', '.join(BROWSERS)} is on the PATH; give one with --chromium PATH, or install "
    f"Playwright's:  {sys.executable} -m playwright install chromium"
)


def main() -> None:
    """Parses the arguments and takes all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--chromium", help="path of a Chromium; one is looked for on the PATH, then Playwright's is used"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images", help="folder for the pictures")
    parser.add_argument("--only", choices=("terminal", "pages"), help="take these alone")
    options = parser.parse_args()
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        sys.exit(INSTALL)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots-") as name, sync_playwright() as playwright:
        browser = open_browser(playwright, options.chromium)
        for part in (options.only,) if options.only else ("terminal", "pages"):
            work = Path(name) / part
            work.mkdir()
            for folder in ("conf", "experiments"):  # beside the sweep, so that no path of this machine is in a picture
                (work / folder).symlink_to(ROOT / folder)
            {"terminal": take_terminal, "pages": take_pages}[part](browser, work, options.out)
        browser.close()


def take_terminal(browser: Any, work: Path, out: Path) -> None:
    """A picture of a sweep that runs in a terminal."""
    print("training a sweep of 8 trials in a terminal …", flush=True)
    lines = screen_of([*COMMAND, "sweep", *SHOWN], work, percent=70)
    camera = Camera(browser, out)
    picture = svg_of(lines, f"python -m runner sweep {' '.join(SHOWN)}")
    camera.page.set_content(f'<body style="background: #292929">{picture}')  # the terminal's own, for its corners
    camera.take("terminal", settle_s=1.0, element="svg")


def take_pages(browser: Any, work: Path, out: Path) -> None:
    """Pictures of a sweep's report, and of MLflow's pages of it."""
    print("training a sweep of 40 trials …", flush=True)
    subprocess.run([*COMMAND, "sweep", *SWEEP], cwd=work, check=True)
    with served(COMMAND, work) as pages:
        take_all(browser, pages, out)
    (sweep,) = (work / "sweeps").iterdir()
    report = sweep / "report.html"
    for name, scheme in (("report", "light"), ("report-dark", "dark")):
        Camera(browser, out, REPORT_SIZE, scheme).take(name, report.as_uri())


def open_browser(playwright: Any, given: str | None) -> Any:
    """Starts Chromium, headless."""
    found = given or next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None and not Path(playwright.chromium.executable_path).exists():
        sys.exit(NO_BROWSER)
    # A sandbox of its own needs rights that containers do not give; only this machine's own pages are opened.
    return playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


@contextmanager
def served(command: list[str], work: Path) -> Iterator[dict[str, str]]:
    """Serves MLflow's pages; yields the addresses that `ui` prints, by what they show."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (work / "ui.log").open("wb") as log:
        server = subprocess.Popen([*command, "ui", "--port", str(port)], cwd=work, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/health")
        lines = (work / "ui.log").read_text(encoding="utf-8").splitlines()
        printed = dict(line.split(":  ", 1) for line in lines if ":  http" in line)
        trials = next(page for what, page in printed.items() if what.startswith("trials of"))
        yield {"trials": trials, "sweep": printed["the sweep's own run"]}
    finally:
        server.terminate()
        server.wait()


def wait_for(address: str) -> None:
    """Waits until a server answers, a minute at most."""
    for _ in range(120):
        with suppress(OSError), urllib.request.urlopen(address, timeout=1.0):
            return
        time.sleep(0.5)
    sys.exit(f"{address}: nothing answers")


class Camera:
    """Takes pictures of pages."""

    def __init__(self, browser: Any, folder: Path, size: dict[str, int] = SIZE, scheme: str = "light") -> None:
        context = browser.new_context(viewport=size, color_scheme=scheme)
        context.add_init_script(WITHOUT_CHAT)
        self.page, self._folder = context.new_page(), folder

    def take(self, name: str, address: str | None = None, settle_s: float = 5.0, element: str = "") -> None:
        """Writes a picture of a page, or of the present one, once it has settled: MLflow draws as data comes.

        `element` is a selector: the picture is of that alone.
        """
        if address is not None:
            self.page.goto(address)
        self.page.wait_for_timeout(settle_s * 1000)
        shown = self.page.locator(element) if element else self.page
        image = Image.open(io.BytesIO(shown.screenshot())).convert("RGB")
        file = self._folder / f"{name}.png"
        image.quantize(COLOURS, dither=Image.Dither.NONE).save(file, optimize=True)
        print(f"{file}: {file.stat().st_size // 1024} KB", flush=True)


def take_all(browser: Any, pages: dict[str, str], folder: Path) -> None:
    """Pictures of all pages of the sweep and of its best trial."""
    camera = Camera(browser, folder)
    page = camera.page
    camera.take("mlflow-trials", pages["trials"], settle_s=8)
    page.keyboard.press("Escape")
    best = page.locator("a[href*='/runs/']").first.get_attribute("href")
    camera.take("mlflow-charts", f"{pages['trials']}&compareRunsMode=CHART", settle_s=10)
    compare(page, pages["trials"])
    camera.take("mlflow-compare", settle_s=6)
    page.goto(pages["sweep"])
    page.get_by_text("Show more").first.click()
    camera.take("mlflow-sweep")
    own = pages["sweep"].partition("?")[0]
    camera.take("mlflow-progress", f"{own}/model-metrics?workflowType=machine_learning")
    camera.take("mlflow-system", f"{own}/system-metrics?workflowType=machine_learning")
    camera.take("mlflow-report", f"{own}/artifacts/report.html?workflowType=machine_learning", settle_s=8)
    base = own.partition("/#/")[0]
    trial = f"{base}/{best.lstrip('/')}".partition("?")[0]
    camera.take("mlflow-trial", f"{trial}?workflowType=machine_learning")
    camera.take("mlflow-artifacts", f"{trial}/artifacts?workflowType=machine_learning")


def compare(page: Any, trials: str) -> None:
    """Opens MLflow's comparison of the runs on the first page of the table, with its parallel coordinates."""
    page.goto(trials)
    page.wait_for_timeout(6000)
    page.get_by_role("checkbox").first.check()
    page.get_by_role("button", name="Compare").click()
    page.wait_for_timeout(3000)
    page.goto(f"{page.url}&workflowType=machine_learning")


if __name__ == "__main__":
    main()

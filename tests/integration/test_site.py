"""`make docs`: a site of all pages and the library's API, which loads nothing from elsewhere."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from pages import PAGES, ROOT, page

import runner

# A page, a style sheet or a script that a browser would fetch: not a link, which a reader may follow.
_TAG = r"<(?:script|img|iframe|source)[^>]* src=|<link[^>]* href=|@import |url\("
LOADED = re.compile(rf"(?:{_TAG})[\"']?((?:https?:)?//[^\"') >]+)")
HEAVY = ("tensorflow", "keras", "ray", "mlflow")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly as `make docs` does, where no heavy package can be imported."""
    folder = tmp_path_factory.mktemp("site")
    poison = folder / "poison"
    poison.mkdir()
    for name in HEAVY:
        (poison / f"{name}.py").write_text(f"raise SystemExit('imports {name}')\n", encoding="utf-8")
    (command,) = re.findall(r"^\t\.venv/bin/python (-m sphinx .*) -d \S+ \. site ", page("Makefile"), re.MULTILINE)
    arguments = [*command.split(), "-d", str(folder / "doctrees"), ".", str(folder / "html")]
    built = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(poison)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    return folder / "html"


def test_every_page_is_on_it(site: Path) -> None:
    for path in PAGES:
        assert (site / path.relative_to(ROOT).with_suffix(".html")).is_file(), path
    assert "README.html" in (site / "index.html").read_text(encoding="utf-8")


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    files = [file for file in site.rglob("*") if file.suffix in (".html", ".css", ".js")]
    found = {(file.name, address) for file in files for address in LOADED.findall(file.read_text(encoding="utf-8"))}
    assert found == set()
    assert not any("fonts.g" in file.read_text(encoding="utf-8") for file in files)


def test_its_links_lead_somewhere(site: Path) -> None:
    anchors: dict[Path, set[str]] = {}
    count = 0
    for file in site.rglob("*.html"):
        for target in re.findall(r'<a [^>]*href="([^"]+)"', file.read_text(encoding="utf-8")):
            path, _, anchor = html.unescape(target).partition("#")
            if re.match(r"[a-z]+:", path):
                continue
            leads_to = (file.parent / unquote(path)).resolve() if path else file
            assert leads_to.is_file(), f"{file.name}: {target}"
            if anchor and leads_to.suffix == ".html":
                ids = anchors.setdefault(
                    leads_to, set(re.findall(r' id="([^"]+)"', leads_to.read_text(encoding="utf-8")))
                )
                assert unquote(anchor) in ids, f"{file.name}: {target}"
            count += 1
    assert count > 500


def test_the_api_has_every_name_with_its_arguments(site: Path) -> None:
    text = (site / "docs" / "api.html").read_text(encoding="utf-8")
    for name in runner.__all__:
        assert f'id="runner.{name}"' in text
    assert "what is searched: a list of values" in html.unescape(re.sub("<[^>]+>", "", text))

"""Builds a site from the repository's pages, as they are: `make docs`.

The source folder is the repository, so that links between pages are the same on the site as in a clone. Sphinx imports
the library for its docstrings; that imports no TensorFlow.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import runner  # noqa: E402

project, author = "lockstep-runner", "its authors"
version = release = runner.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
include_patterns = ["*.md", "docs/**.md"]
exclude_patterns = [".*", "benchmarks", "site", "sweeps", "tests"]
root_doc = "README"

default_role, smartquotes = "code", False  # `name` in a docstring is code

myst_heading_anchors = 4  # the headings' names in links, as GitHub makes them

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
napoleon_custom_sections = ["Side effects", "Source", "Sources"]

html_theme = "furo"
html_title = f"lockstep-runner {version}"
html_extra_path = ["index.html"]
html_copy_source = html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}

_CONTENTS = """
```{toctree}
:hidden:
:caption: Use

docs/your-project
docs/experiments
docs/gallery
docs/configuration
docs/search
docs/report
docs/python
docs/recipes
docs/mlflow
docs/api
docs/coming-from
docs/terminal
docs/troubleshooting
docs/glossary
```
```{toctree}
:hidden:
:caption: Machines

docs/gpu
docs/stacks
docs/cluster
docs/performance
docs/reliability
docs/security
```
```{toctree}
:hidden:
:caption: Inside

docs/architecture
docs/decisions/README
CONTRIBUTING
CHANGELOG
```
"""
_DECISIONS = """
```{toctree}
:hidden:
:glob:

*
```
"""


def setup(app: Sphinx) -> None:
    """Adds the contents to the pages that have them on the site only."""
    app.connect("source-read", _add_contents)


def _add_contents(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] += {root_doc: _CONTENTS, "docs/decisions/README": _DECISIONS}.get(name, "")

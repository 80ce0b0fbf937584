"""Packages that some stores need."""

from __future__ import annotations

import sys

# What a package that MLflow imports for some stores is installed by, where its name is another one.
_PACKAGES = {"MySQLdb": "mysqlclient", "azure": "azure-storage-blob", "google": "google-cloud-storage"}
_PACKAGES |= {"psycopg2": "psycopg2-binary", "psycopg": "'psycopg[binary]'"}


def what_to_install(err: ModuleNotFoundError) -> str:
    """Which package is missing, and the command that installs it."""
    module = (err.name or "").partition(".")[0]
    advice = f"; install it with: {sys.executable} -m pip install {_PACKAGES.get(module, module)}" if module else ""
    return f"the store needs a package that is missing: {str(err).splitlines()[0]}{advice}"

"""Why a tracking store does not take a request."""

from __future__ import annotations

import sys

from runner.errors import TrackingError

# Packages that MLflow imports for some stores and that pip knows by another name.
_PACKAGES = {"MySQLdb": "mysqlclient", "azure": "azure-storage-blob", "google": "google-cloud-storage"}
_PACKAGES |= {"psycopg2": "psycopg2-binary", "psycopg": "'psycopg[binary]'"}


class StoreUnavailableError(TrackingError):
    """The store is down, locked or full: the same request may succeed later."""


class StoreRefusedError(TrackingError):
    """The store will not take this request, now or later (a run was deleted, say); others are not affected."""


class ExperimentDeletedError(StoreRefusedError):
    """The MLflow experiment was deleted by hand: the store takes nothing of the sweep until it is restored."""


def what_to_install(err: ModuleNotFoundError) -> str:
    """Which package a store needs and is missing, with the command that installs it."""
    module = (err.name or "").partition(".")[0]
    advice = f"; install it with: {sys.executable} -m pip install {_PACKAGES.get(module, module)}" if module else ""
    return f"the store needs a package that is missing: {str(err).splitlines()[0]}{advice}"

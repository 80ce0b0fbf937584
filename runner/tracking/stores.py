"""Addresses of tracking stores: which of them are the same store, and what of one may be shown. Pure."""

from __future__ import annotations

import re
from pathlib import Path

from runner.redaction import without_credentials

HOME = ""  # the store that a sweep's config names; unlike others it may move along with the sweep's folder


def sqlite_file(uri: str) -> Path | None:
    """The absolute path of a sqlite store; None for any other."""
    match = re.fullmatch(r"sqlite(?:\+\w+)?:///([^?]+)(?:\?.*)?", uri)
    return Path(match[1]).absolute() if match else None


def store_name(uri: str, home: str) -> str:
    """How the journal's ledger calls a store.

    Args:
        uri: the store's tracking URI.
        home: that of the sweep's config, without credentials.

    Returns:
        `HOME` where both are one store, else an address that does not depend on the working directory.
    """
    address, own = _address(uri), _address(home)
    return HOME if address == own else address


def _address(uri: str) -> str:
    file = sqlite_file(uri)
    return without_credentials(uri).rstrip("/") if file is None else f"sqlite:///{file.resolve()}"

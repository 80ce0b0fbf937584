"""Addresses of tracking stores: the file of a sqlite store, and whether two addresses mean the same store."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from runner.errors import ConfigError
from runner.texts.redaction import redact, without_credentials
from runner.tracking.errors import StoreUnavailableError
from runner.tracking.ledger import HOME

ARTIFACTS = "mlartifacts"  # beside a sqlite store's file


def sqlite_file(uri: str) -> Path | None:
    """The absolute path of a sqlite store as SQLAlchemy reads it, with `%20` decoded; None for any other store.

    Raises:
        ConfigError: SQLAlchemy cannot read the address.
    """
    if not uri.startswith(("sqlite:", "sqlite+")):
        return None
    try:
        database = make_url(uri).database
    except (ArgumentError, ValueError) as err:
        raise ConfigError(
            f"tracking.uri={redact(uri)}: not the address of a sqlite file; write sqlite:/// before its path, as in "
            "sqlite:///mlflow.db or sqlite:////PATH/mlflow.db"
        ) from err
    return Path(database).absolute() if database and database != ":memory:" else None


def sqlite_uri(uri: str, file: Path) -> str:
    """The address of a sqlite store with another file; the path may contain any characters.

    Raises:
        StoreUnavailableError: SQLAlchemy (before 2.1) cannot write such a path.
    """
    plain = f"sqlite:///{file}"
    if make_url(plain).database == str(file):
        return plain + uri[uri.find("?") :] if "?" in uri else plain
    # With the driver's name, because MLflow takes the text after `sqlite:///` literally and makes its folder.
    written = make_url(uri).set(drivername="sqlite+pysqlite", database=str(file)).render_as_string(hide_password=False)
    if make_url(written).database != str(file):
        raise StoreUnavailableError(f"{file}: MLflow cannot keep a store in a folder of this name; set tracking.uri")
    return written


def store_name(uri: str, home: str) -> str:
    """The name of a store in the journal's ledger.

    Args:
        uri: the store's tracking URI.
        home: the URI in the sweep's config, without credentials.

    Returns:
        `HOME` if both are the same store, else an address that does not depend on the working directory.
    """
    address, own = _address(uri), _address(home)
    return HOME if address == own else address


def _address(uri: str) -> str:
    file = sqlite_file(uri)
    return without_credentials(uri).rstrip("/") if file is None else f"sqlite:///{file.resolve()}"

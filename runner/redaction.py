"""What must not be recorded: credentials in addresses, and secrets that the environment holds."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

MASK = "***"
MIN_SECRET = 8  # characters; shorter values are in any text by chance
_CUT = " …"  # the end of a text that goes on
_LONGEST = 600  # characters of a text that is to be read at a glance
_TELLING = 4  # characters of a secret's beginning that are not in front of a cut by chance

# `//user:password@`, with all that SQLAlchemy takes within a password; text ends at a space.
_CREDENTIALS = re.compile(r"(?<=://)[^:/@\s'\"]*(?::[^@\s]*)?@")
_QUERY = re.compile(r"(?<=[?&])([^=&?\s'\"]+)=[^&\s'\"]+")
_SECRET_WORDS = {"password", "passwd", "pwd", "passphrase", "secret", "secrets", "token", "credential", "credentials"}
# Within names of environment variables, which often have no underscore: PGPASSWORD, MYSECRET.
_SECRET_PART = re.compile("PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL")
_KEY_OF = {"api", "access", "account", "auth", "encryption", "private", "secret", "signing", "ssh"}
# Tokens of a vocabulary are no secrets, and common parameters of a text model.
_TOKEN_OF = {"bos", "cls", "end", "eos", "mask", "oov", "pad", "padding", "sep", "start", "stop", "unk", "unknown"}


def is_secret_name(name: str) -> bool:
    """True for `api_key`, `db.password`, `HF_TOKEN`, `clientSecret`; not for `key_dim`, `max_tokens`, `pad_token`.

    True for `PGPASSWORD` too: in capitals, as environment variables are written, a part of a word is enough.
    """
    if name.isupper() and _SECRET_PART.search(name):
        return True
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
    for before, word in zip(["", *words], words, strict=False):
        if word in _SECRET_WORDS and not (word == "token" and before in _TOKEN_OF):
            return True
        if (word == "key" and before in _KEY_OF) or word in ("apikey", "accesskey", "secretkey"):
            return True
    return False


def secrets_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The secret variables of an environment, by name, the longest first; not the paths of files that hold a secret."""
    named = {name: value for name, value in environment.items() if is_secret_name(name) or name.endswith("_KEY")}
    found = {name: value for name, value in named.items() if len(value) >= MIN_SECRET and not os.path.exists(value)}
    return dict(sorted(found.items(), key=lambda item: len(item[1]), reverse=True))


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without credentials in its addresses and without the given secrets.

    Of a text that `shortened` has cut within a secret, what is left of that is taken out too.
    """
    for secret in secrets:
        text = _without_beginning(text.replace(secret, MASK), secret)
    while (stripped := _CREDENTIALS.sub("", text)) != text:  # again, for a password with an "@"
        text = stripped
    return _without_secret_values(text)


def shortened(text: str) -> str:
    """The beginning of a long text, for a line; without credentials, which half an address does not show as such."""
    text = redact(text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + _CUT


def without_credentials(uri: str) -> str:
    """A tracking URI that leads to the same place without user name, password and secret query values."""
    if uri.startswith(("http://", "https://")):  # a port and an "@" in the path are no credentials there
        parts = urlsplit(uri)
        return _without_secret_values(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
    return redact(uri)


def _without_beginning(text: str, secret: str) -> str:
    if _CUT in text:
        for length in range(len(secret) - 1, _TELLING - 1, -1):
            text = text.replace(secret[:length] + _CUT, MASK + _CUT)
    return text


def _without_secret_values(text: str) -> str:
    return _QUERY.sub(lambda match: f"{match[1]}={MASK}" if is_secret_name(match[1]) else match[0], text)

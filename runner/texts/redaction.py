"""Masks secrets in text: credentials in addresses, secrets of the environment, and texts in the form of a secret."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from runner.texts.secret_shapes import TOKENS

MASK = "***"
MIN_SECRET = 8  # characters; shorter values occur in any text by chance
CUT = " …"  # end of a text that was cut
_LONGEST = 600  # characters of a shortened text
_LONG_NUMBER = 24  # digits; more than a number has
_MIN_BEGINNING = 4  # characters; a shorter beginning of a secret may precede a cut by chance

# `//user:password@` with all characters that SQLAlchemy allows in a password, such as "@"; it ends at a space.
_CREDENTIALS = re.compile(r"(?<=://)(?:[^:/@\s'\"]{0,256}+(?::[^@\s]{0,1024}+)?+@)++")
_PASSWORD = re.compile(r"(?<=://)[^:/@\s'\"]{0,256}+:([^@\s]{1,1024}+)@")
_QUERY = re.compile(r"(?<=[?&])([^=&?\s'\"]+)=[^&\s'\"]+")
# The name before a value: `Password=`, `AccountKey=`, `"api_key": "`, `MY_TOKEN=`; not a comparison, not in an address.
_NAME = re.compile(
    r"(?<![\w.%&?/@-])(?P<name>[A-Za-z][\w.-]{0,60}+)"
    r"(?P<close>['\"]?)(?P<before>\s{0,3}+)(?P<sign>=(?!=)|:(?![:/]))(?P<after>\s{0,3}+)(?P<quote>[bru]?['\"])?"
)
_BARE, _QUOTED = re.compile(r"[^\s;'\"]+"), re.compile(r"[^'\"\n]+")
_NO_VALUES = {"None", "True", "False", "null", "true", "false", "str", "bytes", "..."}
_SIGNATURES = {"sig", "signature", "x-amz-signature", "x-amz-credential", "x-goog-signature", "x-goog-credential"}
_SECRET_WORDS = {"password", "passwd", "pwd", "passphrase", "passcode", "secret", "secrets", "token", "credential"}
_SECRET_WORDS |= {"credentials", "creds"}
_PASSWORD_ENDS = ("password", "passwd", "pwd", "passphrase", "passcode", "pass", "accountkey", "accesskey")
# Parts of the names of environment variables, which often have no underscore: PGPASSWORD, MYSECRET.
_SECRET_PART = re.compile("PASSWORD|PASSWD|PASSPHRASE|SECRET|CREDENTIAL|WEBHOOK|CONN(?:ECTION)?_?STR")
_SECRET_END = re.compile(r"[A-Z0-9]_+(?:PASS|PAT|AUTH|PWD|JWT|SAS|DSN|COOKIE|BEARER)(?:_?\d+)?$")
_KEY_OF = {"api", "access", "account", "auth", "encryption", "private", "secret", "signing", "ssh"}
_JOINED = ("apikey", "accesskey", "secretkey", "accountkey", "authtoken", "accesstoken", "dbpass")
_PARTS = ("pass", "pwd", "secret", "token", "cred", "key", "webhook")  # each name of a secret has one of them
_CAPITALS = ("_PAT", "_AUTH", "_JWT", "_SAS", "_DSN", "_COOKIE", "_BEARER", "CONNECTION", "CONN_STR")
# Tokens of a vocabulary, which are common parameters of text models and no secrets.
_TOKEN_OF = {"bos", "cls", "end", "eos", "mask", "oov", "pad", "padding", "sep", "start", "stop", "unk", "unknown"}
_PASS_OF = {"admin", "db", "ftp", "http", "ldap", "login", "mail", "mysql", "pg", "postgres", "proxy", "redis", "root"}
_PASS_OF |= {"smtp", "ssh", "user"}
_MODES = {"anonymous", "disabled", "enabled", "kerberos", "negotiate", "optional", "required"}  # values of `*_AUTH`


@functools.lru_cache(maxsize=4096)  # called for every name in a text
def is_secret_name(name: str) -> bool:
    """True for `api_key`, `db.password`, `HF_TOKEN`, `clientSecret`; not for `key_dim`, `max_tokens`, `pad_token`.

    True for `PGPASSWORD` and `CI_PAT` too: in a name in capitals, as environment variables have, a part of a word or an
    abbreviation at the end is enough. `PWD` alone is a folder.
    """
    if name.isupper():
        if _SECRET_PART.search(name) or _SECRET_END.search(name):
            return True
        if name == "PWD":
            return False
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)]
    for before, word in zip(["", *words], words, strict=False):
        if word in _SECRET_WORDS and not (word == "token" and before in _TOKEN_OF):
            return True
        if (word == "key" and before in _KEY_OF) or word.endswith(_JOINED) or (word == "pass" and before in _PASS_OF):
            return True
    return False


def secret_shape(text: str) -> str | None:
    """The kind of the secret that a text has by its form, such as "a GitHub token"; None if it has none."""
    if "://" in text and _PASSWORD.search(text):
        return "an address with a password"
    if _without_named_values(text) != text or _QUERY.sub(_query_masked, text) != text:
        return "a named secret"
    return next((shape.what for shape in TOKENS if shape.is_possible(text) and shape.pattern.search(text)), None)


def secrets_of(environment: Mapping[str, str]) -> dict[str, str]:
    """The secrets of an environment by the names of their variables, longest first.

    The value of a variable that is named like a secret is one, unless it is the path of an existing file. Of other
    variables the password in an address is one.
    """
    named = {name: value for name, value in environment.items() if is_secret_name(name) or name.endswith("_KEY")}
    found = {name: value for name, value in named.items() if value not in _MODES and not os.path.exists(value)}
    for name, value in environment.items():
        if name not in found and "://" in value and (match := _PASSWORD.search(value)):
            found[name] = match[1]
    found = {name: value for name, value in found.items() if len(value) >= MIN_SECRET}
    return dict(sorted(found.items(), key=lambda item: len(item[1]), reverse=True))


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """A text without credentials in its addresses, without the given secrets, and without what looks like a secret.

    If `shortened` cut the text within a secret, the rest of the secret is removed too. The time is linear in the length
    of the text.
    """
    for secret in secrets:
        text = _without_beginning(text.replace(secret, MASK), secret)
    if "://" in text and "@" in text:
        text = _CREDENTIALS.sub("", text)
    return _without_secret_values(text)


def shortened(text: str) -> str:
    """The beginning of a long text, redacted first because credentials in half an address cannot be recognised."""
    text = redact(text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + CUT


def without_credentials(uri: str) -> str:
    """A tracking URI of the same place without user name, password and secret query values."""
    if uri.startswith(("http://", "https://")):  # a port, or an "@" in the path, is no credential there
        parts = urlsplit(uri)
        return _without_secret_values(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
    return redact(uri)


def _without_beginning(text: str, secret: str) -> str:
    if CUT in text:
        for length in range(len(secret) - 1, _MIN_BEGINNING - 1, -1):
            text = text.replace(secret[:length] + CUT, MASK + CUT)
    return text


def _without_secret_values(text: str) -> str:
    for shape in TOKENS:
        if shape.is_possible(text):
            text = shape.pattern.sub(_masked, text)
    if _may_name_a_secret(text):
        text = _without_named_values(text)
    if "?" in text or "&" in text:
        text = _QUERY.sub(_query_masked, text)
    return text


def _may_name_a_secret(text: str) -> bool:
    """False if `is_secret_name` holds for no word; plain searches, because they are fast in long texts."""
    lower = text.lower()
    return any(part in lower for part in _PARTS) or any(part in text for part in _CAPITALS)


def _query_masked(match: re.Match[str]) -> str:
    is_secret = is_secret_name(match[1]) or match[1].lower() in _SIGNATURES
    return f"{match[1]}={MASK}" if is_secret else match[0]


def _without_named_values(text: str) -> str:
    parts, done = [], 0
    for match in _NAME.finditer(text):
        name, begin = match["name"], match.end()
        if begin < done or not (is_secret_name(name) or (name.isupper() and name.endswith("_KEY"))):
            continue
        value = (_QUOTED if match["quote"] else _BARE).match(text, begin)
        if value is None:
            continue
        shown = value[0] if match["quote"] else value[0].rstrip(",.)]}")
        if _is_secret_value(name, shown, match):
            parts += [text[done:begin], MASK]
            done = begin + len(shown)
    return "".join([*parts, text[done:]])


def _is_secret_value(name: str, value: str, match: re.Match[str]) -> bool:
    """Whether the text after a secret's name is its value, and not code or part of a sentence."""
    if value in _NO_VALUES or value.startswith(MASK):
        return False
    has_letters = bool(re.search("[A-Za-z]", value)) or len(value) >= _LONG_NUMBER
    is_random = len(value) >= MIN_SECRET and has_letters and bool(re.search(r"\d", value))
    is_word = len(value) >= MIN_SECRET and not re.search(r"\s", value)
    if match["quote"]:
        return is_random or is_word or _is_password(name)
    if "(" in value or "[" in value or (match["sign"] == "=" and match["before"] + match["after"]):
        return False  # code
    if match["sign"] == ":":
        return is_random  # prose, perhaps
    return is_random or _is_password(name) or (is_word and (name.isupper() or not _is_variable(value)))


def _is_password(name: str) -> bool:
    """Whether every value of this name is a secret, whatever its length and form."""
    return name.lower().endswith(_PASSWORD_ENDS)


def _is_variable(value: str) -> bool:
    """True for code that passes a secret by its name, such as `api_key=config.api_key`."""
    return value.replace(".", "_").isidentifier() and is_secret_name(value.rpartition(".")[2])


def _masked(match: re.Match[str]) -> str:
    """The match with its group `secret` masked; all of it masked if it has no such group."""
    if "secret" not in match.re.groupindex:
        return MASK
    begin, end = match.start("secret") - match.start(), match.end("secret") - match.start()
    return match[0][:begin] + MASK + match[0][end:]

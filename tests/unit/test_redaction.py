from __future__ import annotations

import pytest

from runner.redaction import is_secret_name, redact, secrets_of, shortened, without_credentials

NAMES = ["password", "db_password", "HF_TOKEN", "token", "api_key", "OPENAI_API_KEY", "clientSecret", "apiKey"]
NAMES += ["a.passwd"]
JOINED = ["PGPASSWORD", "DBPASSWORD", "MYSECRET", "MYSQL_ROOTPASSWORD1", "MYPASSWD"]
OTHERS = ["key_dim", "num_heads", "max_tokens", "pad_token", "mask_token", "tokenizer", "keys", "units", "secretary"]
OTHERS += ["MAX_TOKENS", "PAD_TOKEN", "KEY_DIM", "OLDPWD", "PATH"]


@pytest.mark.parametrize("name", NAMES + JOINED)
def test_a_secrets_name_is_known(name: str):
    assert is_secret_name(name)


@pytest.mark.parametrize("name", OTHERS)
def test_a_hyperparameters_name_is_no_secrets(name: str):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://user:secret@127.0.0.1:9", "http://127.0.0.1:9"),
        ("https://token@host/path", "https://host/path"),
        ("http://user:p@ss@host", "http://host"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("postgresql://me:a/b#c?d@host:5432/db", "postgresql://host:5432/db"),
        ("mysql+pymysql://host/db?ssl=1&password=secret", "mysql+pymysql://host/db?ssl=1&password=***"),
        ("sqlite:////tmp/a:b@c.db?timeout=3", "sqlite:////tmp/a:b@c.db?timeout=3"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("databricks", "databricks"),
    ],
)
def test_an_address_loses_its_credentials_and_nothing_else(uri: str, shown: str):
    assert without_credentials(uri) == shown


def test_a_text_loses_credentials_and_the_environments_secrets():
    secrets = secrets_of(
        {"HF_TOKEN": "hf_abcdefgh", "API_KEY": "short", "SIGNING_KEY": "signing-key-1", "HOME": "/root"}
    )
    text = "python -m runner sweep 'tracking.uri=http://me:pw@host' a=hf_abcdefgh b=signing-key-1 c=short d=/root"
    shown = "python -m runner sweep 'tracking.uri=http://host' a=*** b=*** c=short d=/root"
    assert redact(text, secrets.values()) == shown


def test_a_file_that_holds_a_secret_is_not_one(tmp_path):
    environment = {"GOOGLE_CREDENTIALS": str(tmp_path), "AWS_SECRET_ACCESS_KEY": "/looks/like/a/path"}
    assert set(secrets_of(environment)) == {"AWS_SECRET_ACCESS_KEY"}


def test_of_two_secrets_that_begin_alike_the_longer_is_masked_whole():
    assert redact("12345678-more", secrets_of({"A_TOKEN": "12345678", "B_TOKEN": "12345678-more"}).values()) == "***"


def test_a_secret_in_a_variable_without_underscores_is_taken_out():
    secrets = secrets_of({"PGPASSWORD": "hunter22hunter", "MYSECRET": "s3cret-s3cret", "MAX_TOKENS": "100000000"})
    assert redact("hunter22hunter s3cret-s3cret 100000000", secrets.values()) == "*** *** 100000000"


@pytest.mark.parametrize("before", range(580, 601))
def test_a_text_that_was_cut_within_a_secret_shows_nothing_of_it_worth_having(before: int):
    secret = "hunter22-and-more"
    cut = shortened("x" * before + secret + "y" * 100)
    shown = redact(f"train: ValueError: {cut} (tried again)", [secret])
    assert "hunt" not in shown
    assert shown.endswith(" … (tried again)")


@pytest.mark.parametrize("before", range(560, 601))
def test_a_text_that_is_cut_within_an_address_shows_no_credentials(before: int):
    assert "hunter" not in shortened("x" * before + " postgresql://me:hunter22@host/db " + "y" * 600)


def test_a_short_text_is_not_cut():
    assert shortened("no such layer") == "no such layer"
